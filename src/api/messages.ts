import { Router } from 'express'
import { explain } from '../pipeline/explain.ts'
import type { OperatePorts } from '../pipeline/operate.ts'
import { replay } from '../pipeline/replay.ts'
import { queryOf } from '../store/query.ts'
import { listFragments, listMessages, readFragment } from '../store/views.ts'
import { callerFor, only } from './access.ts'
import { optionalNumberIn, pageOf, reasonIn, textIn } from './parameters.ts'
import { Answer } from './problem.ts'

/** What came in, and what was made of it. */
export function messageRoutes(ports: OperatePorts): Router {
  const router = Router()
  const query = queryOf(ports.dataSource)

  router.get('/', only('analyst', 'operator'), async (request, response) => {
    const { limit } = pageOf(request)
    const before = optionalNumberIn(request, 'before')
    const channel = textIn(request, 'channel')
    const state = textIn(request, 'state')
    const controlId = textIn(request, 'controlId')
    const items = await listMessages(query, {
      limit,
      ...(before === undefined ? {} : { before }),
      ...(channel === undefined ? {} : { channel }),
      ...(state === undefined ? {} : { state }),
      ...(controlId === undefined ? {} : { controlId }),
    })
    response.json({ items, ...(items.length === limit ? { next: items.at(-1)!.id } : {}) })
  })

  router.get('/:id', only('analyst', 'operator'), async (request, response) => {
    const id = request.params['id']
    const [explanation] = typeof id === 'string' && /^\d{1,18}$/.test(id) ? await explain(query, id) : []
    if (explanation === undefined) throw new Answer({ status: 404, title: 'There is no such message' })
    response.json({ ...explanation.facts, explanation: explanation.sentences })
  })

  router.post('/:id/replay', only('operator'), async (request, response) => {
    const id = request.params['id']
    if (typeof id !== 'string' || !/^\d{1,18}$/.test(id))
      throw new Answer({ status: 404, title: 'There is no such message' })
    const result = await replay(ports, id, reasonIn(request.body), callerFor(request).actor)
    if (result.outcome === 'unknown') throw new Answer({ status: 404, title: 'There is no such message' })
    if (result.outcome === 'refused')
      throw new Answer({ status: 409, title: 'Cannot replay', detail: result.because })
    response.json({ state: result.state })
  })

  return router
}

/** What came in and is no message: cut-off frames, bytes outside of frames. The bytes are PHI until somebody knows better. */
export function fragmentRoutes({ dataSource }: OperatePorts): Router {
  const router = Router()
  const query = queryOf(dataSource)

  router.get('/', only('analyst', 'operator'), async (request, response) => {
    const { limit } = pageOf(request)
    const items = await listFragments(query, { limit, before: optionalNumberIn(request, 'before') })
    response.json({ items, ...(items.length === limit ? { next: items.at(-1)!.id } : {}) })
  })

  router.get('/:id', only('analyst', 'operator'), async (request, response) => {
    const id = request.params['id']
    const fragment =
      typeof id === 'string' && /^\d{1,18}$/.test(id) ? await readFragment(query, id) : undefined
    if (fragment === undefined) throw new Answer({ status: 404, title: 'There is no such fragment' })
    response.json({ ...fragment, content: fragment.content.toString('base64') })
  })

  return router
}
