import type { MigrationInterface, QueryRunner } from 'typeorm'

/** How far each feed has been read. */
export class FeedCursors1764080000000 implements MigrationInterface {
  readonly name = 'FeedCursors1764080000000'

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(
      `CREATE TABLE feed_cursor (
         channel text PRIMARY KEY,
         -- In the words of the source; what the next question begins from.
         value text NOT NULL,
         moved_at timestamptz NOT NULL,
         asked_at timestamptz NOT NULL,
         -- Why the last question failed; null where it did not.
         because text
       )`,
    )
  }

  down(): Promise<void> {
    return Promise.reject(
      new Error('migrations go forward only: restore the backup taken before the upgrade'),
    )
  }
}
