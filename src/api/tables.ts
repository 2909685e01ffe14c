import { Router } from 'express'
import type { DataSource } from 'typeorm'
import type { ChannelPlan } from '../domain/channel.ts'
import { tableStandings } from '../pipeline/table-standing.ts'
import { queryOf } from '../store/query.ts'
import { only } from './access.ts'

/** Lookup tables of the channels as they run, and what they were asked for in vain. */
export function tableRoutes(dataSource: DataSource, plans: () => readonly ChannelPlan[]): Router {
  const router = Router()
  router.get('/', only('analyst', 'operator'), async (_request, response) => {
    response.json({ items: await tableStandings(queryOf(dataSource), plans()) })
  })
  return router
}
