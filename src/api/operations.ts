import { Router } from 'express'
import type { DataSource } from 'typeorm'
import type { Metrics } from '../lib/metrics.ts'
import { queryOf } from '../store/query.ts'
import { countOpen } from '../store/views.ts'

export interface OperationPorts {
  readonly dataSource: DataSource
  readonly metrics: Metrics
  /** What keeps the engine from doing its work; empty when it is ready. */
  readonly unready: () => Promise<readonly string[]>
  readonly now: () => Date
}

/** For whoever keeps it running: is the process alive, can it work, how is it doing. No PHI, so no login. */
export function operationRoutes(ports: OperationPorts): Router {
  const router = Router()

  router.get('/livez', (_request, response) => void response.type('text').send('ok\n'))

  router.get('/readyz', async (_request, response) => {
    const unready = await ports.unready()
    response
      .status(unready.length === 0 ? 200 : 503)
      .json({ ready: unready.length === 0, ...(unready.length === 0 ? {} : { because: unready }) })
  })

  router.get('/metrics', async (_request, response) => {
    const { metrics } = ports
    try {
      const open = await countOpen(queryOf(ports.dataSource), ports.now())
      metrics.open.reset()
      for (const [state, count] of open.states) metrics.open.set({ state }, count)
      metrics.oldestDueSeconds.set(open.overdueSeconds)
    } catch {
      // Without a database the process still has metrics of its own, and /readyz says what is wrong.
      metrics.open.reset()
    }
    response.type(metrics.registry.contentType).send(await metrics.registry.metrics())
  })

  return router
}
