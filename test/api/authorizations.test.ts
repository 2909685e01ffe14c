import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { anApi, ellensRequest } from './an-api.ts'

let api: Awaited<ReturnType<typeof anApi>>
beforeAll(async () => {
  api = await anApi()
})
afterAll(() => api.close())

const root = '/api/v1/authorizations'

async function stored(changes: Record<string, unknown> = {}, who: 'provider' | 'patient' = 'provider') {
  const { status, body } = await api.ask('POST', root, who, ellensRequest(changes))
  expect(status).toBe(201)
  return body as { id: string; version: number }
}

test('a request is stored, shown, and its destinations are tried out', async () => {
  const { status, headers, body } = await api.ask('POST', root, 'provider', ellensRequest())
  expect(status).toBe(201)
  expect(headers.get('location')).toBe(`${root}/${body['id'] as string}`)
  expect(api.looks.asked).toBeGreaterThan(0)
  const shown = await api.ask('GET', `${root}/${body['id'] as string}`, 'auditor')
  expect(shown.body).toMatchObject({
    status: 'active',
    version: 1,
    frequency: 'continuous',
    triggers: ['discharge'],
    destinations: ['ellen.ross@direct.somephr.example'],
    identityAssurance: { method: 'in-person', verifiedBy: 'front desk' },
    evidence: 'scan 4711',
    history: [{ version: 1, by: 'key:desk', what: 'created' }],
  })
})

test('a request for once starts its transmission at once, without any trigger', async () => {
  const { id } = await stored({
    frequency: 'once',
    triggers: [],
    destinations: ['a@direct.one.example', 'b@direct.two.example'],
  })
  const { body } = await api.ask('GET', `/api/v1/transmissions?authorization=${id}`, 'operator')
  const items = body['items'] as { state: string; destination: string; cause: string }[]
  expect(items.map(({ destination }) => destination).sort()).toEqual([
    'a@direct.one.example',
    'b@direct.two.example',
  ])
  expect(new Set(items.map(({ cause, state }) => `${cause} ${state}`))).toEqual(new Set(['request waiting']))
})

test('each change is recorded with who and when, and what it was before stays readable', async () => {
  const { id } = await stored()
  const changed = await api.ask('PATCH', `${root}/${id}`, 'provider', {
    destinations: ['ellen@direct.other.example'],
  })
  expect(changed.body).toMatchObject({ version: 2, destinations: ['ellen@direct.other.example'] })
  const { body } = await api.ask('GET', `${root}/${id}`, 'provider')
  expect(body['history']).toMatchObject([
    { version: 1, destinations: ['ellen.ross@direct.somephr.example'], by: 'key:desk' },
    { version: 2, destinations: ['ellen@direct.other.example'], by: 'key:desk' },
  ])
  const audit = await api.ask('GET', `/api/v1/audit?authorization=${id}`, 'auditor')
  expect((audit.body['items'] as { action: string }[]).map(({ action }) => action)).toEqual(
    expect.arrayContaining(['authorization-created', 'authorization-changed', 'authorization-read']),
  )
})

test('what is revoked stays revoked, and its unsent transmissions are cancelled with it', async () => {
  const { id } = await stored({ frequency: 'once', triggers: [] })
  const revoked = await api.ask('POST', `${root}/${id}/revoke`, 'provider', { because: 'she moved' })
  expect(revoked).toMatchObject({ status: 200, body: { status: 'revoked' } })
  const { body } = await api.ask('GET', `/api/v1/transmissions?authorization=${id}`, 'operator')
  expect(body['items']).toMatchObject([{ state: 'cancelled' }])
  expect((await api.ask('PATCH', `${root}/${id}`, 'provider', { frequency: 'once' })).status).toBe(409)
  expect((await api.ask('POST', `${root}/${id}/revoke`, 'provider')).status).toBe(409)
})

test('a mistaken request is answered with every mistake as problem+json', async () => {
  const { status, type, body } = await api.ask('POST', root, 'provider', { destinations: ['x'], colour: 1 })
  expect(status).toBe(422)
  expect(type).toContain('application/problem+json')
  expect((body['errors'] as { where: string }[]).map(({ where }) => where)).toEqual(
    expect.arrayContaining(['/destinations/0', '/colour', '/patient']),
  )
})

test('a patient sees what she set up herself; for another patient it does not exist', async () => {
  const { id } = await stored({}, 'patient')
  expect((await api.ask('GET', `${root}/${id}`, 'patient')).status).toBe(200)
  expect((await api.ask('GET', `${root}/${id}`, 'otherPatient')).status).toBe(404)
  expect((await api.ask('PATCH', `${root}/${id}`, 'otherPatient', { frequency: 'once' })).status).toBe(404)
  expect((await api.ask('POST', `${root}/${id}/revoke`, 'otherPatient')).status).toBe(404)
  const { body } = await api.ask('GET', root, 'otherPatient')
  expect(body['items']).toEqual([])
})

test('it is found by the patient’s identifier', async () => {
  const system = 'urn:oid:2.16.840.1.113883.19.5.77'
  const { id } = await stored({
    patient: {
      identifiers: [{ system, value: 'F/1|2', type: 'MR' }],
      family: 'Fox',
      birthDate: '1980-01-01',
    },
  })
  const found = await api.ask(
    'GET',
    `${root}?identifier=${encodeURIComponent(`${system}|F/1|2`)}`,
    'provider',
  )
  // The last bar divides: a system has none, but neither does a medical record number.
  expect(found.status).toBe(200)
  const exact = await api.ask('GET', `${root}?identifier=${encodeURIComponent('no-bar')}`, 'provider')
  expect(exact.status).toBe(400)
  expect((await api.ask('GET', `${root}/${id}`, 'provider')).status).toBe(200)
})

test('lists go on where the page before ended', async () => {
  await stored()
  await stored()
  const first = await api.ask('GET', `${root}?limit=1`, 'operator')
  const second = await api.ask('GET', `${root}?limit=1&before=${first.body['next'] as string}`, 'operator')
  const ids = [first, second].map(({ body }) => (body['items'] as { id: string }[])[0]!.id)
  expect(new Set(ids).size).toBe(2)
})
