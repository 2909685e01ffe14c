import { afterAll, beforeEach, expect, test } from '@jest/globals'
import { randomBytes } from 'node:crypto'
import { fhirServer } from '../../src/documents/fhir-server.ts'
import { findDocuments, type WantedDocument } from '../../src/documents/find-document.ts'
import type { Identifier } from '../../src/domain/patient.ts'
import type { Person } from '../neighbours/ccd.ts'
import { serveFhir } from '../neighbours/fhir-server.ts'
import { aSetting } from './answering-server.ts'

const ashby = 'urn:oid:2.16.840.1.113883.19.5'
const regional = 'urn:oid:2.16.840.1.113883.19.6'
const aliases = new Map([
  [ashby, ashby],
  ['http://ashby.example/mrn', ashby],
  ['ASHBY_MRN', ashby],
])
const at = new Date('2026-06-01T12:00:00Z')

type Clinic = Awaited<ReturnType<typeof serveFhir>>
let clinic: Clinic
/** Paths asked of the server, oldest first. */
let paths: string[] = []
const opened: Clinic[] = []

beforeEach(async () => {
  paths = []
  clinic = await serveFhir(({ what, path }) => {
    if (what === 'answered') paths.push(decodeURIComponent(String(path)))
  }, 0)
  opened.push(clinic)
  clinic.commands.addPatient({ person: ellen() })
})
afterAll(() => opened.forEach((one) => one.close()))

function ellen(changes: Partial<Person> = {}): Person {
  return {
    id: 'ellen',
    identifiers: [{ system: ashby, value: 'E1001', type: 'MR' }],
    family: 'Ross',
    given: 'Ellen',
    birthDate: '1956-08-14',
    ...changes,
  }
}

function wanted(
  changes: Partial<WantedDocument> = {},
  identifiers: Identifier[] = [{ system: ashby, value: 'E1001' }],
) {
  return {
    patient: { identifiers, family: 'Ross', birthDate: '1956-08-14' },
    aliases,
    documentCodes: ['34133-9', '18842-5'],
    bytesMax: 1024 * 1024,
    ...changes,
  }
}

function find(want: WantedDocument = wanted(), attachmentOrigins: string[] = []) {
  const base = `http://127.0.0.1:${clinic.port}/fhir`
  const server = fhirServer(aSetting(base, { attachmentOrigins }), { pause: () => Promise.resolve() })
  return findDocuments(server, want, at).then(({ summary }) => summary)
}

const put = (about: {
  id: string
  date?: string
  code?: string
  status?: 'current' | 'superseded' | 'entered-in-error'
}) =>
  clinic.commands.putDocument({
    patient: 'ellen',
    content: Buffer.from(`<${about.id}/>`).toString('base64'),
    ...about,
  })

const noDocref = () => clinic.commands.set({ docref: false })

test('$docref gives the current one, byte-identical, and says where it came from', async () => {
  const content = Buffer.concat([Buffer.from('\uFEFF<a>\r\n'), randomBytes(5000)])
  clinic.commands.putDocument({ patient: 'ellen', id: 'd1', content: content.toString('base64') })
  const found = await find()
  expect(found.bytes.equals(content)).toBe(true)
  expect(found).toMatchObject({ source: 'clinic DocumentReference/d1 ($docref)', fetchedAt: at })
  expect(paths).toEqual([
    `/fhir/Patient?identifier=${ashby}|E1001,http://ashby.example/mrn|E1001`,
    '/fhir/DocumentReference/$docref?patient=ellen',
    '/fhir/Binary/d1',
  ])
})

test.each(['relative', 'absolute', 'inline'] as const)('the content may stand %s', async (content) => {
  clinic.commands.set({ content })
  put({ id: 'd1' })
  expect((await find()).bytes.toString()).toBe('<d1/>')
})

test('what $docref makes on demand is taken, whatever date it is listed with', async () => {
  clinic.commands.set({ docref: 'generates' })
  const found = await find(wanted({ freshAfter: new Date('2099-01-01') }))
  expect(found.bytes.toString()).toContain('ClinicalDocument')
})

