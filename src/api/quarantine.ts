import { Router } from 'express'
import type { ChannelPlan } from '../domain/channel.ts'
import { remedyOf } from '../domain/quarantine.ts'
import type { OperatePorts } from '../pipeline/operate.ts'
import { askForRelease } from '../pipeline/release-quarantine.ts'
import { testQuarantine } from '../pipeline/test-quarantine.ts'
import { releaseOf, type QuarantineRelease } from '../store/quarantine-releases.ts'
import { listQuarantine, quarantinedIn, readQuarantine, type QuarantineGroup } from '../store/quarantine.ts'
import { queryOf } from '../store/query.ts'
import { callerFor, only } from './access.ts'
import { optionalMomentIn, optionalNumberIn, pageOf, reasonIn } from './parameters.ts'
import { Answer } from './problem.ts'

export interface QuarantinePorts extends OperatePorts {
  /** The channels as they run now. */
  readonly plans: () => readonly ChannelPlan[]
}

/** Messages that one request evaluates; the command line tests all of them. */
const testedMax = 10_000

/** Beside each group. */
const samplesMax = 3

/** What waits for a person, by what has to be put right; and the way back. */
export function quarantineRoutes(ports: QuarantinePorts): Router {
  const router = Router()
  const query = queryOf(ports.dataSource)

  async function groupFor(id: unknown): Promise<QuarantineGroup> {
    const group =
      typeof id === 'string' && /^[0-9a-f]{12}$/.test(id) ? await readQuarantine(query, id) : undefined
    if (group === undefined) throw new Answer({ status: 404, title: 'Nothing waits in such a group' })
    return group
  }

  router.get('/', only('analyst', 'operator'), async (request, response) => {
    const groups = await listQuarantine(query, optionalMomentIn(request, 'since'))
    const items = await Promise.all(
      groups.map(async (group) => {
        const samples = await quarantinedIn(query, group, { before: undefined, limit: samplesMax })
        return { ...viewOf(group), samples: samples.map(({ id }) => id) }
      }),
    )
    response.json({ items })
  })

  router.get('/:group', only('analyst', 'operator'), async (request, response) => {
    const { limit } = pageOf(request)
    const before = optionalNumberIn(request, 'before')
    const group = await groupFor(request.params['group'])
    const messages = await quarantinedIn(query, group, { before, limit })
    const release = await releaseOf(query, group.id)
    response.json({
      ...viewOf(group),
      messages,
      ...(messages.length === limit ? { next: messages.at(-1)!.id } : {}),
      release: release === undefined ? null : progressOf(release),
    })
  })

  // Changes nothing; POST, because it is work and no page to be kept.
  router.post('/:group/test', only('analyst', 'operator'), async (request, response) => {
    const group = await groupFor(request.params['group'])
    const plan = ports.plans().find(({ name }) => name === group.channel)
    response.json(await testQuarantine(query, group, plan, testedMax))
  })

  router.post('/:group/release', only('operator'), async (request, response) => {
    const group = await groupFor(request.params['group'])
    const because = reasonIn(request.body)
    const release = await askForRelease(ports, group.id, because, callerFor(request).actor)
    if (release === undefined) throw new Answer({ status: 404, title: 'Nothing waits in such a group' })
    response.status(202).json(progressOf(release))
  })

  return router
}

function viewOf(group: QuarantineGroup) {
  const { id, channel, cause, count, because, firstAt, lastAt } = group
  return { id, channel, cause, sentence: because, count, firstAt, lastAt, remedy: remedyOf(cause) }
}

function progressOf(release: QuarantineRelease) {
  const { id, wanted, released, withoutContent, actor, because, startedAt, endedAt } = release
  return { id, wanted, released, withoutContent, actor, because, startedAt, endedAt }
}
