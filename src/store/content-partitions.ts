import type { DataSource, EntityManager } from 'typeorm'

/** One advisory lock for all changes of partitions, so that processes do not get into each other’s way. */
const partitionLock = 0x626c7570
const partitionLockMsMax = 5_000

/**
 * Makes the content partitions of `days` days from `fromDay` (`YYYY-MM-DD`, UTC) on, as far as they are missing.
 * Contents that already went into the default partition move. Any number of processes may do this at the same time,
 * and messages may arrive meanwhile.
 *
 * @returns the names of the partitions made
 */
export async function ensureContentPartitions(
  dataSource: DataSource,
  fromDay: string,
  days: number,
): Promise<string[]> {
  const made: string[] = []
  for (let ahead = 0; ahead < days; ahead++) {
    const day = dayAfter(fromDay, ahead)
    const partition = partitionOf(day)
    // The usual case takes no lock at all.
    if (await hasRelation(dataSource.manager, partition)) continue
    await dataSource.transaction(async (manager) => {
      await lockPartitions(manager)
      if (await hasRelation(manager, partition)) return
      // Rows of this day must not arrive in the default partition between the move and the attachment. It is the
      // parent that is locked: an INSERT that waits there looks for its partition afterwards, while one that waits at
      // the default partition has chosen already, and goes on into it.
      await manager.query('LOCK TABLE ONLY message_content IN SHARE ROW EXCLUSIVE MODE')
      await manager.query(`CREATE TABLE ${partition} (LIKE message_content INCLUDING ALL)`)
      await manager.query(
        `WITH moved AS (DELETE FROM message_content_default WHERE received_on = $1 RETURNING *)
         INSERT INTO ${partition} SELECT * FROM moved`,
        [day],
      )
      await manager.query(
        `ALTER TABLE message_content ATTACH PARTITION ${partition}
         FOR VALUES FROM ('${day}') TO ('${dayAfter(day, 1)}')`,
      )
      made.push(partition)
    })
  }
  return made
}

/**
 * Drops the contents of all days before `day` (`YYYY-MM-DD`, UTC), partition by partition.
 *
 * @returns the names of the partitions dropped
 */
export async function dropContentBefore(dataSource: DataSource, day: string): Promise<string[]> {
  const limit = partitionOf(day)
  const partitions: { name: string }[] = await dataSource.query(
    `SELECT relname AS name FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
     WHERE inhparent = 'message_content'::regclass AND relname ~ '^message_content_[0-9]{8}$' AND relname < $1
     ORDER BY relname`,
    [limit],
  )
  const dropped: string[] = []
  for (const { name } of partitions)
    await dataSource.transaction(async (manager) => {
      await lockPartitions(manager)
      if (!(await hasRelation(manager, name))) return
      await manager.query(`DROP TABLE ${name}`)
      dropped.push(name)
    })
  await dataSource.query('DELETE FROM message_content_default WHERE received_on < $1', [day])
  return dropped
}

async function lockPartitions(manager: EntityManager): Promise<void> {
  await manager.query(`SET LOCAL lock_timeout = ${partitionLockMsMax}`)
  await manager.query('SELECT pg_advisory_xact_lock($1)', [partitionLock])
}

/** Asked of the catalog’s rows: to_regclass may answer from what this session knew before it waited for the lock. */
async function hasRelation(manager: EntityManager, name: string): Promise<boolean> {
  const rows: unknown[] = await manager.query(
    'SELECT 1 FROM pg_class WHERE relname = $1 AND relnamespace = current_schema()::regnamespace',
    [name],
  )
  return rows.length > 0
}

/** The name of a day’s partition. Throws where the text is no day: it becomes part of a statement. */
function partitionOf(day: string): string {
  if (!/^\d{4}-\d{2}-\d{2}$/.test(day)) throw new Error(`a day is written YYYY-MM-DD, not “${day}”`)
  return `message_content_${day.replaceAll('-', '')}`
}

function dayAfter(day: string, days: number): string {
  return new Date(Date.parse(`${day}T00:00:00Z`) + days * 86_400_000).toISOString().slice(0, 10)
}
