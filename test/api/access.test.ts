import { request } from 'node:http'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { anApi, ellensRequest, keyOf } from './an-api.ts'

let api: Awaited<ReturnType<typeof anApi>>
let open: Awaited<ReturnType<typeof anApi>>
beforeAll(async () => {
  api = await anApi()
  open = await anApi({ keys: [], openOnLoopback: true })
})
afterAll(async () => {
  await api.close()
  await open.close()
})

const unknownId = '00000000-0000-4000-8000-000000000000'

/** Each route: who is let through; everybody else gets 403, strangers 401. */
const routes: [string, string, readonly string[]][] = [
  ['POST', '/api/v1/authorizations', ['patient', 'provider']],
  ['GET', '/api/v1/authorizations', ['patient', 'provider', 'operator', 'auditor']],
  ['GET', `/api/v1/authorizations/${unknownId}`, ['patient', 'provider', 'operator', 'auditor']],
  ['PATCH', `/api/v1/authorizations/${unknownId}`, ['patient', 'provider']],
  ['POST', `/api/v1/authorizations/${unknownId}/revoke`, ['patient', 'provider']],
  ['GET', '/api/v1/transmissions', ['provider', 'operator', 'auditor']],
  ['GET', `/api/v1/transmissions/${unknownId}`, ['provider', 'operator', 'auditor']],
  ['GET', `/api/v1/transmissions/${unknownId}/notice`, ['provider', 'operator', 'auditor']],
  ['GET', '/api/v1/trust', ['operator', 'auditor']],
  ['GET', '/api/v1/inbox', ['operator']],
  ['GET', `/api/v1/inbox/${unknownId}`, ['operator']],
  ['GET', `/api/v1/inbox/${unknownId}/raw`, ['operator']],
  ['GET', '/api/v1/inbox/ignored', ['operator', 'auditor']],
  ['GET', `/api/v1/inbox/ignored/${unknownId}/raw`, ['operator']],
  ['POST', `/api/v1/transmissions/${unknownId}/retry`, ['operator']],
  ['POST', `/api/v1/transmissions/${unknownId}/release`, ['operator']],
  ['POST', `/api/v1/transmissions/${unknownId}/withdraw`, ['operator']],
  ['GET', '/api/v1/messages', ['analyst', 'operator']],
  ['GET', '/api/v1/messages/1', ['analyst', 'operator']],
  ['POST', '/api/v1/messages/1/replay', ['operator']],
  ['GET', '/api/v1/fragments', ['analyst', 'operator']],
  ['GET', '/api/v1/fragments/1', ['analyst', 'operator']],
  ['GET', '/api/v1/channels', ['analyst', 'operator']],
  ['POST', '/api/v1/channels/reload', ['analyst', 'operator']],
  ['POST', '/api/v1/channels/adt/pause', ['operator']],
  ['POST', '/api/v1/channels/adt/resume', ['operator']],
  ['POST', '/api/v1/channels/adt/stop', ['operator']],
  ['POST', '/api/v1/channels/adt/start', ['operator']],
  ['GET', '/api/v1/audit', ['auditor', 'operator']],
  ['GET', '/api/v1/audit/verification', ['auditor', 'operator']],
]

test.each(routes)('%s %s is for its roles only', async (method, path, roles) => {
  expect((await api.ask(method, path)).status).toBe(401)
  for (const who of ['patient', 'provider', 'analyst', 'operator', 'auditor'] as const) {
    const { status } = await api.ask(method, path, who, method === 'GET' ? undefined : {})
    if (roles.includes(who)) expect([200, 404, 422]).toContain(status)
    else expect(status).toBe(403)
  }
})

test('a key that is almost right is not right', async () => {
  const { status } = await api.ask('GET', '/api/v1/messages', undefined, undefined, {
    authorization: `Bearer ${keyOf.operator.slice(0, -1)}e`,
  })
  expect(status).toBe(401)
})

test('on loopback without configured access, whoever is on this machine may do everything', async () => {
  expect((await open.ask('POST', '/api/v1/authorizations', undefined, ellensRequest())).status).toBe(201)
})

test('a page in a browser may not, neither by a name of its own nor from its own origin', async () => {
  // DNS rebinding: the name in Host is the attacker’s.
  expect(await statusWith({ host: 'evil.example' })).toBe(401)
  expect(await statusWith({ host: `127.0.0.1:${open.port}`, origin: 'https://evil.example' })).toBe(401)
  expect(await statusWith({ host: `127.0.0.1:${open.port}` })).toBe(200)
})

function statusWith(headers: Record<string, string>): Promise<number> {
  return new Promise((resolve, reject) => {
    request({ host: '127.0.0.1', port: open.port, path: '/api/v1/authorizations', headers }, (response) => {
      response.resume()
      resolve(response.statusCode ?? 0)
    })
      .on('error', reject)
      .end()
  })
}

test('bodies that are too large, not JSON, or hostile are refused and quote nothing', async () => {
  const large = await api.ask('POST', '/api/v1/authorizations', 'provider', {
    evidence: 'x'.repeat(70_000),
  })
  expect(large.status).toBe(413)
  const broken = await api.ask('POST', '/api/v1/authorizations', 'provider', '{"patient": SECRETNAME')
  expect(broken.status).toBe(400)
  expect(JSON.stringify(broken.body)).not.toContain('SECRETNAME')
  const polluted = await api.ask(
    'POST',
    '/api/v1/authorizations',
    'provider',
    '{"__proto__": {"isAdmin": true}, "constructor": {"prototype": {}}}',
  )
  expect(polluted.status).toBe(422)
  expect(({} as Record<string, unknown>)['isAdmin']).toBeUndefined()
})

test('operations need no login and tell no PHI; the API is never cached', async () => {
  expect((await api.ask('GET', '/livez')).status).toBe(200)
  expect(await api.ask('GET', '/readyz')).toMatchObject({ status: 200, body: { ready: true } })
  const metrics = await api.ask('GET', '/metrics')
  expect(metrics.body['text']).toContain('bluepost_transmissions_open')
  const answer = await api.ask('GET', '/api/v1/audit', 'auditor')
  expect(answer.headers.get('cache-control')).toBe('no-store')
  expect(answer.headers.get('x-powered-by')).toBeNull()
  expect((await api.ask('GET', '/nowhere')).status).toBe(404)
})

test('what keeps the engine from working is told by /readyz with 503', async () => {
  api.unready.push('the database is read-only')
  expect(await api.ask('GET', '/readyz')).toMatchObject({
    status: 503,
    body: { ready: false, because: ['the database is read-only'] },
  })
  api.unready.pop()
})

test('every path of the API is described in openapi.json', async () => {
  const { body } = await api.ask('GET', '/api/openapi.json')
  const paths = Object.keys(body['paths'] as object)
  for (const [, path] of routes)
    expect(paths).toContain(
      path.replace(unknownId, '{id}').replace('s/1', 's/{id}').replace('s/adt/', 's/{name}/'),
    )
})
