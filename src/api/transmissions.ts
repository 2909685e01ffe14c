import { Router } from 'express'
import { transmissionStates } from '../domain/transmission.ts'
import { explainTransmission } from '../pipeline/explain.ts'
import { noticeDocument } from '../pipeline/notices.ts'
import { operate, type OperatePorts, type OperatorAction } from '../pipeline/operate.ts'
import { queryOf } from '../store/query.ts'
import { listTransmissions } from '../store/views.ts'
import { callerFor, only } from './access.ts'
import { optionalNumberIn, optionalUuidIn, pageOf, reasonIn, textIn, uuidIn } from './parameters.ts'
import { Answer } from './problem.ts'

export interface TransmissionPorts extends OperatePorts {
  /** Our Direct address, to which failure notices are written; undefined where none is configured. */
  readonly ourAddress: string | undefined
}

/** What became of the triggers: transmissions with their story, and what an operator may do about one. */
export function transmissionRoutes(ports: TransmissionPorts): Router {
  const router = Router()
  const query = queryOf(ports.dataSource)

  router.get('/', only('provider', 'operator', 'auditor'), async (request, response) => {
    const { limit } = pageOf(request)
    const before = optionalUuidIn(request, 'before')
    const authorizationId = optionalUuidIn(request, 'authorization')
    const state = textIn(request, 'state')
    const receivedMessage = optionalNumberIn(request, 'message')
    if (state !== undefined && !(transmissionStates as readonly string[]).includes(state))
      throw new Answer({ status: 400, title: `state is one of ${transmissionStates.join(', ')}` })
    const items = await listTransmissions(query, {
      limit,
      ...(before === undefined ? {} : { before }),
      ...(authorizationId === undefined ? {} : { authorizationId }),
      ...(state === undefined ? {} : { state }),
      ...(receivedMessage === undefined ? {} : { receivedMessage }),
    })
    response.json({ items, ...(items.length === limit ? { next: items.at(-1)!.id } : {}) })
  })

  router.get('/:id', only('provider', 'operator', 'auditor'), async (request, response) => {
    const explanation = await explainTransmission(query, uuidIn(request, 'id'))
    if (explanation === undefined) throw new Answer({ status: 404, title: 'There is no such transmission' })
    const { transmission, ...rest } = explanation.facts
    response.json({ ...(transmission as object), ...rest, explanation: explanation.sentences })
  })

  router.get('/:id/notice', only('provider', 'operator', 'auditor'), async (request, response) => {
    const id = uuidIn(request, 'id')
    const notice =
      ports.ourAddress === undefined ? undefined : await noticeDocument(query, id, ports.ourAddress)
    if (notice === undefined)
      throw new Answer({ status: 404, title: 'There is no such transmission, or it never failed' })
    response.set('content-type', 'message/rfc822').send(notice)
  })

  for (const action of ['retry', 'release', 'withdraw'] as const satisfies readonly OperatorAction[])
    router.post(`/:id/${action}`, only('operator'), async (request, response) => {
      const because = reasonIn(request.body)
      const result = await operate(ports, action, uuidIn(request, 'id'), because, callerFor(request).actor)
      if (result.outcome === 'unknown')
        throw new Answer({ status: 404, title: 'There is no such transmission' })
      if (result.outcome === 'refused')
        throw new Answer({ status: 409, title: `Cannot ${action}`, detail: result.because })
      response.json({ state: result.state })
    })

  return router
}
