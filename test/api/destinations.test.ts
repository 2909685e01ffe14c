import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { recordProbe } from '../../src/store/destinations.ts'
import { queryOf } from '../../src/store/query.ts'
import { ellensRequest } from '../store/ellen.ts'
import { anApi } from './an-api.ts'

const now = new Date()
const inDays = (days: number) => new Date(now.getTime() + days * 86_400_000)
const [good, ending, lost, fresh] = ['a', 'b', 'c', 'd'].map((name) => `${name}@direct.somephr.example`) as [
  string,
  string,
  string,
  string,
]
let api: Awaited<ReturnType<typeof anApi>>
let id: string
beforeAll(async () => {
  api = await anApi()
  const { patient, triggers, identityAssurance } = ellensRequest()
  const { body } = await api.ask('POST', '/api/v1/authorizations', 'provider', {
    patient,
    triggers,
    identityAssurance,
    frequency: 'continuous',
    destinations: [good, ending, lost, fresh],
  })
  id = String(body['id'])
  const query = queryOf(api.database.dataSource)
  const trace = [{ afterMs: 1, step: 'dns', outcome: 'found', detail: 'CERT' }]
  const trusted = { outcome: 'trusted', because: '', trace } as const
  const note = (address: string, what: Parameters<typeof recordProbe>[2]) =>
    recordProbe(query, address, what, now, inDays(1))
  await note(good, { ...trusted, ends: { at: inDays(400), subject: 'CN=good' } })
  await note(ending, { ...trusted, ends: { at: inDays(20), subject: 'CN=ending' } })
  await note(lost, { outcome: 'absent', because: 'no certificate is published', trace })
})
afterAll(() => api.close())

const addressesOf = ({ body }: { body: Record<string, unknown> }) =>
  (body['items'] as { address: string }[]).map(({ address }) => address)

test('every destination of an active request is listed, page by page', async () => {
  const first = await api.ask('GET', '/api/v1/destinations?limit=3', 'operator')
  expect(addressesOf(first)).toEqual([good, ending, lost])
  const rest = await api.ask(
    'GET',
    `/api/v1/destinations?limit=3&after=${String(first.body['next'])}`,
    'auditor',
  )
  expect(rest.body).toMatchObject({ items: [{ address: fresh, outcome: null }] })
  expect(rest.body['next']).toBeUndefined()
})

test('by outcome, and by what ends soon', async () => {
  expect(addressesOf(await api.ask('GET', '/api/v1/destinations?outcome=absent', 'operator'))).toEqual([lost])
  expect(addressesOf(await api.ask('GET', '/api/v1/destinations?endingWithinDays=30', 'operator'))).toEqual([
    ending,
  ])
  for (const wrong of ['outcome=perhaps', 'endingWithinDays=soon', 'limit=0'])
    expect(await api.ask('GET', `/api/v1/destinations?${wrong}`, 'operator')).toMatchObject({ status: 400 })
})

test('one of them with the steps of its last look, in any case', async () => {
  expect(await api.ask('GET', `/api/v1/destinations/${ending.toUpperCase()}`, 'operator')).toMatchObject({
    status: 200,
    body: { address: ending, outcome: 'trusted', endsFirst: 'CN=ending', trace: [{ detail: 'CERT' }] },
  })
  expect(await api.ask('GET', '/api/v1/destinations/x@nobody.example', 'operator')).toMatchObject({
    status: 404,
  })
})

test('addresses are patients’ own: not for everybody', async () => {
  for (const who of ['patient', 'provider', 'analyst'] as const)
    expect(await api.ask('GET', '/api/v1/destinations', who)).toMatchObject({ status: 403 })
  expect(await api.ask('GET', '/api/v1/destinations')).toMatchObject({ status: 401 })
})

test('with its authorization whoever set it up sees what was found', async () => {
  const { body } = await api.ask('GET', `/api/v1/authorizations/${id}`, 'provider')
  expect(body['destinationStandings']).toMatchObject([
    { address: good, outcome: 'trusted', because: null },
    { address: ending, outcome: 'trusted' },
    { address: lost, outcome: 'absent', because: 'no certificate is published' },
    { address: fresh, outcome: null, probedAt: null },
  ])
})
