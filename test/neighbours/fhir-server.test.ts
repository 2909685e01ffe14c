import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { createHash } from 'node:crypto'
import type { Person } from './ccd.ts'
import type { StoredDocument } from './fhir-resources.ts'
import { startNeighbour, type Neighbour } from './neighbour.ts'

const ellen: Person = {
  id: 'ellen',
  identifiers: [{ system: 'urn:oid:2.16.840.1.113883.19.5', value: 'E1001', type: 'MR' }],
  family: 'Ross',
  given: 'Ellen',
  birthDate: '1956-08-14',
  gender: 'female',
}

let fhir: Neighbour
let base: string
let older: StoredDocument
let newer: StoredDocument

beforeAll(async () => {
  fhir = await startNeighbour('fhir-server')
  base = `http://127.0.0.1:${fhir.port}/fhir`
  await fhir.order('addPatient', { person: ellen })
  older = await fhir.order('putDocument', {
    patient: 'ellen',
    choices: { effectiveTime: '2026-01-01T00:00:00Z', bytes: 20_000 },
  })
  newer = await fhir.order('putDocument', { patient: 'ellen', choices: {} })
})
afterAll(() => fhir.stop())

interface Answer {
  resourceType: string
  total: number
  fhirVersion: string
  entry: { resource: { id: string; content: { attachment: { url: string } }[] } }[]
  link: { relation: string; url: string }[]
  data: string
}
async function get(path: string, headers: Record<string, string> = {}): Promise<Answer> {
  return (await (await fetch(new URL(path, `${base}/`), { headers })).json()) as Answer
}
const ids = (bundle: Answer) => bundle.entry.map((entry) => entry.resource.id)

test('a patient is found by identifier, and only under the right system', async () => {
  expect((await get('metadata')).fhirVersion).toBe('4.0.1')
  expect(ids(await get('Patient?identifier=urn:oid:2.16.840.1.113883.19.5|E1001'))).toEqual(['ellen'])
  expect((await get('Patient?identifier=urn:oid:1.2.3|E1001')).total).toBe(0)
})

test('$docref gives the newest current document, by GET and by POST', async () => {
  expect(ids(await get('DocumentReference/$docref?patient=ellen'))).toEqual([newer.id])
  const posted = await fetch(`${base}/DocumentReference/$docref`, {
    method: 'POST',
    headers: { 'content-type': 'application/fhir+json' },
    body: JSON.stringify({
      resourceType: 'Parameters',
      parameter: [
        { name: 'patient', valueId: 'ellen' },
        { name: 'type', valueCodeableConcept: { coding: [{ code: '34133-9' }] } },
      ],
    }),
  })
  expect(ids((await posted.json()) as Answer)).toEqual([newer.id])
})

test('a search pages, newest first', async () => {
  const first = await get(
    'DocumentReference?patient=ellen&type=http://loinc.org|34133-9&status=current&_sort=-date&_count=1',
  )
  expect(ids(first)).toEqual([newer.id])
  const next = first.link.find((link) => link.relation === 'next')
  expect(ids(await get(next?.url ?? ''))).toEqual([older.id])
})

test('the document comes as raw bytes and as a FHIR resource, the same both times', async () => {
  const raw = Buffer.from(
    await (
      await fetch(`${base}/Binary/${newer.id}`, { headers: { accept: 'application/xml' } })
    ).arrayBuffer(),
  )
  const wrapped = await get(`Binary/${newer.id}`, { accept: 'application/fhir+json' })
  expect(createHash('sha256').update(raw).digest('hex')).toBe(newer.sha256)
  expect(Buffer.from(wrapped.data, 'base64').equals(raw)).toBe(true)
  expect(raw.length).toBe(60_000)
  expect(raw.toString()).toContain('<id root="2.16.840.1.113883.19.5" extension="E1001"/>')
})

test('it fails as told, for as long as told', async () => {
  await fhir.order('fault', {
    fault: { how: 'status', status: 503, retryAfter: 1, times: 2, path: 'Patient' },
  })
  expect((await fetch(`${base}/Patient/ellen`)).status).toBe(503)
  expect((await fetch(`${base}/Binary/${newer.id}`)).status).toBe(200)
  expect((await fetch(`${base}/Patient/ellen`)).status).toBe(503)
  expect((await fetch(`${base}/Patient/ellen`)).status).toBe(200)
})

test('without $docref it says so', async () => {
  await fhir.order('set', { docref: false })
  expect((await fetch(`${base}/DocumentReference/$docref?patient=ellen`)).status).toBe(404)
  await fhir.order('set', { docref: true })
})

test('a document can be spoilt and replaced', async () => {
  const spoilt = await fhir.order<StoredDocument>('putDocument', {
    patient: 'ellen',
    id: 'x',
    spoil: 'doctype',
  })
  expect(await (await fetch(`${base}/Binary/x`)).text()).toContain('<!DOCTYPE')
  const good = await fhir.order<StoredDocument>('putDocument', { patient: 'ellen', id: 'x' })
  expect(good.sha256).not.toBe(spoilt.sha256)
  await fhir.order('removeDocument', { id: 'x' })
})

test('a large document is made quickly enough to be used', async () => {
  const large = await fhir.order<StoredDocument>('putDocument', {
    patient: 'ellen',
    id: 'large',
    choices: { bytes: 25_000_000 },
  })
  expect(large.bytes).toBe(25_000_000)
  await fhir.order('removeDocument', { id: 'large' })
})
