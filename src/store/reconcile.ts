import { verifyAudit } from './audit.ts'
import type { Query } from './query.ts'

export interface Reconciliation {
  readonly messages: number
  readonly fates: Readonly<Record<string, number>>
  /** What should not be there; empty where everything adds up. */
  readonly findings: readonly { readonly what: string; readonly count: number; readonly example: string }[]
}

/** Each looks for rows that a correct engine cannot leave behind, whenever it is killed. */
const checks: readonly { what: string; sql: string }[] = [
  {
    what: 'message is triggered but has no trigger event',
    sql: `SELECT m.id::text AS example FROM message m LEFT JOIN trigger_event e ON e.message_id = m.id
          WHERE m.state = 'triggered' AND e.id IS NULL`,
  },
  {
    what: 'message is not triggered but has a trigger event',
    sql: `SELECT m.id::text AS example FROM message m JOIN trigger_event e ON e.message_id = m.id WHERE m.state <> 'triggered'`,
  },
  {
    what: 'message was filtered or quarantined without a reason',
    sql: `SELECT id::text AS example FROM message WHERE state IN ('filtered', 'quarantined') AND because IS NULL`,
  },
  {
    what: 'message waits to be decided and its content is gone',
    sql: `SELECT m.id::text AS example FROM message m WHERE m.state = 'received' AND NOT EXISTS (
            SELECT FROM message_content c WHERE c.received_on = m.received_on AND c.message_id = m.id)`,
  },
  {
    what: 'matched event has no verdict',
    sql: `SELECT e.id::text AS example FROM trigger_event e WHERE e.outcome IN ('matched', 'held', 'not-permitted')
            AND NOT EXISTS (SELECT FROM verdict v WHERE v.event_id = e.id)`,
  },
  {
    what: 'matched event has a verdict but no transmission, and no earlier one for the same visit',
    sql: `SELECT e.id::text AS example FROM trigger_event e JOIN verdict v ON v.event_id = e.id AND v.outcome IN ('matched', 'held')
          WHERE e.outcome IN ('matched', 'held')
            AND NOT EXISTS (SELECT 1 FROM transmission_event te JOIN transmission t ON t.id = te.transmission_id
              WHERE te.event_id = e.id AND t.authorization_id = v.authorization_id)
            AND NOT EXISTS (SELECT 1 FROM transmission t WHERE t.encounter_key = coalesce(e.encounter_key, e.subject_key)
              AND t.authorization_id = v.authorization_id)`,
  },
  {
    what: 'transmission is under way but nothing will look at it again',
    sql: `SELECT id::text AS example FROM transmission
          WHERE due_at IS NULL AND (state IN ('waiting', 'preparing', 'sealed', 'submitted') OR (state = 'processed' AND delivery_requested))`,
  },
  {
    what: 'transmission is sealed or sent and has no sealed message',
    sql: `SELECT t.id::text AS example FROM transmission t WHERE t.state IN ('sealed', 'submitted', 'processed', 'delivered')
          AND NOT EXISTS (SELECT FROM sealed_message s WHERE s.transmission_id = t.id)`,
  },
  {
    what: 'stored bytes belong to nothing',
    sql: `SELECT b.id::text AS example FROM blob b WHERE b.forgotten_at IS NULL
          AND NOT EXISTS (SELECT FROM document d WHERE d.blob_id = b.id)
          AND NOT EXISTS (SELECT FROM sealed_message s WHERE s.blob_id = b.id)
          AND NOT EXISTS (SELECT FROM inbound_mail m WHERE m.blob_id = b.id)
          AND NOT EXISTS (SELECT FROM inbox_message i WHERE i.blob_id = b.id)
          AND NOT EXISTS (SELECT FROM answer a WHERE a.blob_id = b.id)`,
  },
  {
    what: 'answer to a message is under way but nothing will look at it again',
    sql: `SELECT a.id::text AS example FROM answer a WHERE a.due_at IS NULL AND a.ended_at IS NULL
          AND NOT EXISTS (SELECT FROM answer b WHERE b.inbox_id = a.inbox_id AND b.id <> a.id AND b.due_at IS NOT NULL)`,
  },
  {
    what: 'message in the inbox comes from mail that is not known as one',
    sql: `SELECT i.id::text AS example FROM inbox_message i JOIN inbound_mail m ON m.id = i.mail_id WHERE m.state <> 'message'`,
  },
  {
    what: 'transmission was sent without a disclosure in the audit',
    sql: `SELECT t.id::text AS example FROM transmission t WHERE t.first_sent_at IS NOT NULL
          AND NOT EXISTS (SELECT 1 FROM audit a WHERE a.subject = 'transmission:' || t.id AND a.action = 'disclosure')`,
  },
  {
    what: 'transmission was sent with another Message-ID than it was sealed with',
    sql: `SELECT t.id::text AS example FROM transmission t JOIN sealed_message s ON s.transmission_id = t.id WHERE t.message_id <> s.message_id`,
  },
]

/** Proves that every stored message ended, or will end, in exactly one fate, and that the audit is what was sealed. */
export async function reconcile(query: Query): Promise<Reconciliation> {
  const fates = await query<{ state: string; count: string }>(
    'SELECT state, count(*) FROM message GROUP BY state',
  )
  const findings = []
  for (const { what, sql } of checks) {
    const [row] = await query<{ count: string; example: string | null }>(
      `SELECT count(*), min(example) AS example FROM (${sql}) AS odd`,
    )
    if (row !== undefined && Number(row.count) > 0)
      findings.push({ what, count: Number(row.count), example: row.example ?? '' })
  }
  const audit = await verifyAudit(query)
  if (!audit.intact)
    findings.push({
      what: `the audit was tampered with: ${audit.because}`,
      count: 1,
      example: `seal ${audit.sealId}`,
    })
  return {
    messages: fates.reduce((sum, row) => sum + Number(row.count), 0),
    fates: Object.fromEntries(fates.map((row) => [row.state, Number(row.count)])),
    findings,
  }
}
