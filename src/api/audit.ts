import { Router } from 'express'
import type { DataSource } from 'typeorm'
import { verifyAudit } from '../store/audit.ts'
import { searchAudit } from '../store/audit-search.ts'
import { queryOf } from '../store/query.ts'
import { only } from './access.ts'
import { optionalNumberIn, optionalUuidIn, pageOf, textIn } from './parameters.ts'

/** Who did what, newest first; and whether the chain over it holds. */
export function auditRoutes(dataSource: DataSource): Router {
  const router = Router()

  router.get('/', only('auditor', 'operator'), async (request, response) => {
    const { limit } = pageOf(request)
    const items = await searchAudit(dataSource, {
      before: optionalNumberIn(request, 'before'),
      authorizationId: optionalUuidIn(request, 'authorization'),
      subject: textIn(request, 'subject'),
      action: textIn(request, 'action'),
      limit,
    })
    response.json({ items, ...(items.length === limit ? { next: items.at(-1)!.id } : {}) })
  })

  router.get('/verification', only('auditor', 'operator'), async (_request, response) => {
    response.json(await verifyAudit(queryOf(dataSource)))
  })

  return router
}
