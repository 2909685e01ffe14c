import type { MigrationInterface, QueryRunner } from 'typeorm'

/** Messages that others send us, and the notifications we answer them with. */
export class Inbox1764030000000 implements MigrationInterface {
  readonly name = 'Inbox1764030000000'

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
  `ALTER TABLE blob DROP CONSTRAINT blob_kind_check`,
  `ALTER TABLE blob ADD CONSTRAINT blob_kind_check CHECK (kind IN ('document', 'sealed', 'mail', 'inbox'))`,
  // Opened again then: trust in its signer could not be decided. NULL: at once.
  `ALTER TABLE inbound_mail ADD COLUMN due_at timestamptz`,
  // One row per message and local recipient that trusts its sender.
  `CREATE TABLE inbox_message (
    id uuid PRIMARY KEY,
    mail_id uuid NOT NULL REFERENCES inbound_mail,
    recipient text NOT NULL,
    -- The address in From, which a trusted signer is bound to.
    sender text NOT NULL,
    message_id text,
    digest bytea NOT NULL,
    -- The message decrypted; NULL where this mailbox takes none (tracking.inbox: refuse).
    blob_id uuid REFERENCES blob,
    bytes bigint NOT NULL,
    signer_fingerprints text[] NOT NULL,
    -- Certificates of the trusted signers, and what else the message carried: for the answer.
    signer_certificates bytea[] NOT NULL,
    carried_certificates bytea[] NOT NULL,
    state text NOT NULL CHECK (state IN ('kept', 'refused')),
    received_at timestamptz NOT NULL,
    CHECK ((state = 'refused') = (blob_id IS NULL))
  )`,
  // The same message again, encrypted anew by a sender that lost our answer, is the same message.
  `CREATE UNIQUE INDEX inbox_message_once ON inbox_message (lower(recipient), coalesce(message_id, ''), digest)`,
  `CREATE INDEX inbox_message_received ON inbox_message (received_at, id)`,
  `CREATE INDEX inbox_message_mail ON inbox_message (mail_id)`,
  `CREATE INDEX inbox_message_blob ON inbox_message (blob_id)`,
  // What is owed to the senders of those messages: an MDN each, sealed once, sent until the next hop has it.
  `CREATE TABLE answer (
    id uuid PRIMARY KEY,
    inbox_id uuid NOT NULL REFERENCES inbox_message,
    disposition text NOT NULL CHECK (disposition IN ('processed', 'dispatched', 'failed')),
    sender text NOT NULL,
    recipient text NOT NULL,
    message_id text NOT NULL UNIQUE,
    original_message_id text,
    state text NOT NULL CHECK (state IN ('waiting', 'sealed', 'sent', 'failed')),
    ambiguous boolean NOT NULL DEFAULT false,
    on_wire boolean NOT NULL DEFAULT false,
    blob_id uuid REFERENCES blob,
    code text,
    because text,
    attempts integer NOT NULL DEFAULT 0,
    first_attempt_at timestamptz,
    -- NULL while it waits for the answer before it, and at its end.
    due_at timestamptz,
    created_at timestamptz NOT NULL,
    sealed_at timestamptz,
    first_sent_at timestamptz,
    changed_at timestamptz NOT NULL,
    ended_at timestamptz,
    UNIQUE (inbox_id, disposition)
  )`,
  `CREATE INDEX answer_due ON answer (due_at) WHERE due_at IS NOT NULL`,
  `CREATE INDEX answer_blob ON answer (blob_id)`,
]
