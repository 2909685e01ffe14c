import { LessThan, type DataSource } from 'typeorm'
import { AuditEntity } from './entities.ts'

export interface AuditQuestion {
  /** Only entries older than this one, for the next page. */
  readonly before: string | undefined
  readonly authorizationId: string | undefined
  readonly subject: string | undefined
  readonly action: string | undefined
  readonly limit: number
}

/** Entries of the audit, newest first. */
export function searchAudit(dataSource: DataSource, question: AuditQuestion) {
  const { before, authorizationId, subject, action, limit } = question
  return dataSource.getRepository(AuditEntity).find({
    where: {
      ...(before === undefined ? {} : { id: LessThan(before) }),
      ...(authorizationId === undefined ? {} : { authorizationId }),
      ...(subject === undefined ? {} : { subject }),
      ...(action === undefined ? {} : { action }),
    },
    order: { id: 'DESC' },
    take: limit,
  })
}
