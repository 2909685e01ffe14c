import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals'
import { createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { jwtVerify } from 'jose'
import type { FhirServerSetting } from '../../src/documents/fhir-door.ts'
import { fhirServer } from '../../src/documents/fhir-server.ts'
import { aSetting, json, startAnswering, type AnsweringServer, type Asked } from './answering-server.ts'

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
const ec = generateKeyPairSync('ec', { namedCurve: 'P-384' })
const pem = (key: KeyObject) => key.export({ type: 'pkcs8', format: 'pem' }).toString()
const assertionType = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'
const start = new Date('2026-06-01T12:00:00Z')

let clinic: AnsweringServer
let login: AnsweringServer
let now: Date
/** Tokens the clinic accepts at the moment. */
let accepted: Set<string>

beforeAll(async () => {
  ;[clinic, login] = await Promise.all([startAnswering(), startAnswering()])
})
afterAll(() => Promise.all([clinic.close(), login.close()]))
beforeEach(() => {
  now = start
  accepted = new Set()
  clinic.answer(({ path, headers }, response) => {
    if (path === '/fhir/.well-known/smart-configuration')
      return json(response, { token_endpoint: `${login.origin}/token` })
    if (!accepted.has(headers.authorization ?? '')) return json(response, {}, 401)
    json(response, { resourceType: 'Patient', id: '7' })
  })
  grant({ expires_in: 300 })
})

/** Each time asked, another token, which the clinic then accepts. */
function grant(more: object) {
  login.answer((_, response, nth) => {
    accepted.add(`Bearer token-${nth}`)
    json(response, { access_token: `token-${nth}`, token_type: 'bearer', ...more })
  })
}

function aServer(auth: FhirServerSetting['auth']) {
  return fhirServer(aSetting(clinic.base, { auth }), { pause: () => Promise.resolve(), now: () => now })
}

function smart(changes: Partial<Extract<FhirServerSetting['auth'], { type: 'smart-backend' }>> = {}) {
  return aServer({
    type: 'smart-backend',
    clientId: 'bluepost',
    key: pem(rsa.privateKey),
    tokenUrl: `${login.origin}/token`,
    scope: 'system/DocumentReference.rs',
    ...changes,
  })
}

const form = ({ body }: Asked) => Object.fromEntries(new URLSearchParams(body))

test('none sends no credentials', async () => {
  await aServer({ type: 'none' })
    .read('Patient', '7')
    .catch(() => {})
  expect(clinic.asked[0]!.headers.authorization).toBeUndefined()
})

test('basic sends user and password in UTF-8 (RFC 7617)', async () => {
  const authorization = `Basic ${Buffer.from('bluepost:pässword:1').toString('base64')}`
  accepted.add(authorization)
  expect(
    await aServer({ type: 'basic', user: 'bluepost', password: 'pässword:1' }).read('Patient', '7'),
  ).toBeDefined()
})

test('a bearer token that is refused is not sent again, and the reason says what to look at', async () => {
  await expect(aServer({ type: 'bearer', token: 'old' }).read('Patient', '7')).rejects.toMatchObject({
    code: 'fhir-refused',
    because: expect.stringContaining('credentials are not accepted'),
  })
  expect(clinic.asked).toHaveLength(1)
})

test.each([
  ['RS384', () => pem(rsa.privateKey), rsa.publicKey],
  ['ES384', () => pem(ec.privateKey), ec.publicKey],
  ['RS384', () => JSON.stringify({ ...rsa.privateKey.export({ format: 'jwk' }), kid: 'k1' }), rsa.publicKey],
])('smart-backend: a %s assertion that the authorization server can verify', async (alg, key, publicKey) => {
  const server = smart({ key: key(), ...(key().startsWith('{') ? {} : { keyId: 'k1' }) })
  expect(await server.read('Patient', '7')).toBeDefined()
  expect(login.asked[0]).toMatchObject({ method: 'POST', path: '/token' })
  expect(login.asked[0]!.headers['content-type']).toContain('application/x-www-form-urlencoded')
  const sent = form(login.asked[0]!)
  expect(sent).toMatchObject({
    grant_type: 'client_credentials',
    scope: 'system/DocumentReference.rs',
    client_assertion_type: assertionType,
  })
  const { payload, protectedHeader } = await jwtVerify(
    sent['client_assertion']!,
    createPublicKey(publicKey.export({ type: 'spki', format: 'pem' })),
    { audience: `${login.origin}/token`, issuer: 'bluepost', subject: 'bluepost', currentDate: start },
  )
  expect(protectedHeader).toEqual({ alg, typ: 'JWT', kid: 'k1' })
  expect(payload.exp! - start.getTime() / 1000).toBeLessThanOrEqual(300)
  expect(payload.jti).toMatch(/.{16}/)
})

test('smart-backend: the token endpoint is found in the server’s configuration', async () => {
  const { tokenUrl: _, ...setting } = {
    type: 'smart-backend' as const,
    clientId: 'bluepost',
    key: pem(rsa.privateKey),
    scope: 'system/*.rs',
    tokenUrl: '',
  }
  expect(await aServer(setting).read('Patient', '7')).toBeDefined()
  expect(clinic.asked[0]).toMatchObject({ path: '/fhir/.well-known/smart-configuration' })
  expect(clinic.asked[0]!.headers.authorization).toBeUndefined()
})

test('smart-backend: one token serves until shortly before it expires, then there is another', async () => {
  const server = smart()
  await server.read('Patient', '7')
  now = new Date(start.getTime() + 269_000)
  await server.read('Patient', '7')
  expect(login.asked).toHaveLength(1)
  now = new Date(start.getTime() + 271_000)
  await server.read('Patient', '7')
  expect(login.asked).toHaveLength(2)
})

test('smart-backend: many questions at once wait for one token', async () => {
  const server = smart()
  await Promise.all(Array.from({ length: 10 }, () => server.read('Patient', '7')))
  expect(login.asked).toHaveLength(1)
})

test('smart-backend: a token that is refused is replaced once, no more', async () => {
  const server = smart()
  await server.read('Patient', '7')
  accepted.clear()
  expect(await server.read('Patient', '7')).toBeDefined()
  expect(login.asked).toHaveLength(2)

  login.answer((_, response) => json(response, { access_token: 'never-accepted', expires_in: 300 }))
  accepted.clear()
  await expect(server.read('Patient', '7')).rejects.toMatchObject({ code: 'fhir-refused' })
  expect(login.asked.length).toBeLessThanOrEqual(2)
})

test('smart-backend: assertions are never used twice', async () => {
  const server = smart()
  await server.read('Patient', '7')
  accepted.clear()
  await server.read('Patient', '7')
  const assertions = login.asked.map((asked) => form(asked)['client_assertion'])
  expect(new Set(assertions).size).toBe(2)
})

test.each<[string, number, object | string, string, RegExp]>([
  [
    'a wrong client',
    400,
    { error: 'invalid_client', error_description: 'Ellen' },
    'fhir-refused',
    /400 \(invalid_client\)/,
  ],
  ['an endpoint that is not there', 404, 'not found', 'fhir-refused', /answered 404/],
  ['an answer without token', 200, {}, 'fhir-refused', /without an access_token/],
  [
    'a token with a line break',
    200,
    { access_token: 'a\r\nx: y' },
    'fhir-refused',
    /without an access_token/,
  ],
  ['a login page', 200, '<html>', 'fhir-refused', /answered 200/],
  ['a busy server', 503, {}, 'fhir-unavailable', /answered 503/],
  ['too many requests', 429, {}, 'fhir-unavailable', /answered 429/],
])('smart-backend: %s', async (_, status, body, code, because) => {
  login.answer((__, response) =>
    typeof body === 'string' ? void response.writeHead(status).end(body) : json(response, body, status),
  )
  // A 404 of the token endpoint says nothing about the patient: it must not read as “there is no such resource”.
  const failure = await smart()
    .read('Patient', '7')
    .catch((error: unknown) => error)
  expect(failure).toMatchObject({ code, because: expect.stringMatching(because) })
  expect(String(failure)).not.toContain('Ellen')
})

test('smart-backend: a redirect of the token endpoint is not followed: the assertion is for one place', async () => {
  login.answer((_, response) => void response.writeHead(307, { location: `${clinic.origin}/token` }).end())
  await expect(smart().read('Patient', '7')).rejects.toMatchObject({ code: 'fhir-refused' })
  expect(clinic.asked).toEqual([])
})

test('smart-backend: a key that cannot sign is refused at the start', () => {
  const p256 = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  expect(() => smart({ key: pem(p256.privateKey) })).toThrow('P-384')
  expect(() => smart({ key: 'no key' })).toThrow()
})
