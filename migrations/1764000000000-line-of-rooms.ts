import type { MigrationInterface, QueryRunner } from 'typeorm'

/** Every table of the line of rooms, in the order a message meets them. */
export class LineOfRooms1764000000000 implements MigrationInterface {
  readonly name = 'LineOfRooms1764000000000'

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
  // One row per installation: a random key for blind indexes, made on the first start.
  `CREATE TABLE installation (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    blind_key bytea NOT NULL,
    -- Added to transaction ids in the audit, so that they go on rising after a dump was restored into a new cluster.
    audit_offset bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now()
  )`,

  // 1 intake ---------------------------------------------------------------------------------------------------------
  // What was received. Holds no PHI: the content lies in message_content and goes with its day.
  `CREATE TABLE message (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    channel text NOT NULL,
    received_at timestamptz NOT NULL,
    received_on date NOT NULL,
    sender text NOT NULL,
    control_id text NOT NULL,
    digest bytea NOT NULL,
    bytes integer NOT NULL,
    peer text NOT NULL,
    lane smallint NOT NULL,
    ack bytea,
    state text NOT NULL CHECK (state IN ('received', 'triggered', 'filtered', 'quarantined')),
    because text,
    code text,
    flags text[] NOT NULL DEFAULT '{}',
    revision text,
    decided_at timestamptz,
    -- The same bytes under the same control id are the same message: a repeat gets the same ACK and does nothing else.
    CONSTRAINT message_once UNIQUE (channel, sender, control_id, digest)
  )`,
  // The deciders’ claim index: only what is still to be decided, in order, lane by lane.
  `CREATE INDEX message_undecided ON message (lane, id) WHERE state = 'received'`,
  `CREATE INDEX message_quarantined ON message (channel, code, id) WHERE state = 'quarantined'`,
  `CREATE INDEX message_control_id ON message (control_id)`,
  `CREATE INDEX message_received_at ON message (received_at)`,
  // Raw bytes, one partition per day of receipt, dropped whole at retention.
  `CREATE TABLE message_content (
    received_on date NOT NULL,
    message_id bigint NOT NULL,
    content bytea NOT NULL,
    PRIMARY KEY (received_on, message_id)
  ) PARTITION BY RANGE (received_on)`,
  `CREATE TABLE message_content_default PARTITION OF message_content DEFAULT`,
  // Bytes that never became a message (a frame without end, bytes that are not HL7), kept with the reason.
  `CREATE TABLE fragment (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    channel text NOT NULL,
    received_at timestamptz NOT NULL,
    peer text NOT NULL,
    because text NOT NULL,
    bytes integer NOT NULL,
    content bytea NOT NULL
  )`,
  // Retention takes the oldest first.
  `CREATE INDEX fragment_received_at ON fragment (received_at)`,

  // The patient’s request ----------------------------------------------------------------------------------------------
  // "authorization" is a reserved word of SQL: the table is named after what the patient makes.
  `CREATE TABLE transmit_authorization (
    id uuid PRIMARY KEY,
    version integer NOT NULL DEFAULT 1,
    family text NOT NULL,
    given text,
    previous_families text[] NOT NULL DEFAULT '{}',
    birth_date text NOT NULL,
    frequency text NOT NULL CHECK (frequency IN ('once', 'continuous', 'interval')),
    every text,
    triggers text[] NOT NULL,
    valid_from timestamptz NOT NULL,
    valid_until timestamptz,
    revoked_at timestamptz,
    sensitive_data text NOT NULL DEFAULT 'excluded' CHECK (sensitive_data IN ('excluded', 'included')),
    assurance_method text NOT NULL,
    assurance_by text NOT NULL,
    assurance_at timestamptz NOT NULL,
    evidence text,
    created_at timestamptz NOT NULL,
    created_by text NOT NULL,
    CHECK ((frequency = 'interval') = (every IS NOT NULL))
  )`,
  // Lists, newest first, page by page.
  `CREATE INDEX transmit_authorization_created ON transmit_authorization (created_at, id)`,
  // Matching asks by exact identifier only; the cost does not grow with the number of authorizations.
  `CREATE TABLE authorization_identifier (
    system text NOT NULL,
    value text NOT NULL,
    authorization_id uuid NOT NULL REFERENCES transmit_authorization,
    type text,
    PRIMARY KEY (system, value, authorization_id)
  )`,
  `CREATE INDEX authorization_identifier_of ON authorization_identifier (authorization_id)`,
  `CREATE TABLE authorization_destination (
    id uuid PRIMARY KEY,
    authorization_id uuid NOT NULL REFERENCES transmit_authorization,
    address text NOT NULL,
    added_at timestamptz NOT NULL,
    removed_at timestamptz
  )`,
  `CREATE UNIQUE INDEX authorization_destination_active
     ON authorization_destination (authorization_id, lower(address)) WHERE removed_at IS NULL`,
  // Every version with who and when: what the patient had asked for at any moment can be shown.
  `CREATE TABLE authorization_change (
    authorization_id uuid NOT NULL REFERENCES transmit_authorization,
    version integer NOT NULL,
    at timestamptz NOT NULL,
    by text NOT NULL,
    what text NOT NULL CHECK (what IN ('created', 'changed', 'revoked')),
    because text,
    snapshot jsonb NOT NULL,
    PRIMARY KEY (authorization_id, version)
  )`,

