import type { MigrationInterface, QueryRunner } from 'typeorm'

/** When a request by interval is due next, and from where its intervals count. */
export class Intervals1764100000000 implements MigrationInterface {
  readonly name = 'Intervals1764100000000'

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
  `ALTER TABLE transmit_authorization ADD COLUMN interval_from timestamptz, ADD COLUMN next_due_at timestamptz`,
  // Only what has an interval is in it: looking who is due costs what is due.
  `CREATE INDEX transmit_authorization_due ON transmit_authorization (next_due_at) WHERE next_due_at IS NOT NULL`,
]