test('a server without $docref is searched: the newest current one of an allowed type', async () => {
  noDocref()
  put({ id: 'old', date: '2026-05-01T00:00:00Z' })
  put({ id: 'newest', date: '2026-05-30T00:00:00Z', code: '18842-5' })
  put({ id: 'superseded', date: '2026-05-31T00:00:00Z', status: 'superseded' })
  put({ id: 'wrong', date: '2026-05-31T00:00:00Z', status: 'entered-in-error' })
  put({ id: 'progress', date: '2026-05-31T00:00:00Z', code: '11506-3' })
  expect(await find()).toMatchObject({ source: 'clinic DocumentReference/newest (search)' })
})

test('a $docref that finds nothing is not the last word: the search is', async () => {
  put({ id: 'discharge', code: '18842-5' })
  expect(await find()).toMatchObject({ source: 'clinic DocumentReference/discharge (search)' })
})

test('a type may be asked of $docref by POST', async () => {
  put({ id: 'discharge', code: '18842-5' })
  expect(await find(wanted({ docrefType: '18842-5' }))).toMatchObject({
    source: 'clinic DocumentReference/discharge ($docref by type)',
  })
})

test('the documents of the encounter are looked through first', async () => {
  noDocref()
  put({ id: 'd1' })
  await find(wanted({ encounter: 'e-77' }))
  expect(paths.filter((path) => path.includes('DocumentReference?'))[0]).toContain('encounter=e-77')
  // An id that could leave its place is not asked for at all.
  paths = []
  await find(wanted({ encounter: '../x' }))
  expect(paths.join()).not.toContain('encounter')
})

test('a server that cannot sort is searched without, and the newest is still the one', async () => {
  noDocref()
  put({ id: 'newest', date: '2026-05-30T00:00:00Z' })
  put({ id: 'old', date: '2026-05-01T00:00:00Z' })
  clinic.commands.fault({ fault: { how: 'status', status: 400, path: '_sort', times: 1 } })
  expect(await find()).toMatchObject({ source: 'clinic DocumentReference/newest (search)' })
})

test('no document yet: it is missing, which is tried again until the deadline', async () => {
  await expect(find()).rejects.toMatchObject({ code: 'document-missing' })
  put({ id: 'd1' })
  expect((await find()).bytes.toString()).toBe('<d1/>')
})

test('a document from before the event is stale; once there is a newer one, that is taken', async () => {
  noDocref()
  const want = wanted({ freshAfter: new Date('2026-05-15T00:00:00Z') })
  put({ id: 'before', date: '2026-05-01T00:00:00Z' })
  await expect(find(want)).rejects.toMatchObject({ code: 'document-stale' })
  expect(paths.join()).not.toContain('Binary')
  put({ id: 'after', date: '2026-05-16T00:00:00Z' })
  expect(await find(want)).toMatchObject({ source: 'clinic DocumentReference/after (search)' })
})

test('the patient may be known by any spelling of the authority', async () => {
  clinic.commands.addPatient({
    person: ellen({ identifiers: [{ system: 'http://ashby.example/mrn', value: 'E1001' }] }),
  })
  put({ id: 'd1' })
  expect((await find()).bytes.toString()).toBe('<d1/>')
})

test('characters of an identifier that mean something in a search are escaped', async () => {
  await expect(find(wanted({}, [{ system: ashby, value: 'a,b|c$d\\e' }]))).rejects.toMatchObject({
    code: 'patient-unknown',
  })
  expect(paths[0]).toContain('|a\\,b\\|c\\$d\\\\e')
})

test.each<[string, Identifier[]]>([
  ['nobody has it', [{ system: ashby, value: 'E9' }]],
  ['another case', [{ system: ashby, value: 'e1001' }]],
  ['only a social security number', [{ system: 'urn:oid:2.16.840.1.113883.4.1', value: '999-11-2222' }]],
  ['only an unknown authority', [{ system: 'HOSP', value: 'E1001' }]],
])('patient unknown: %s', async (_, identifiers) => {
  await expect(find(wanted({}, identifiers))).rejects.toMatchObject({ code: 'patient-unknown' })
})

