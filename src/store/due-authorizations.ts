import type { Query } from './query.ts'

export interface DueAuthorization {
  readonly id: string
  /** From where its intervals count. */
  readonly from: Date
  readonly dueAt: Date
}

/** Null: it has no interval any more. */
export async function setDue(
  query: Query,
  authorizationId: string,
  due: { readonly from: Date; readonly nextDueAt: Date } | null,
): Promise<void> {
  await query('UPDATE transmit_authorization SET interval_from = $2, next_due_at = $3 WHERE id = $1', [
    authorizationId,
    due?.from ?? null,
    due?.nextDueAt ?? null,
  ])
}

/** Those that are due, the longest overdue first, locked until the transaction ends; those that others work on are left out. */
export function takeDue(query: Query, at: Date, rowsMax: number): Promise<DueAuthorization[]> {
  return query<DueAuthorization>(
    `SELECT id, interval_from AS "from", next_due_at AS "dueAt" FROM transmit_authorization
     WHERE next_due_at <= $1 ORDER BY next_due_at LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED`,
    [at, rowsMax],
  )
}

export async function setNextDue(
  query: Query,
  rows: readonly { readonly id: string; readonly nextDueAt: Date | null }[],
): Promise<void> {
  await query(
    `UPDATE transmit_authorization SET next_due_at = due.next_due_at
     FROM unnest($1::uuid[], $2::timestamptz[]) AS due (id, next_due_at) WHERE transmit_authorization.id = due.id`,
    [rows.map(({ id }) => id), rows.map(({ nextDueAt }) => nextDueAt)],
  )
}

/** What is on its way because of an interval: `authorization id, destination in lower case`. */
export async function intervalsUnderWay(
  query: Query,
  authorizationIds: readonly string[],
): Promise<Set<string>> {
  const rows = await query<{ key: string }>(
    `SELECT authorization_id || ', ' || lower(destination) AS key FROM transmission
     WHERE authorization_id = ANY ($1::uuid[]) AND cause = 'interval' AND state IN ('waiting', 'preparing', 'sealed')`,
    [authorizationIds],
  )
  return new Set(rows.map(({ key }) => key))
}
