import { setTimeout as pause } from 'node:timers/promises'
import type { DataSource } from 'typeorm'

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
  const runner = dataSource.createQueryRunner()
  await runner.connect()
  const tryLock = async () => {
    const rows = (await runner.query('SELECT pg_try_advisory_lock($1, hashtext($2)) AS held', [
      stepLocks,
      transmissionId,
    ])) as {
      held: boolean
    }[]
    return rows[0]?.held === true
  }
  try {
    let isHeld = await tryLock()
    for (const waitMs of patienceMs) {
      if (isHeld) break
      await pause(waitMs)
      isHeld = await tryLock()
    }
    if (!isHeld) return false
    try {
      await work()
      return true
    } finally {
      await runner.query('SELECT pg_advisory_unlock($1, hashtext($2))', [stepLocks, transmissionId])
    }
  } finally {
    await runner.release()
  }
}
