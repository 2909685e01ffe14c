import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { dischargeOf } from '../neighbours/hl7-messages.ts'
import type { Town } from '../neighbours/neighbourhood.ts'
import { ellen, isaac } from '../neighbours/people.ts'
import { aTown } from '../neighbours/town.ts'

const startMsMax = 120_000
const storyMsMax = 60_000

let town: Town

beforeAll(async () => {
  town = await aTown({ authorization: { triggers: ['discharge'] } })
}, startMsMax)
afterAll(() => town?.close(), startMsMax)

test(
  'a second engine on the same data directory is refused, and told by whom it is used',
  async () => {
    const { code, stderr } = await town.engine.command('start')
    expect(code).toBe(1)
    expect(stderr).toContain(join(town.directory, 'var'))
    expect(stderr).toContain(String(town.engine.pid))
    expect(await town.hospital.sends(dischargeOf(ellen))).toMatchObject([{ ack: 'AA' }])
  },
  storyMsMax,
)

test(
  'SIGTERM: every message that was stored is acknowledged, then the database stops, and the next start goes on',
  async () => {
    const lock = join(town.directory, 'var', 'postgres', 'data', 'postmaster.pid')
    expect(existsSync(lock)).toBe(true)
    const messages = Array.from({ length: 2000 }, () => dischargeOf(isaac))
    const told = town.hospital.process.happenings.length
    const flowing = town.hospital.sends(messages, { connections: 8, resends: false })
    await town.until('messages flow', () => town.hospital.process.happenings.length > told + 20)
    await town.engine.stop()
    expect(town.engine.isRunning).toBe(false)
    expect(existsSync(lock)).toBe(false)
    const acknowledged = (await flowing).filter(({ ack }) => ack === 'AA').length
    expect(acknowledged).toBeGreaterThan(0)
    expect(acknowledged).toBeLessThan(messages.length)

    await town.engine.start()
    const [said] = town.engine.log.filter(({ msg }) => msg === 'stopped')
    expect(said).toBeDefined()
    await town.until('Ellen’s discharge is delivered', async () => (await town.fateOf(ellen)) === 'delivered')
    await town.until('everything is decided', async () => {
      const { items } = await town.engine.api<{ items: unknown[] }>('GET', 'messages?state=received')
      return items.length === 0
    })
    const { code, stdout } = await town.engine.command('reconcile', '--json')
    // One from before, and exactly those whose acknowledgement came.
    expect({ code, ...(JSON.parse(stdout) as object) }).toMatchObject({
      code: 0,
      messages: 1 + acknowledged,
      findings: [],
    })
  },
  storyMsMax,
)
