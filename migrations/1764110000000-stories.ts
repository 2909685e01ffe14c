import type { MigrationInterface, QueryRunner } from 'typeorm'

/** Everything about one visit, document or claim is one story: several events may share a transmission. */
export class Stories1764110000000 implements MigrationInterface {
  readonly name = 'Stories1764110000000'

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
  // The document or claim an event is about, beside its visit: a cancel of one document leaves the visit alone.
  `ALTER TABLE trigger_event ADD COLUMN subject_key bytea,
     -- A cancel of the whole visit (A11, A23), not of one kind of event.
     ADD COLUMN cancels_visit boolean NOT NULL DEFAULT false,
     -- The cancel that took this event back.
     ADD COLUMN taken_back_by bigint REFERENCES trigger_event`,
  `CREATE INDEX trigger_event_subject ON trigger_event (subject_key, kind) WHERE subject_key IS NOT NULL`,
  `ALTER TABLE trigger_event DROP CONSTRAINT trigger_event_outcome_check`,
  `ALTER TABLE trigger_event ADD CONSTRAINT trigger_event_outcome_check CHECK (outcome IN
     ('matched', 'not-permitted', 'held', 'no-authorization', 'cancel', 'cancelled', 'repeat'))`,
  // Which events a transmission speaks for; event_id and cause of the transmission name the one it is judged by first.
  `CREATE TABLE transmission_event (
     transmission_id uuid NOT NULL REFERENCES transmission,
     event_id bigint NOT NULL REFERENCES trigger_event,
     PRIMARY KEY (transmission_id, event_id)
   )`,
  `CREATE INDEX transmission_event_of ON transmission_event (event_id)`,
  `INSERT INTO transmission_event (transmission_id, event_id)
     SELECT id, event_id FROM transmission WHERE event_id IS NOT NULL`,
  // What was told before is known by its events now, however the transmission was begun.
  `DROP INDEX transmission_once_per_visit`,
  // What was withdrawn never leaves; its events may have gone over to another transmission.
  `DROP INDEX transmission_once_per_event`,
  `CREATE UNIQUE INDEX transmission_once_per_event ON transmission (event_id, authorization_id, lower(destination))
     WHERE event_id IS NOT NULL AND state <> 'withdrawn'`,
  `CREATE INDEX transmission_story ON transmission (encounter_key, authorization_id)
     WHERE encounter_key IS NOT NULL AND state NOT IN ('failed', 'withdrawn', 'cancelled')`,
]
