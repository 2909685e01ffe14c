import { setTimeout as pause } from 'node:timers/promises'
import type { DataSource } from 'typeorm'
import { poolOf } from './data-source.ts'

/** Advisory lock class of transmissions being worked on. */
const stepLocks = 7_210_003

/** The step before schedules the next one and then lets go: that takes a moment, not longer. */
const patienceMs = [5, 20, 75, 200]

/**
 * Runs `work` unless another process is at the same transmission. The lock belongs to a connection, so it is gone the
 * moment its process dies, however it dies.
 *
 * @returns false where somebody else is at it
 */
export async function withStepLock(
  dataSource: DataSource,
  transmissionId: string,
  work: () => Promise<void>,
): Promise<boolean> {
  const client = await poolOf(dataSource).connect()
  const key = [stepLocks, transmissionId]
  const tryLock = async () => {
    const { rows } = await client.query<{ held: boolean }>(
      'SELECT pg_try_advisory_lock($1, hashtext($2)) AS held',
      key,
    )
    return rows[0]?.held === true
  }
  // A connection that broke, or may still hold the lock, must not go back to the others.
  let isSound = false
  try {
    let isHeld = await tryLock()
    for (const waitMs of patienceMs) {
      if (isHeld) break
      await pause(waitMs)
      isHeld = await tryLock()
    }
    if (isHeld) {
      try {
        await work()
      } finally {
        await client.query('SELECT pg_advisory_unlock($1, hashtext($2))', key)
        isSound = true
      }
    }
    isSound = true
    return isHeld
  } finally {
    client.release(!isSound)
  }
}
