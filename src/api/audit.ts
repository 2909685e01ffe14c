import { Router } from 'express'
import { LessThan } from 'typeorm'
import type { DataSource } from 'typeorm'
import { verifyAudit } from '../store/audit.ts'
import { AuditEntity } from '../store/entities.ts'
import { queryOf } from '../store/query.ts'
import { only } from './access.ts'
import { optionalNumberIn, optionalUuidIn, pageOf, textIn } from './parameters.ts'

/** Who did what, newest first; and whether the chain over it holds. */
export function auditRoutes(dataSource: DataSource): Router {
  const router = Router()

  router.get('/', only('auditor', 'operator'), async (request, response) => {
    const { limit } = pageOf(request)
    const before = optionalNumberIn(request, 'before')
    const authorizationId = optionalUuidIn(request, 'authorization')
    const subject = textIn(request, 'subject')
    const action = textIn(request, 'action')
    const items = await dataSource.getRepository(AuditEntity).find({
      where: {
        ...(before === undefined ? {} : { id: LessThan(before) }),
        ...(authorizationId === undefined ? {} : { authorizationId }),
        ...(subject === undefined ? {} : { subject }),
        ...(action === undefined ? {} : { action }),
      },
      order: { id: 'DESC' },
      take: limit,
    })
    response.json({ items, ...(items.length === limit ? { next: items.at(-1)!.id } : {}) })
  })

  router.get('/verification', only('auditor', 'operator'), async (_request, response) => {
    response.json(await verifyAudit(queryOf(dataSource)))
  })

  return router
}
