import type { MigrationInterface, QueryRunner } from 'typeorm'

/** Quarantine by cause, releases of whole groups, and how often lookup tables had no row. */
export class QuarantineCauses1764130000000 implements MigrationInterface {
  readonly name = 'QuarantineCauses1764130000000'

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
  `ALTER TABLE message ADD COLUMN cause text`,
  // Rows of before have their cause in their reason: these patterns are those of the reasons that were written until now.
  `UPDATE message SET cause = left(CASE
       WHEN code = 'lookup-miss' THEN 'lookup-miss:' ||
         regexp_replace(because, '^table (\\S+) has no row for (?:the value of )?(.+)$', '\\1:\\2')
       WHEN code = 'required-missing' THEN 'required-missing:' ||
         regexp_replace(because, '^(?:the )?(\\S+) is required.*$', '\\1')
       WHEN code IN ('datetime-unreadable', 'date-unreadable', 'value-refused', 'age-unknown') THEN code || ':' ||
         regexp_replace(because, ' (is not a|is longer than|holds|gives no time).*$', '')
       WHEN code = 'needs-a-person' THEN 'needs-a-person:' || because
       ELSE code END, 200)
     WHERE state = 'quarantined'`,
  `UPDATE message SET cause = coalesce(code, 'unknown') WHERE state = 'quarantined' AND cause IS NULL`,
  `ALTER TABLE message ADD CONSTRAINT message_has_cause CHECK (state <> 'quarantined' OR cause IS NOT NULL)`,
  // One group, oldest first: its ends, its samples, and the walk of a release.
  `DROP INDEX message_quarantined`,
  `CREATE INDEX message_quarantined ON message (channel, cause, id) WHERE state = 'quarantined'`,

  // How many wait in each group, so that nobody counts them: what was folded, and the changes since.
  `CREATE TABLE quarantine_group (
     id text PRIMARY KEY,
     channel text NOT NULL,
     cause text NOT NULL,
     count bigint NOT NULL,
     UNIQUE (channel, cause)
   )`,
  // Appended to and never updated: those who decide never wait for each other here. Folded every minute.
  `CREATE TABLE quarantine_change (
     id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
     group_id text NOT NULL,
     channel text NOT NULL,
     cause text NOT NULL,
     change smallint NOT NULL
   )`,
  // The same channel and cause are the same group for ever, whenever it was first seen.
  `CREATE FUNCTION quarantine_group_id(channel text, cause text) RETURNS text LANGUAGE sql STABLE STRICT
     RETURN left(encode(sha256(convert_to(channel || chr(10) || cause, 'UTF8')), 'hex'), 12)`,
  `CREATE FUNCTION note_quarantine_change() RETURNS trigger LANGUAGE plpgsql AS $$
   BEGIN
     IF TG_OP <> 'INSERT' AND OLD.state = 'quarantined' THEN
       INSERT INTO quarantine_change (group_id, channel, cause, change)
       VALUES (quarantine_group_id(OLD.channel, OLD.cause), OLD.channel, OLD.cause, -1);
     END IF;
     IF TG_OP <> 'DELETE' AND NEW.state = 'quarantined' THEN
       INSERT INTO quarantine_change (group_id, channel, cause, change)
       VALUES (quarantine_group_id(NEW.channel, NEW.cause), NEW.channel, NEW.cause, 1);
     END IF;
     RETURN NULL;
   END $$`,
  // Whatever moves a message into quarantine or out of it is counted; all others cost the comparison of a word.
  `CREATE TRIGGER message_quarantined_insert AFTER INSERT ON message FOR EACH ROW
     WHEN (NEW.state = 'quarantined') EXECUTE FUNCTION note_quarantine_change()`,
  `CREATE TRIGGER message_quarantined_update AFTER UPDATE OF state, cause ON message FOR EACH ROW
     WHEN ((OLD.state = 'quarantined' OR NEW.state = 'quarantined') AND (OLD.state, OLD.cause) IS DISTINCT FROM (NEW.state, NEW.cause))
     EXECUTE FUNCTION note_quarantine_change()`,
  `CREATE TRIGGER message_quarantined_delete AFTER DELETE ON message FOR EACH ROW
     WHEN (OLD.state = 'quarantined') EXECUTE FUNCTION note_quarantine_change()`,
  `INSERT INTO quarantine_group (id, channel, cause, count)
     SELECT quarantine_group_id(channel, cause), channel, cause, count(*) FROM message
     WHERE state = 'quarantined' GROUP BY channel, cause`,

  // A group on its way back to the deciders, a batch at a time: who stops in the middle goes on behind after_id.
  `CREATE TABLE quarantine_release (
     id uuid PRIMARY KEY,
     group_id text NOT NULL,
     channel text NOT NULL,
     cause text NOT NULL,
     -- What came into the group after the release was asked for is not part of it.
     until_id bigint NOT NULL,
     after_id bigint NOT NULL DEFAULT 0,
     wanted bigint NOT NULL,
     released bigint NOT NULL DEFAULT 0,
     -- Their content is past its retention: they stay.
     without_content bigint NOT NULL DEFAULT 0,
     actor text NOT NULL,
     because text,
     started_at timestamptz NOT NULL,
     ended_at timestamptz
   )`,
  `CREATE UNIQUE INDEX quarantine_release_open ON quarantine_release (group_id) WHERE ended_at IS NULL`,
  `CREATE INDEX quarantine_release_of ON quarantine_release (group_id, started_at)`,

  // Lookups that found no row. A value stands here only where it is a code about the visit or the message.
  `CREATE TABLE lookup_miss (
     channel text NOT NULL,
     table_name text NOT NULL,
     -- shown: value is it; hidden: it may be PHI; other: one value too many.
     kind text NOT NULL CHECK (kind IN ('shown', 'hidden', 'other')),
     value text NOT NULL CHECK ((kind = 'shown') = (value <> '')),
     count bigint NOT NULL,
     first_at timestamptz NOT NULL,
     last_at timestamptz NOT NULL,
     PRIMARY KEY (channel, table_name, kind, value)
   )`,
]
