import type { MigrationInterface, QueryRunner } from 'typeorm'

/** Visit and account numbers that were given up for others (A41, A42, A49, A50, A51): late messages still name them. */
export class VisitNumbers1764140000000 implements MigrationInterface {
  readonly name = 'VisitNumbers1764140000000'

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
  // Blind indexes, as in trigger_event. No chains: what an old number stands for is brought up to date with each change.
  `CREATE TABLE renumbered_visit (
     old_key bytea PRIMARY KEY,
     new_key bytea NOT NULL,
     at timestamptz NOT NULL,
     CHECK (old_key <> new_key)
   )`,
  `CREATE INDEX renumbered_visit_new ON renumbered_visit (new_key)`,
]
