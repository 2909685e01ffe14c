import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { Router, type Response } from 'express'
import {
  describeInboxMessage,
  readIgnoredContent,
  readInboxContent,
  type Content,
  type ReadInboxPorts,
} from '../pipeline/read-inbox.ts'
import { listIgnoredMail, listInbox } from '../store/inbox.ts'
import { queryOf } from '../store/query.ts'
import { callerFor, only } from './access.ts'
import { optionalUuidIn, pageOf, uuidIn } from './parameters.ts'
import { Answer } from './problem.ts'

/** Messages that others sent us, what we answered, and the mail that was answered by silence. */
export function inboxRoutes(ports: ReadInboxPorts): Router {
  const router = Router()
  const query = queryOf(ports.dataSource)

  router.get('/', only('operator'), async (request, response) => {
    const { limit } = pageOf(request)
    const items = await listInbox(query, { limit, before: optionalUuidIn(request, 'before') })
    response.json({ items, ...(items.length === limit ? { next: items.at(-1)!.id } : {}) })
  })

  router.get('/ignored', only('operator', 'auditor'), async (request, response) => {
    const { limit } = pageOf(request)
    const items = await listIgnoredMail(query, { limit, before: optionalUuidIn(request, 'before') })
    response.json({ items, ...(items.length === limit ? { next: items.at(-1)!.id } : {}) })
  })

  router.get('/ignored/:id/raw', only('operator'), async (request, response) => {
    await give(await readIgnoredContent(ports, uuidIn(request, 'id'), callerFor(request).actor), response)
  })

  router.get('/:id', only('operator'), async (request, response) => {
    const message = await describeInboxMessage(ports, uuidIn(request, 'id'))
    if (message === undefined) throw new Answer({ status: 404, title: 'There is no such message' })
    response.json(message)
  })

  router.get('/:id/raw', only('operator'), async (request, response) => {
    await give(await readInboxContent(ports, uuidIn(request, 'id'), callerFor(request).actor), response)
  })

  return router
}

/** Never shown by a browser as a page of ours: whoever wrote it chose every byte of it. */
async function give(content: Content, response: Response): Promise<void> {
  if (!content.found) throw new Answer({ status: 404, title: 'Nothing to give', detail: content.because })
  response.set('content-type', 'message/rfc822')
  response.set('content-disposition', 'attachment; filename="message.eml"')
  response.set('x-content-type-options', 'nosniff')
  await pipeline(Readable.from(content.chunks), response)
}
