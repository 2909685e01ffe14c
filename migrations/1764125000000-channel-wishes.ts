import type { MigrationInterface, QueryRunner } from 'typeorm'

/** What operators want of channels beside their files: paused (nothing is decided), stopped (nothing is received). */
export class ChannelWishes1764125000000 implements MigrationInterface {
  readonly name = 'ChannelWishes1764125000000'

  async up(runner: QueryRunner): Promise<void> {
    for (const statement of statements) await runner.query(statement)
  }

  down(): Promise<void> {
    return Promise.reject(
      new Error('migrations go forward only: restore the backup taken before the upgrade'),
    )
  }
}

const statements = [
  // Both may stand for one channel: a paused channel that is stopped still decides nothing.
  `CREATE TABLE channel_wish (
     channel text NOT NULL,
     wish text NOT NULL CHECK (wish IN ('paused', 'stopped')),
     at timestamptz NOT NULL,
     actor text NOT NULL,
     because text,
     PRIMARY KEY (channel, wish)
   )`,
]
