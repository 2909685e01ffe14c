import { afterAll, beforeAll, expect, test } from '@jest/globals'
import express from 'express'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import https from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { subscriptionRoutes } from '../../src/api/fhir-subscription.ts'
import { failures } from '../../src/api/problem.ts'
import { serveHttp } from '../../src/engine/http-listener.ts'
import { makeStops } from '../../src/engine/stops.ts'
import { silentLog } from '../../src/lib/log.ts'
import { makeRoot, serverAuth, type Issued } from '../pki/pki.ts'

const clientAuth = '1.3.6.1.5.5.7.3.2'
const [ourCa, theirCa, strangeCa] = [1, 2, 3].map(() => makeRoot({ keyType: 'ec256' }))
const server = ourCa!.issue({ keyType: 'ec256', domains: ['localhost'], extendedKeyUsage: [serverAuth] })
const clientOf = (ca: ReturnType<typeof makeRoot>, more: object = {}) =>
  ca.issue({ keyType: 'ec256', domains: ['fhir.clinic.example'], extendedKeyUsage: [clientAuth], ...more })

const stops = makeStops(silentLog)
const folder = mkdtempSync(join(tmpdir(), 'bluepost-https-'))
let url: string
let heard = 0
beforeAll(async () => {
  writeFileSync(join(folder, 'server.pem'), server.certificatePem)
  writeFileSync(join(folder, 'clients.pem'), theirCa!.certificatePem)
  const app = express()
  app.get('/for-people', (_request, response) => void response.send('good'))
  app.use(
    '/fhir/subscription',
    subscriptionRoutes({
      now: () => new Date(),
      needsCertificate: true,
      channel: (name) => ({
        name,
        header: 'X-Hook-Secret',
        secret: 's3cret',
        hear: () => Promise.resolve({ outcome: 'noted', hints: ++heard }),
      }),
    }),
  )
  app.use(failures(silentLog))
  url = await serveHttp(
    {
      listen: {
        http: { host: '127.0.0.1', port: 0 },
        httpTls: {
          certificate: join(folder, 'server.pem'),
          privateKey: server.privateKeyPem,
          clientCa: join(folder, 'clients.pem'),
        },
      },
      access: { keys: [] },
    },
    app,
    stops,
  )
})
afterAll(async () => {
  await stops.stopAll()
  rmSync(folder, { recursive: true })
})

function ask(path: string, method: string, client?: Issued, secret = 's3cret'): Promise<number> {
  return new Promise((resolve, reject) => {
    const request = https.request(
      `${url}${path}`,
      {
        method,
        ca: ourCa!.certificatePem,
        servername: 'localhost',
        agent: false,
        headers: { 'X-Hook-Secret': secret },
        ...(client && { cert: client.certificatePem, key: client.privateKeyPem }),
      },
      (response) => {
        response.resume()
        response.on('end', () => resolve(response.statusCode!))
      },
    )
    request.on('error', reject)
    request.end()
  })
}

test('a server with a certificate of its authority and the secret notifies', async () => {
  expect(await ask('/fhir/subscription/any', 'POST', clientOf(theirCa!))).toBe(200)
  expect(heard).toBe(1)
  expect(await ask('/fhir/subscription/any', 'POST', clientOf(theirCa!), 'wrong')).toBe(401)
})

test('nobody else does: no certificate, a stranger’s, our own server’s, one that is past', async () => {
  const before = heard
  const past = { notBefore: new Date('2020-01-01'), notAfter: new Date('2021-01-01') }
  for (const client of [undefined, clientOf(strangeCa!), server, clientOf(theirCa!, past)])
    expect(await ask('/fhir/subscription/any', 'POST', client)).toBe(401)
  expect(heard).toBe(before)
})

test('people are not asked for one', async () => {
  expect(await ask('/for-people', 'GET')).toBe(200)
})
