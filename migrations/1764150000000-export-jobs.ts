import type { MigrationInterface, QueryRunner } from 'typeorm'

/** The export that each channel has asked a FHIR server for, and how far it has been read. */
export class ExportJobs1764150000000 implements MigrationInterface {
  readonly name = 'ExportJobs1764150000000'

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
  // Where the next export begins stands in feed_cursor: it moves when one was read to its end.
  `CREATE TABLE export_job (
     channel text PRIMARY KEY,
     -- idle: none; running: the server works at it; reading: its files are fetched; removing: the server is told that we are done.
     state text NOT NULL CHECK (state IN ('idle', 'running', 'reading', 'removing')),
     -- What was asked for: a channel that asks for something else begins anew.
     question text NOT NULL DEFAULT '',
     -- Content-Location of the kick-off.
     status_url text,
     started_at timestamptz NOT NULL,
     -- When the next export may begin, and when the next step may be taken.
     due_at timestamptz NOT NULL,
     next_at timestamptz NOT NULL,
     -- As the server says it, in percent.
     progress text,
     polls integer NOT NULL DEFAULT 0,
     -- In a row; since something was read; exports given up since the last complete one.
     failures integer NOT NULL DEFAULT 0,
     faults integer NOT NULL DEFAULT 0,
     attempts integer NOT NULL DEFAULT 0,
     because text,
     manifest jsonb,
     -- Everything before this line of this file is committed.
     file integer NOT NULL DEFAULT 0,
     line bigint NOT NULL DEFAULT 0,
     resources bigint NOT NULL DEFAULT 0,
     fresh bigint NOT NULL DEFAULT 0,
     deletions bigint NOT NULL DEFAULT 0
   )`,
  // Patients of the export that is read now; they go with it.
  `CREATE TABLE export_patient (
     channel text NOT NULL,
     id text NOT NULL,
     resource text NOT NULL,
     PRIMARY KEY (channel, id)
   )`,
  // The messages of one resource, whatever their versions. Messages of HL7v2 are not in it.
  `CREATE INDEX message_resource ON message (channel, sender, control_id text_pattern_ops)
     WHERE control_id LIKE '%/\\_history/%'`,
]