  // 2, 3 mapping and matching ------------------------------------------------------------------------------------------
  `CREATE TABLE trigger_event (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    message_id bigint NOT NULL REFERENCES message,
    channel text NOT NULL,
    kind text NOT NULL,
    occurred_at timestamptz NOT NULL,
    cancels boolean NOT NULL DEFAULT false,
    -- HMACs under installation.blind_key: found again by somebody who knows the identifier, unreadable otherwise.
    patient_keys bytea[] NOT NULL DEFAULT '{}',
    encounter_key bytea,
    outcome text NOT NULL CHECK (outcome IN ('matched', 'not-permitted', 'held', 'no-authorization', 'cancel', 'cancelled')),
    because text NOT NULL,
    decided_at timestamptz NOT NULL,
    UNIQUE (message_id)
  )`,
  `CREATE INDEX trigger_event_patient ON trigger_event USING gin (patient_keys)`,
  `CREATE INDEX trigger_event_encounter ON trigger_event (encounter_key, kind) WHERE encounter_key IS NOT NULL`,
  `CREATE TABLE verdict (
    event_id bigint NOT NULL REFERENCES trigger_event,
    authorization_id uuid NOT NULL REFERENCES transmit_authorization,
    authorization_version integer NOT NULL,
    outcome text NOT NULL CHECK (outcome IN ('matched', 'not-permitted', 'held')),
    code text NOT NULL,
    because text NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (event_id, authorization_id)
  )`,
  `CREATE INDEX verdict_authorization ON verdict (authorization_id, at)`,

