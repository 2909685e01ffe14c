import type { MigrationInterface, QueryRunner } from 'typeorm'

/** Revocation lists as they were fetched, so that a restart knows the last good ones. */
export class RevocationLists1764020000000 implements MigrationInterface {
  readonly name = 'RevocationLists1764020000000'

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`CREATE TABLE revocation_list (
      -- SHA-256 over the authority (name and key) and the URL.
      key text PRIMARY KEY,
      url text NOT NULL,
      der bytea NOT NULL,
      fetched_at timestamptz NOT NULL
    )`)
    // Serial numbers are random: compressing them costs more time than it saves space.
    await runner.query('ALTER TABLE revocation_list ALTER COLUMN der SET STORAGE EXTERNAL')
  }

  down(): Promise<void> {
    return Promise.reject(
      new Error('migrations go forward only: restore the backup taken before the upgrade'),
    )
  }
}
