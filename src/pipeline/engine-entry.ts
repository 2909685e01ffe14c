import type { AuditEntry } from '../store/audit.ts'

/** An entry about something that the engine did by itself. */
export function engineEntry(
  at: Date,
  action: AuditEntry['action'],
  subject: string,
  detail: Record<string, unknown>,
  authorizationId?: string,
): AuditEntry {
  return {
    at,
    actor: 'engine',
    action,
    subject,
    detail,
    ...(authorizationId === undefined ? {} : { authorizationId }),
  }
}
