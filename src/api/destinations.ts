import { Router } from 'express'
import type { DataSource } from 'typeorm'
import { destinationOutcomes, listDestinations, readDestination } from '../store/destinations.ts'
import { queryOf } from '../store/query.ts'
import { only } from './access.ts'
import { oneOf, optionalNumberIn, pageOf, textIn } from './parameters.ts'
import { Answer } from './problem.ts'

/** What looking ahead found for the addresses that active requests name. */
export function destinationRoutes(dataSource: DataSource, now: () => Date): Router {
  const router = Router()
  const query = queryOf(dataSource)

  router.get('/', only('operator', 'auditor'), async (request, response) => {
    const { limit } = pageOf(request)
    const days = optionalNumberIn(request, 'endingWithinDays')
    const items = await listDestinations(query, {
      outcome: oneOf(request, 'outcome', destinationOutcomes),
      endsBefore: days === undefined ? undefined : daysAfter(now(), Number(days)),
      after: textIn(request, 'after'),
      limit,
    })
    response.json({ items, ...(items.length === limit ? { next: items.at(-1)!.address } : {}) })
  })

  router.get('/:address', only('operator', 'auditor'), async (request, response) => {
    const found = await readDestination(query, String(request.params['address']))
    if (found === undefined)
      throw new Answer({
        status: 404,
        title: 'No active request names this destination',
        detail: 'Look at any address with: bluepost certs ADDRESS',
      })
    response.json(found)
  })

  return router
}

/** Years are enough; more would leave the calendar. */
const daysMax = 36_500

function daysAfter(at: Date, days: number): Date {
  return new Date(at.getTime() + Math.min(days, daysMax) * 86_400_000)
}