test.each<[string, Partial<Person>]>([
  ['another birth date', { birthDate: '1956-08-15' }],
  ['another family name', { family: 'Bates' }],
])('the patient of the server has %s: nothing of hers is fetched', async (_, changes) => {
  clinic.commands.addPatient({ person: ellen(changes) })
  put({ id: 'd1' })
  await expect(find()).rejects.toMatchObject({ code: 'document-identity' })
  expect(paths.join()).not.toMatch(/DocumentReference|Binary/)
})

test('two patients with identifiers of one authorization: a person decides', async () => {
  clinic.commands.addPatient({
    person: ellen({ id: 'other', identifiers: [{ system: regional, value: 'R-77' }] }),
  })
  const both = [
    { system: ashby, value: 'E1001' },
    { system: regional, value: 'R-77' },
  ]
  await expect(find(wanted({}, both))).rejects.toMatchObject({
    code: 'document-identity',
    because: expect.stringContaining('2 patients'),
  })
})

test('a merged record leads to the one that took its place, if that is provably hers', async () => {
  clinic.commands.addPatient({ person: ellen({ id: 'survivor' }) })
  clinic.commands.addPatient({ person: ellen(), replacedBy: 'survivor' })
  clinic.commands.putDocument({
    patient: 'survivor',
    id: 'd1',
    content: Buffer.from('<d1/>').toString('base64'),
  })
  expect((await find()).source).toContain('DocumentReference/d1')

  clinic.commands.addPatient({
    person: ellen({ id: 'survivor', identifiers: [{ system: ashby, value: 'E2' }] }),
  })
  await expect(find()).rejects.toMatchObject({ code: 'document-identity' })
})

test.each(['nobody', 'ellen', '../../admin'])('a record replaced by %s leads nowhere', async (replacedBy) => {
  clinic.commands.addPatient({ person: ellen(), replacedBy })
  put({ id: 'd1' })
  await expect(find()).rejects.toMatchObject({ code: 'document-identity' })
})

test.each<[string, Parameters<Clinic['commands']['fault']>[0]['fault'], string]>([
  ['refuses the search', { how: 'status', status: 403, path: 'Patient' }, 'fhir-refused'],
  ['refuses the document', { how: 'status', status: 403, path: 'Binary' }, 'fhir-refused'],
  ['has lost the document', { how: 'status', status: 404, path: 'Binary' }, 'document-missing'],
  ['is down', { how: 'status', status: 503 }, 'fhir-unavailable'],
  ['breaks off', { how: 'cut', path: 'Binary' }, 'fhir-unavailable'],
  ['never ends', { how: 'endless', path: 'Binary' }, 'document-refused'],
  ['gives a login page', { how: 'html', path: 'Patient' }, 'fhir-refused'],
  ['gives an OperationOutcome', { how: 'operation-outcome-200', path: 'Binary' }, 'fhir-refused'],
  [
    'redirects elsewhere',
    { how: 'redirect', path: 'Binary', location: 'http://127.0.0.1:1/' },
    'fhir-refused',
  ],
  ['gives another length', { how: 'wrong-content-length', path: 'Binary' }, 'document-refused'],
  ['gives a login page as document', { how: 'html', path: 'Binary' }, 'document-refused'],
])('a server that %s', async (_, fault, code) => {
  put({ id: 'd1' })
  clinic.commands.fault({ fault })
  const failure = await find().catch((error: unknown) => error)
  expect(failure).toMatchObject({ name: 'Failed', code })
  expect(String(failure)).not.toMatch(/E1001|Ross|ellen/)
})

test('a document larger than allowed is refused, by its announced content or inline', async () => {
  put({ id: 'a-rather-long-name' })
  await expect(find(wanted({ bytesMax: 10 }))).rejects.toMatchObject({ code: 'document-refused' })
  clinic.commands.set({ content: 'inline' })
  await expect(find(wanted({ bytesMax: 10 }))).rejects.toMatchObject({ code: 'document-refused' })
})
