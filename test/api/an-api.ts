import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import type { AccessRules } from '../../src/api/access.ts'
import { makeApi } from '../../src/api/server.ts'
import { loadChannels } from '../../src/channels/load.ts'
import { silentLog } from '../../src/lib/log.ts'
import { Metrics } from '../../src/lib/metrics.ts'
import { entities } from '../../src/store/entities.ts'
import { freshDatabase } from '../support/database.ts'

export const keyOf = {
  patient: 'patient-key-0123456789abcdef0123456789abcdef',
  otherPatient: 'other-patient-key-0123456789abcdef01234567',
  provider: 'provider-key-0123456789abcdef0123456789abcdef',
  analyst: 'analyst-key-0123456789abcdef0123456789abcdef',
  operator: 'operator-key-0123456789abcdef0123456789abcdef',
  auditor: 'auditor-key-0123456789abcdef0123456789abcdef',
} as const

const { plans } = loadChannels({
  channelsDirectory: 'channels',
  mappingsDirectory: 'mappings',
  environment: {},
})

type KeyName = keyof typeof keyOf

const keys: AccessRules['keys'] = [
  { name: 'ellen', role: 'patient', key: keyOf.patient },
  { name: 'bob', role: 'patient', key: keyOf.otherPatient },
  { name: 'desk', role: 'provider', key: keyOf.provider },
  { name: 'ana', role: 'analyst', key: keyOf.analyst },
  { name: 'opal', role: 'operator', key: keyOf.operator },
  { name: 'audrey', role: 'auditor', key: keyOf.auditor },
]

export interface Answered {
  readonly status: number
  readonly type: string
  readonly headers: Headers
  readonly body: Record<string, unknown>
}

/** The real API on a real socket over a database of its own. */
export async function anApi(rules: Partial<AccessRules> = {}) {
  const database = await freshDatabase({ entities })
  const looks = { asked: 0 }
  const unready: string[] = []
  const app = makeApi({
    dataSource: database.dataSource,
    metrics: new Metrics(),
    log: silentLog,
    now: () => new Date(),
    aliases: new Map(),
    deliveryRequested: true,
    timezone: 'America/New_York',
    ourAddress: 'transmit@direct.ashby.example',
    access: { keys, openOnLoopback: false, ...rules },
    channels: { views: () => [], reload: async () => [], follow: async () => {} },
    plans: () => plans,
    publicKeys: [{ kty: 'EC', kid: 'k1' }],
    inbound: { channel: () => undefined, now: () => new Date(), needsCertificate: false },
    subscriptions: { channel: () => undefined, now: () => new Date(), needsCertificate: false },
    trust: async () => ({ anchors: [], bundles: [] }),
    unready: async () => unready,
    onDestinations: () => void looks.asked++,
  })
  const server = http.createServer(app).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const url = `http://127.0.0.1:${port}`

  return {
    url,
    port,
    database,
    looks,
    unready,
    async ask(
      method: string,
      path: string,
      who?: KeyName,
      body?: unknown,
      headers: Record<string, string> = {},
    ): Promise<Answered> {
      const response = await fetch(`${url}${path}`, {
        method,
        headers: {
          ...(who === undefined ? {} : { authorization: `Bearer ${keyOf[who]}` }),
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          ...headers,
        },
        ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      })
      const type = response.headers.get('content-type') ?? ''
      const text = await response.text()
      return {
        status: response.status,
        type,
        headers: response.headers,
        body: type.includes('json') ? (JSON.parse(text) as Record<string, unknown>) : { text },
      }
    },
    async close() {
      server.close()
      server.closeAllConnections()
      await database.close()
    },
  }
}

export function ellensRequest(changes: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    patient: {
      identifiers: [{ system: 'urn:oid:2.16.840.1.113883.19.5.1', value: 'E1001', type: 'MR' }],
      family: 'Ross',
      given: 'Ellen',
      birthDate: '1975-05-01',
    },
    destinations: ['ellen.ross@direct.somephr.example'],
    frequency: 'continuous',
    triggers: ['discharge'],
    identityAssurance: { method: 'in-person', verifiedBy: 'front desk' },
    evidence: 'scan 4711',
    ...changes,
  }
}
