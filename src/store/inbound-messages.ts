import pg from 'pg'
import type { DataSource } from 'typeorm'
import { GroupCommit } from '../lib/group-commit.ts'
import { poolOf } from './data-source.ts'

/** A message as it goes into the tables `message` and `message_content`. */
export interface InboundMessage {
  readonly channel: string
  readonly receivedAt: Date
  /** Who sent it, as MSH-3 and MSH-4 say. */
  readonly sender: string
  readonly controlId: string
  /** SHA-256 of the content. */
  readonly digest: Buffer
  readonly peer: string
  readonly lane: number
  /** What the sender is told once the message is committed, and again whenever it repeats itself. */
  readonly ack: Buffer | undefined
  /** Set where the message goes to quarantine at once instead of to the deciders. */
  readonly quarantine?: { readonly code: string; readonly because: string }
  readonly flags: readonly string[]
  readonly content: Buffer
  /** Messages with the same order (one connection) get ids in the order they were given. */
  readonly order: unknown
}

export type Kept =
  | { readonly fresh: true }
  /** The same bytes under the same control id were here before: this is what was answered then. */
  | { readonly fresh: false; readonly ack: Buffer | undefined }

/** Bytes that never became a message. */
export interface InboundFragment {
  readonly channel: string
  readonly receivedAt: Date
  readonly peer: string
  readonly because: string
  readonly content: Buffer
}

export interface InboundMessages {
  /** Resolves after the commit. Rejects where the message is not stored; whether it may be tried again: {@link isRowAtFault}. */
  keep(message: InboundMessage): Promise<Kept>
  keepFragment(fragment: InboundFragment): Promise<void>
  /** Lets what waits be written, then gives its connections back. */
  close(): Promise<void>
}

export interface InboundMessagesOptions {
  /** Called after each commit with the lanes that have something to decide. */
  onCommitted?(lanes: ReadonlySet<number>): void
  readonly writesInFlightMax?: number
}

/** Intake has its own connections: it never waits behind other work. */
const connectionsMax = 3
const connectMsMax = 5_000

/** A store for inbound messages on the database of the data source; one per process, shared by all channels. */
export function openInboundMessages(
  dataSource: DataSource,
  options: InboundMessagesOptions = {},
): InboundMessages {
  const pool = intakePool(dataSource)
  const commits = new GroupCommit<InboundMessage, Kept>({
    bytesOf: (message) => message.content.length + (message.ack?.length ?? 0) + 512,
    orderOf: (message) => message.order,
    mayBlameRow: isRowAtFault,
    ...(options.writesInFlightMax === undefined ? {} : { writesInFlightMax: options.writesInFlightMax }),
    async write(messages) {
      const kept = await insertMessages(pool, messages)
      const lanes = new Set<number>()
      messages.forEach((message, at) => {
        if (kept[at]!.fresh && message.quarantine === undefined) lanes.add(message.lane)
      })
      if (lanes.size > 0) options.onCommitted?.(lanes)
      return kept
    },
  })
  return {
    keep: (message) => commits.add(message),
    async keepFragment({ channel, receivedAt, peer, because, content }) {
      await pool.query(
        `INSERT INTO fragment (channel, received_at, peer, because, bytes, content) VALUES ($1, $2, $3, $4, $5, $6)`,
        [channel, receivedAt, peer, because, content.length, content],
      )
    },
    async close() {
      await commits.idle()
      await pool.end()
    },
  }
}

/** Longer than any commit takes; senders usually give up after 30 to 60 s. */
const commitMsMax = 20_000

export function intakePool(dataSource: DataSource): pg.Pool {
  const pool = new pg.Pool({
    ...poolOf(dataSource).options,
    min: 0,
    max: connectionsMax,
    connectionTimeoutMillis: connectMsMax,
    // A link that hangs must become an AE, not silence: the sender sends again, and a repeat is known.
    query_timeout: commitMsMax,
    application_name: 'bluepost intake',
    // The plan of the prepared statement is made while the table is small and kept while it grows: it must use the index.
    onConnect: (client) => client.query('SET enable_seqscan = off; SET jit = off'),
  })
  // A broken idle connection is replaced by the pool; the query that meets it reports it.
  pool.on('error', () => {})
  return pool
}

/**
 * True where the row itself is what the database refused (SQLSTATE class 22 data exception, 23 constraint, 54 program
 * limit): sending the same bytes again cannot help. Anything else is the database’s trouble and passes.
 */
export function isRowAtFault(error: unknown): boolean {
  const code = (error as { code?: unknown }).code
  return typeof code === 'string' && /^(22|23|54)...$/.test(code)
}

/**
 * One statement, one commit. Ids are drawn in the order of the rows; the rows go in by the order of `message_once`, so
 * that two groups with the same repeats wait for each other and not in a circle. Contents and acknowledgments travel as one binary
 * value each and are cut apart by the server: half the bytes of an array of bytea, and nothing to escape.
 *
 * A repeat runs into `message_once` and is not inserted; the last SELECT names it. The same index, by its first three
 * columns, tells whether a sender has used this control id for other bytes before.
 */
