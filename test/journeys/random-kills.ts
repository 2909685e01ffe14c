import { expect } from '@jest/globals'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { aTown } from '../neighbours/town.ts'
import { aPatientWhoAsked, discharges, expectDelivered, expectReconciled } from './killed-engine.ts'

const patients = 6
const killWithinMs = 900

/**
 * Messages flow to an engine on its embedded database, and each round it is killed at some moment, every other time
 * together with its PostgreSQL, and started again.
 *
 * @param seed the same one gives the same moments, as far as a clock can
 */
export async function surviveRandomKills(kills: number, seed: number): Promise<void> {
  const random = randomFrom(seed)
  const town = await aTown()
  try {
    const everybody = []
    for (let round = 1; round <= kills; round++) {
      // Others in each round: the same document does not go to the same mailbox twice.
      const people = []
      for (let number = 0; number < patients; number++)
        people.push(await aPatientWhoAsked(town, `S${round}-${number}`))
      everybody.push(...people)
      const results = discharges(town, people)
      await pause(random() * killWithinMs)
      await town.engine.kill('SIGKILL')
      if (round % 2 === 0) killPostgres(town.directory)
      await town.engine.start()
      for (const { ack } of await results) expect({ round, ack }).toEqual({ round, ack: 'AA' })
    }
    for (const asking of everybody) await expectDelivered(town, asking)
    await expectReconciled(town, kills * patients)
    expect(town.phr.refused).toEqual([])
  } catch (error) {
    throw new Error(`with seed ${seed}: ${(error as Error).message}`, { cause: error })
  } finally {
    await town.close()
  }
}

/** All of it at once, as when a machine loses power; its children notice by themselves. */
function killPostgres(directory: string): void {
  const lock = join(directory, 'var', 'postgres', 'data', 'postmaster.pid')
  if (!existsSync(lock)) return
  try {
    process.kill(Number(readFileSync(lock, 'utf8').split('\n')[0]), 'SIGKILL')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

/** mulberry32: 0 ≤ x < 1, the same series for the same seed. */
function randomFrom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
