import type { MigrationInterface, QueryRunner } from 'typeorm'

/** What looking ahead found for each address that an active request names: can it receive, and until when? */
export class DestinationStanding1764060000000 implements MigrationInterface {
  readonly name = 'DestinationStanding1764060000000'

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(
      `CREATE TABLE destination_standing (
         -- Lower case: one for all requests that name it.
         address text PRIMARY KEY,
         next_probe_at timestamptz NOT NULL,
         -- Everything below is null until the first probe has ended.
         probed_at timestamptz,
         outcome text CHECK (outcome IN ('trusted', 'untrusted', 'absent', 'unavailable')),
         -- Since when the outcome is what it is.
         since timestamptz,
         because text,
         -- When nothing could be sent any more without a new certificate, and whose end that is.
         ends_at timestamptz,
         ends_first text,
         trace jsonb
       )`,
    )
    await runner.query('CREATE INDEX destination_standing_due ON destination_standing (next_probe_at)')
    await runner.query(
      `CREATE INDEX authorization_destination_address ON authorization_destination (lower(address))
         WHERE removed_at IS NULL`,
    )
    await runner.query(
      `INSERT INTO destination_standing (address, next_probe_at)
         SELECT DISTINCT lower(address), now() FROM authorization_destination WHERE removed_at IS NULL`,
    )
  }

  down(): Promise<void> {
    return Promise.reject(
      new Error('migrations go forward only: restore the backup taken before the upgrade'),
    )
  }
}