const insertStatement = `
  WITH arrived AS MATERIALIZED (
    SELECT nextval(pg_get_serial_sequence('message', 'id')) AS id,
           to_timestamp(a.ms / 1000.0) AS received_at,
           (to_timestamp(a.ms / 1000.0) AT TIME ZONE 'UTC')::date AS received_on,
           substring($14::bytea FROM (a.n::int - 1) * 32 + 1 FOR 32) AS digest,
           a.*
    FROM unnest($1::text[], $2::float8[], $3::text[], $4::text[], $5::text[], $6::smallint[], $7::text[], $8::text[],
                $9::text[], $10::int[], $11::int[], $12::int[], $13::int[])
         WITH ORDINALITY AS a (channel, ms, sender, control_id, peer, lane, code, because, flags,
                               content_at, content_bytes, ack_at, ack_bytes, n)
  ), stored AS (
    INSERT INTO message (id, channel, received_at, received_on, sender, control_id, digest, bytes, peer, lane, ack,
                         state, because, code, cause, flags, decided_at)
    OVERRIDING SYSTEM VALUE
    SELECT id, channel, received_at, received_on, sender, control_id,
           digest, content_bytes, peer, lane,
           CASE WHEN ack_bytes >= 0 THEN substring($15::bytea FROM ack_at FOR ack_bytes) END,
           CASE code WHEN '' THEN 'received' ELSE 'quarantined' END,
           nullif(because, ''), nullif(code, ''), nullif(code, ''),
           CASE WHEN flags = '' AND earlier.same IS NULL THEN '{}'::text[]
                ELSE array_remove(string_to_array(flags, ',') || earlier.same, NULL) END,
           CASE code WHEN '' THEN NULL ELSE received_at END
    FROM arrived
    LEFT JOIN LATERAL (
      SELECT 'control-id-reused'::text AS same FROM message earlier
      WHERE earlier.channel = arrived.channel AND earlier.sender = arrived.sender
        AND earlier.control_id = arrived.control_id AND arrived.control_id <> ''
      LIMIT 1
    ) earlier ON true
    ORDER BY control_id COLLATE "C", sender COLLATE "C", channel COLLATE "C", digest, n
    ON CONFLICT ON CONSTRAINT message_once DO NOTHING
    RETURNING id
  ), kept AS (
    INSERT INTO message_content (received_on, message_id, content)
    SELECT received_on, id, substring($16::bytea FROM content_at FOR content_bytes) FROM arrived JOIN stored USING (id)
  )
  SELECT n::int AS n FROM arrived WHERE NOT EXISTS (SELECT FROM stored WHERE stored.id = arrived.id)`

async function insertMessages(pool: pg.Pool, messages: readonly InboundMessage[]): Promise<Kept[]> {
  const contents = concatenation(messages.map((message) => message.content))
  const acks = concatenation(messages.map((message) => message.ack))
  const { rows } = await pool.query<{ n: number }>({
    name: 'bluepost-keep-messages',
    text: insertStatement,
    values: [
      messages.map((message) => message.channel),
      numbers(messages.map((message) => message.receivedAt.getTime())),
      messages.map((message) => message.sender),
      messages.map((message) => message.controlId),
      messages.map((message) => message.peer),
      numbers(messages.map((message) => message.lane)),
      messages.map((message) => message.quarantine?.code ?? ''),
      messages.map((message) => message.quarantine?.because ?? ''),
      flagsOf(messages),
      numbers(contents.at),
      numbers(contents.bytes),
      numbers(acks.at),
      numbers(acks.bytes),
      Buffer.concat(messages.map((message) => message.digest)),
      acks.all,
      contents.all,
    ],
  })
  const kept: Kept[] = messages.map(() => ({ fresh: true }))
  if (rows.length > 0) {
    const repeats = rows.map(({ n }) => n - 1)
    const earlier = await acksOf(
      pool,
      repeats.map((at) => messages[at]!),
    )
    repeats.forEach((at, nth) => (kept[at] = { fresh: false, ack: earlier[nth] }))
  }
  return kept
}

/** Arrays of numbers as PostgreSQL writes them: nothing to quote. */
function numbers(values: readonly number[]): string {
  return `{${values.join(',')}}`
}

/** Where each part begins (from 1, as SQL counts) and how long it is; −1 where there is none. */
function concatenation(parts: readonly (Buffer | undefined)[]): {
  at: number[]
  bytes: number[]
  all: Buffer
} {
  const at: number[] = []
  const bytes: number[] = []
  const present: Buffer[] = []
  let end = 1
  for (const part of parts) {
    at.push(end)
    bytes.push(part?.length ?? -1)
    if (part === undefined) continue
    present.push(part)
    end += part.length
  }
  return { at, bytes, all: present.length === 1 ? present[0]! : Buffer.concat(present) }
}

/** The statement sees what was committed before it; a control id used twice within the group is seen here. */
function flagsOf(messages: readonly InboundMessage[]): string[] {
  if (messages.length === 1) return [messages[0]!.flags.join(',')]
  const seen = new Set<string>()
  return messages.map(({ channel, sender, controlId, flags }) => {
    const key = `${channel}\n${sender}\n${controlId}`
    const isReused = controlId !== '' && seen.has(key)
    seen.add(key)
    return (isReused ? [...flags, 'control-id-reused'] : flags).join(',')
  })
}

/** What was answered to messages that are here already, by `message_once`. */
async function acksOf(pool: pg.Pool, messages: readonly InboundMessage[]): Promise<(Buffer | undefined)[]> {
  const { rows } = await pool.query<{ n: number; ack: Buffer | null }>(
    `SELECT a.n::int AS n, message.ack
     FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[]) WITH ORDINALITY
          AS a (channel, sender, control_id, digest, n)
     JOIN message USING (channel, sender, control_id, digest)`,
    [
      messages.map((message) => message.channel),
      messages.map((message) => message.sender),
      messages.map((message) => message.controlId),
      messages.map((message) => message.digest),
    ],
  )
  const acks = new Map(rows.map(({ n, ack }) => [n, ack]))
  return messages.map((_, at) => acks.get(at + 1) ?? undefined)
}
