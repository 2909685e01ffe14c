import { Router } from 'express'
import type { TrustView } from '../pipeline/trust-standing.ts'
import { only } from './access.ts'

export function trustRoutes(trust: () => Promise<TrustView>): Router {
  const router = Router()
  router.get('/', only('operator', 'auditor'), async (_request, response) => {
    response.json(await trust())
  })
  return router
}
