import { Router } from 'express'
import type { DataSource } from 'typeorm'
import { steerChannel, type Steering } from '../pipeline/steer-channel.ts'
import { readTraffic } from '../store/channel-wishes.ts'
import { queryOf } from '../store/query.ts'
import { callerFor, only } from './access.ts'
import { reasonIn } from './parameters.ts'
import { Answer } from './problem.ts'

/** A channel as it runs, for lists. */
export interface ChannelView {
  readonly name: string
  readonly title: string | null
  readonly state: 'stopped' | 'starting' | 'running' | 'paused' | 'draining' | 'failed'
  readonly because: string | null
  readonly source: string | null
  readonly listen: string | null
  readonly connections: number
  readonly revision: string | null
  /** False where the files as they are now cannot be used: `revision` is what they were before. */
  readonly isUpToDate: boolean
}

export interface ChannelPorts {
  readonly dataSource: DataSource
  readonly now: () => Date
  readonly live: {
    views(): readonly ChannelView[]
    /** @returns what became of each channel */
    reload(actor: string): Promise<readonly object[]>
    follow(): Promise<void>
  }
}

/** The channels as they run, with what an operator may do about one. */
export function channelRoutes(ports: ChannelPorts): Router {
  const router = Router()
  const { live } = ports

  router.get('/', only('analyst', 'operator'), async (_request, response) => {
    const traffic = new Map((await readTraffic(queryOf(ports.dataSource))).map((one) => [one.channel, one]))
    const items = live.views().map((view) => ({
      ...view,
      waiting: traffic.get(view.name)?.waiting ?? 0,
      oldestWaiting: traffic.get(view.name)?.oldestWaiting ?? null,
    }))
    response.json({ items })
  })

  router.post('/reload', only('analyst', 'operator'), async (request, response) => {
    response.json({ items: await live.reload(callerFor(request).actor) })
  })

  for (const steering of ['pause', 'resume', 'stop', 'start'] as const satisfies readonly Steering[])
    router.post(`/:name/${steering}`, only('operator'), async (request, response) => {
      const name = String(request.params['name'])
      if (!live.views().some((view) => view.name === name))
        throw new Answer({ status: 404, title: 'There is no such channel' })
      const result = await steerChannel(
        ports,
        steering,
        name,
        reasonIn(request.body),
        callerFor(request).actor,
      )
      if (result.outcome === 'refused')
        throw new Answer({ status: 409, title: `Cannot ${steering}`, detail: result.because })
      await live.follow()
      response.json({ channel: live.views().find((view) => view.name === name) })
    })

  return router
}
