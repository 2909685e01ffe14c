import express, { type Express, type RequestHandler } from 'express'
import helmet from 'helmet'
import type { Log } from '../lib/log.ts'
import type { TrustView } from '../pipeline/trust-standing.ts'
import { identify, type AccessRules } from './access.ts'
import { auditRoutes } from './audit.ts'
import { authorizationRoutes, type AuthorizationPorts } from './authorizations.ts'
import { channelRoutes, type ChannelPorts } from './channels.ts'
import { destinationRoutes } from './destinations.ts'
import { inboundRoutes, type InboundPorts } from './inbound.ts'
import { inboxRoutes } from './inbox.ts'
import { subscriptionRoutes, type SubscriptionPorts } from './fhir-subscription.ts'
import { description } from './openapi.ts'
import { fragmentRoutes, messageRoutes } from './messages.ts'
import { operationRoutes, type OperationPorts } from './operations.ts'
import { failures, notFound } from './problem.ts'
import { quarantineRoutes, type QuarantinePorts } from './quarantine.ts'
import { tableRoutes } from './tables.ts'
import { transmissionRoutes, type TransmissionPorts } from './transmissions.ts'
import { trustRoutes } from './trust.ts'

export interface ApiPorts extends AuthorizationPorts, TransmissionPorts, OperationPorts, QuarantinePorts {
  readonly access: AccessRules
  readonly channels: ChannelPorts['live']
  readonly trust: () => Promise<TrustView>
  readonly log: Log
  readonly subscriptions: SubscriptionPorts
  readonly inbound: InboundPorts
  /** Of our clients at FHIR servers, as JSON web keys (RFC 7517); public members alone. */
  readonly publicKeys: readonly object[]
}

/** A request body: an authorization with fifty identifiers and twenty destinations is far below it. */
const bodyBytesMax = '64kb'

/** Everything bluepost says over HTTP. */
export function makeApi(ports: ApiPorts): Express {
  const app = express()
  app.disable('x-powered-by')
  // Proxies in front are not trusted to say who the client is: nothing here depends on it.
  app.set('trust proxy', false)
  app.set('query parser', 'simple')
  app.use(
    helmet({
      contentSecurityPolicy: { directives: { 'default-src': ["'self'"], 'frame-ancestors': ["'none'"] } },
    }),
  )
  app.use(operationRoutes(ports))
  app.use('/inbound', noStore, inboundRoutes(ports.inbound))
  app.use('/fhir/subscription', noStore, subscriptionRoutes(ports.subscriptions))
  // FHIR servers read this to know our signatures (SMART Backend Services): a day is too long after a key was lost.
  app.get('/.well-known/jwks.json', (_request, response) => {
    response.set('cache-control', 'public, max-age=300').json({ keys: ports.publicKeys })
  })
  app.get('/api/openapi.json', (_request, response) => void response.json(description))

  const v1 = express.Router()
  v1.use(
    noStore,
    identify(ports.access),
    express.json({ limit: bodyBytesMax, strict: true, type: jsonTypes }),
  )
  v1.use('/authorizations', authorizationRoutes(ports))
  v1.use('/transmissions', transmissionRoutes(ports))
  v1.use('/messages', messageRoutes(ports))
  v1.use('/fragments', fragmentRoutes(ports))
  v1.use('/quarantine', quarantineRoutes(ports))
  v1.use('/destinations', destinationRoutes(ports.dataSource, ports.now))
  v1.use('/inbox', inboxRoutes(ports))
  v1.use('/audit', auditRoutes(ports.dataSource))
  v1.use('/channels', channelRoutes({ ...ports, live: ports.channels }))
  v1.use('/tables', tableRoutes(ports.dataSource, ports.plans))
  v1.use('/trust', trustRoutes(ports.trust))
  app.use('/api/v1', v1)
  app.use(notFound)
  app.use(failures(ports.log))
  return app
}

const jsonTypes = ['application/json', 'application/merge-patch+json']

/** Records of patients do not belong into caches. */
const noStore: RequestHandler = (_request, response, next) => {
  response.set('cache-control', 'no-store')
  next()
}
