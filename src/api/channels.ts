import { Router } from 'express'
import { only } from './access.ts'

/** A channel as it runs, for lists. */
export interface ChannelView {
  readonly name: string
  readonly title: string | null
  readonly state: 'running' | 'disabled' | 'failed'
  readonly because: string | null
  readonly source: string
  readonly listen: string | null
  readonly connections: number
  readonly revision: string
}

export function channelRoutes(channels: () => readonly ChannelView[]): Router {
  const router = Router()
  router.get('/', only('analyst', 'operator'), (_request, response) => {
    response.json({ items: channels() })
  })
  return router
}