  // 4 – 8 one event × one authorization × one destination ----------------------------------------------------------------
  `CREATE TABLE transmission (
    id uuid PRIMARY KEY,
    authorization_id uuid NOT NULL REFERENCES transmit_authorization,
    authorization_version integer NOT NULL,
    destination text NOT NULL,
    cause text NOT NULL,
    event_id bigint REFERENCES trigger_event,
    occurred_at timestamptz NOT NULL,
    state text NOT NULL CHECK (state IN ('waiting', 'preparing', 'sealed', 'submitted', 'processed', 'delivered',
      'held', 'failed', 'withdrawn', 'cancelled')),
    held_from text,
    ambiguous boolean NOT NULL DEFAULT false,
    on_wire boolean NOT NULL DEFAULT false,
    delivery_requested boolean NOT NULL DEFAULT true,
    code text,
    because text,
    attempts integer NOT NULL DEFAULT 0,
    first_attempt_at timestamptz,
    due_at timestamptz,
    message_id text,
    document_id uuid,
    trace jsonb,
    encounter_key bytea,
    created_at timestamptz NOT NULL,
    sealed_at timestamptz,
    first_sent_at timestamptz,
    submitted_at timestamptz,
    processed_at timestamptz,
    delivered_at timestamptz,
    ended_at timestamptz,
    changed_at timestamptz NOT NULL
  )`,
  // The same event never sends twice to one destination of one authorization, however often a step runs.
  `CREATE UNIQUE INDEX transmission_once_per_event ON transmission (event_id, authorization_id, lower(destination))
     WHERE event_id IS NOT NULL`,
  `CREATE UNIQUE INDEX transmission_once_per_request ON transmission (authorization_id, lower(destination))
     WHERE cause = 'request' AND state NOT IN ('failed', 'withdrawn', 'cancelled')`,
  // The same event of the same visit told again in another message is the same event.
  `CREATE UNIQUE INDEX transmission_once_per_visit
     ON transmission (encounter_key, cause, occurred_at, authorization_id, lower(destination))
     WHERE encounter_key IS NOT NULL AND state NOT IN ('failed', 'withdrawn', 'cancelled')`,
  `CREATE UNIQUE INDEX transmission_message_id ON transmission (message_id) WHERE message_id IS NOT NULL`,
  `CREATE INDEX transmission_authorization ON transmission (authorization_id, created_at)`,
  // Revocation and cancels reach unsent work through these two; finished rows leave them.
  `CREATE INDEX transmission_unsent ON transmission (authorization_id)
     WHERE state IN ('waiting', 'preparing', 'sealed', 'held')`,
  `CREATE INDEX transmission_unsent_encounter ON transmission (encounter_key)
     WHERE encounter_key IS NOT NULL AND state IN ('waiting', 'preparing', 'sealed', 'held')`,
  // What has to be looked at and when; finished and held rows are not in it.
  `CREATE INDEX transmission_due ON transmission (due_at) WHERE due_at IS NOT NULL`,
  // Lists, newest first, page by page; and what needs a person, which is always little.
  `CREATE INDEX transmission_created ON transmission (created_at, id)`,
  `CREATE INDEX transmission_troubled ON transmission (state, created_at, id) WHERE state IN ('held', 'failed')`,
  // What happened to it, in order; the story that “explain” tells.
  `CREATE TABLE occurrence (
    transmission_id uuid NOT NULL REFERENCES transmission,
    ordinal integer NOT NULL,
    at timestamptz NOT NULL,
    what text NOT NULL,
    from_state text NOT NULL,
    to_state text NOT NULL,
    code text,
    because text,
    detail jsonb,
    PRIMARY KEY (transmission_id, ordinal)
  )`,
  // Documents, sealed messages and inbound mail: bytes in chunks, so that nothing is ever held whole.
  `CREATE TABLE blob (
    id uuid PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('document', 'sealed', 'mail')),
    bytes bigint NOT NULL,
    sha256 bytea NOT NULL,
    created_at timestamptz NOT NULL,
    -- Its bytes were dropped at retention; that they were there, and their hash, stays.
    forgotten_at timestamptz
  )`,
  `CREATE INDEX blob_kept ON blob (created_at) WHERE forgotten_at IS NULL`,
  `CREATE TABLE blob_chunk (
    blob_id uuid NOT NULL REFERENCES blob ON DELETE CASCADE,
    ordinal integer NOT NULL,
    content bytea NOT NULL,
    PRIMARY KEY (blob_id, ordinal)
  )`,
  // Compressing ciphertext and base64 is work for nothing.
  `ALTER TABLE blob_chunk ALTER COLUMN content SET STORAGE EXTERNAL`,
  `CREATE TABLE document (
    id uuid PRIMARY KEY,
    transmission_id uuid NOT NULL REFERENCES transmission,
    role text NOT NULL CHECK (role IN ('clinical-summary', 'additional')),
    blob_id uuid NOT NULL REFERENCES blob,
    media_type text NOT NULL,
    file_name text NOT NULL,
    source text NOT NULL,
    document_code text,
    effective_time timestamptz,
    set_id text,
    version_number text,
    findings jsonb NOT NULL DEFAULT '[]',
    fetched_at timestamptz NOT NULL
  )`,
  `CREATE INDEX document_transmission ON document (transmission_id)`,
  // Deleting a blob asks its three possible owners (foreign keys): by index.
  `CREATE INDEX document_blob ON document (blob_id)`,
  // Sealed once; every attempt sends these bytes.
  `CREATE TABLE sealed_message (
    transmission_id uuid PRIMARY KEY REFERENCES transmission,
    blob_id uuid NOT NULL REFERENCES blob,
    message_id text NOT NULL,
    recipient_fingerprints text[] NOT NULL,
    signer_fingerprints text[] NOT NULL,
    sealed_at timestamptz NOT NULL
  )`,
  `CREATE INDEX sealed_message_blob ON sealed_message (blob_id)`,
  // One row per attempt at the next hop, written before the first byte leaves.
  `CREATE TABLE attempt (
    transmission_id uuid NOT NULL REFERENCES transmission,
    ordinal integer NOT NULL,
    started_at timestamptz NOT NULL,
    ended_at timestamptz,
    next_hop text,
    outcome text CHECK (outcome IN ('submitted', 'refused', 'deferred', 'unreachable', 'ambiguous', 'stopped')),
    resend boolean NOT NULL,
    reply text,
    PRIMARY KEY (transmission_id, ordinal)
  )`,

