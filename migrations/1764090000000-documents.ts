import type { MigrationInterface, QueryRunner } from 'typeorm'

/** A transmission may end because there is nothing new to send; documents are told apart by version. */
export class Documents1764090000000 implements MigrationInterface {
  readonly name = 'Documents1764090000000'

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
  `ALTER TABLE transmission DROP CONSTRAINT transmission_state_check`,
  `ALTER TABLE transmission ADD CONSTRAINT transmission_state_check CHECK (state IN ('waiting', 'preparing', 'sealed',
     'submitted', 'processed', 'delivered', 'held', 'failed', 'withdrawn', 'cancelled', 'skipped'))`,
  // The last moment effective_time may mean: some documents say the day and no more.
  `ALTER TABLE document ADD COLUMN effective_until timestamptz`,
]