  // 8 tracking -----------------------------------------------------------------------------------------------------------
  // Inbound Direct mail, stored before 250 is said.
  `CREATE TABLE inbound_mail (
    id uuid PRIMARY KEY,
    received_at timestamptz NOT NULL,
    envelope_from text NOT NULL,
    envelope_to text[] NOT NULL,
    peer text NOT NULL,
    blob_id uuid NOT NULL REFERENCES blob,
    digest bytea NOT NULL,
    state text NOT NULL CHECK (state IN ('received', 'notification', 'ignored', 'message')),
    because text,
    opened_at timestamptz
  )`,
  `CREATE UNIQUE INDEX inbound_mail_once ON inbound_mail (digest)`,
  `CREATE INDEX inbound_mail_blob ON inbound_mail (blob_id)`,
  `CREATE INDEX inbound_mail_unopened ON inbound_mail (received_at) WHERE state = 'received'`,
  `CREATE TABLE notification (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    mail_id uuid NOT NULL REFERENCES inbound_mail,
    ordinal integer NOT NULL,
    kind text NOT NULL CHECK (kind IN ('mdn', 'dsn')),
    original_message_id text,
    recipient text,
    disposition text,
    report text NOT NULL,
    signer_fingerprint text,
    bound boolean NOT NULL,
    transmission_id uuid REFERENCES transmission,
    effect text NOT NULL CHECK (effect IN ('moved', 'late', 'already-known', 'ignored')),
    because text NOT NULL,
    at timestamptz NOT NULL,
    UNIQUE (mail_id, ordinal)
  )`,
  `CREATE INDEX notification_transmission ON notification (transmission_id)`,

  // Audit: append only. A seal covers every row of the transactions below its horizon and the seal before it.
  // A body bound to its tables (PostgreSQL 14), so that no search_path changes what it means.
  `CREATE FUNCTION audit_txid() RETURNS bigint LANGUAGE sql VOLATILE
   BEGIN ATOMIC
     SELECT pg_current_xact_id()::text::bigint + coalesce((SELECT audit_offset FROM installation), 0);
   END`,
  `CREATE TABLE audit (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    txid bigint NOT NULL DEFAULT audit_txid(),
    at timestamptz NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    subject text NOT NULL,
    authorization_id uuid,
    detail jsonb NOT NULL
  )`,
  `CREATE INDEX audit_txid ON audit (txid, id)`,
  `CREATE INDEX audit_subject ON audit (subject, at)`,
  `CREATE INDEX audit_authorization ON audit (authorization_id, at) WHERE authorization_id IS NOT NULL`,
  `CREATE TABLE audit_seal (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    txid_from bigint NOT NULL,
    txid_until bigint NOT NULL,
    entries integer NOT NULL,
    previous bytea NOT NULL,
    hash bytea NOT NULL,
    at timestamptz NOT NULL,
    UNIQUE (txid_from)
  )`,
  `CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
     BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$`,
  ...['audit', 'audit_seal', 'authorization_change'].flatMap((table) => [
    `CREATE TRIGGER ${table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ${table}
       FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()`,
    // Also where session_replication_role would switch triggers off.
    `ALTER TABLE ${table} ENABLE ALWAYS TRIGGER ${table}_append_only`,
  ]),
]
