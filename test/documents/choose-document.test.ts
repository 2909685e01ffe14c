import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { createHash } from 'node:crypto'
import { fhirServer } from '../../src/documents/fhir-server.ts'
import { findDocuments, type WantedDocument } from '../../src/documents/find-document.ts'
import { aSetting, bundle, json, startAnswering, type AnsweringServer } from './answering-server.ts'

const ashby = 'urn:oid:2.16.840.1.113883.19.5'

let clinic: AnsweringServer
beforeAll(async () => {
  clinic = await startAnswering()
})
afterAll(() => clinic.close())

const ellen = {
  resourceType: 'Patient',
  id: 'ellen',
  identifier: [{ system: ashby, value: 'E1001' }],
  name: [{ family: 'Ross' }],
  birthDate: '1956-08-14',
}

/** A listed C-CDA whose content names its id. */
function listed(id: string, changes: Record<string, unknown> = {}, attachment: Record<string, unknown> = {}) {
  return {
    resourceType: 'DocumentReference',
    id,
    status: 'current',
    subject: { reference: 'Patient/ellen' },
    type: { coding: [{ system: 'http://loinc.org', code: '34133-9' }] },
    content: [{ attachment: { contentType: 'text/xml', url: `Binary/${id}`, ...attachment } }],
    ...changes,
  }
}

/** Answers the search for documents with these; `ofEncounter` where an encounter is asked for. */
function lists(
  all: object[],
  { ofEncounter = [], docref }: { ofEncounter?: object[]; docref?: object[] } = {},
) {
  clinic.answer(({ path }, response) => {
    if (path.startsWith('/fhir/Patient')) return json(response, bundle([ellen]))
    if (path.includes('$docref'))
      return docref === undefined ? json(response, {}, 404) : json(response, bundle(docref))
    if (path.startsWith('/fhir/DocumentReference'))
      return json(response, bundle(path.includes('encounter=') ? ofEncounter : all))
    response.end(`<${path.slice('/fhir/Binary/'.length)}/>`)
  })
}

async function find(changes: Partial<WantedDocument> = {}): Promise<string> {
  const server = fhirServer(aSetting(clinic.base), { pause: () => Promise.resolve() })
  const wanted = {
    patient: { identifiers: [{ system: ashby, value: 'E1001' }], family: 'Ross', birthDate: '1956-08-14' },
    aliases: new Map<string, string>(),
    documentCodes: ['34133-9', '18842-5'],
    bytesMax: 1000,
    ...changes,
  }
  return (await findDocuments(server, wanted, new Date())).summary.bytes.toString()
}

test('the newest is chosen, whatever order the server lists them in', async () => {
  lists([
    listed('undated'),
    listed('old', { date: '2026-01-01' }),
    listed('newest', { date: '2026-03-01T08:00:00+02:00' }),
    listed('middle', { date: '2026-02-01' }),
  ])
  expect(await find()).toBe('<newest/>')
})

test('of one day the better format is chosen', async () => {
  const date = '2026-03-01T08:00:00Z'
  const formatted = listed('structured', { date })
  lists([
    listed('plain', { date }),
    {
      ...formatted,
      content: [{ ...formatted.content[0], format: { code: 'urn:hl7-org:sdwg:ccda-structuredBody:2.1' } }],
    },
  ])
  expect(await find()).toBe('<structured/>')
})

test('what the server lists although it was not asked for is passed over', async () => {
  lists([
    listed('progress', {
      date: '2026-03-05',
      type: { coding: [{ system: 'http://loinc.org', code: '11506-3' }] },
    }),
    listed('superseded', { date: '2026-03-04', status: 'superseded' }),
    listed('preliminary', { date: '2026-03-03', docStatus: 'preliminary' }),
    listed('pdf', { date: '2026-03-02' }, { contentType: 'application/pdf' }),
    listed('other', { date: '2026-03-01', subject: { reference: 'Patient/bates' } }),
    listed('hers', { date: '2026-02-01' }),
  ])
  expect(await find()).toBe('<hers/>')
})

test('nothing but documents of somebody else: a person has to look at that', async () => {
  const other = listed('other', { subject: { reference: 'Patient/bates' } })
  for (const how of [() => lists([other]), () => lists([], { docref: [other] })]) {
    how()
    await expect(find()).rejects.toMatchObject({ code: 'document-identity' })
    expect(clinic.asked.some(({ path }) => path.includes('Binary'))).toBe(false)
  }
})

test('a document without a type may be one: the gate will see', async () => {
  lists([listed('untyped', { type: undefined })])
  expect(await find()).toBe('<untyped/>')
})

test('a stale document of the encounter does not hide a fresh one beside it', async () => {
  const freshAfter = new Date('2026-02-15T00:00:00Z')
  const stale = listed('stale', { date: '2026-02-01' })
  const fresh = listed('fresh', { date: '2026-02-20' })
  lists([stale, fresh], { ofEncounter: [stale] })
  expect(await find({ freshAfter, encounter: 'e1' })).toBe('<fresh/>')
  lists([stale], { ofEncounter: [stale] })
  await expect(find({ freshAfter, encounter: 'e1' })).rejects.toMatchObject({ code: 'document-stale' })
  lists([fresh], { ofEncounter: [fresh] })
  await find({ freshAfter, encounter: 'e1' })
  expect(clinic.asked.filter(({ path }) => path.includes('DocumentReference?'))).toHaveLength(1)
})

test('a document known by its day only is not called older than it may be', async () => {
  lists([listed('same-day', { date: '2026-02-15' })])
  expect(await find({ freshAfter: new Date('2026-02-15T18:00:00Z') })).toBe('<same-day/>')
})

const content = Buffer.from('<hers/>')
const sha1 = createHash('sha1').update(content).digest()
const sha256 = createHash('sha256').update(content).digest()

test.each<[string, Record<string, unknown>, boolean]>([
  ['size', { size: content.length }, true],
  ['SHA-1 in base64 (R4)', { hash: sha1.toString('base64') }, true],
  ['SHA-1 in hexadecimal', { hash: sha1.toString('hex') }, true],
  ['SHA-256 in base64', { hash: sha256.toString('base64') }, true],
  ['a hash of unknown length', { hash: 'AAAA' }, true],
  ['another size', { size: content.length + 1 }, false],
  ['another SHA-1', { hash: Buffer.alloc(20).toString('base64') }, false],
  ['another SHA-256', { hash: Buffer.alloc(32).toString('hex') }, false],
])('what is announced about the content has to hold: %s', async (_, announced, isFine) => {
  lists([listed('hers', {}, announced)])
  if (isFine) expect(await find()).toBe('<hers/>')
  else await expect(find()).rejects.toMatchObject({ code: 'document-refused' })
})

test.each<[string, string, string | undefined]>([
  ['base64', Buffer.from('<inline/>').toString('base64'), '<inline/>'],
  [
    'base64 in lines',
    `${Buffer.from('<inline/>').toString('base64').slice(0, 4)}\n${Buffer.from('<inline/>').toString('base64').slice(4)}`,
    '<inline/>',
  ],
  ['something else', '<inline/>', undefined],
])('inline content in %s', async (_, data, expected) => {
  lists([listed('inline', {}, { data, url: undefined })])
  if (expected !== undefined) expect(await find()).toBe(expected)
  else await expect(find()).rejects.toMatchObject({ code: 'document-refused' })
})

test('content wrapped in a Binary resource after all is unwrapped', async () => {
  lists([listed('wrapped')])
  const bytes = Buffer.from('\uFEFF<a>\r\n</a>')
  const resource = { resourceType: 'Binary', contentType: 'text/xml', data: bytes.toString('base64') }
  clinic.answer(({ path }, response) => {
    if (path.startsWith('/fhir/Patient')) return json(response, bundle([ellen]))
    if (path.includes('$docref')) return json(response, bundle([listed('wrapped')]))
    json(response, resource)
  })
  expect(await find()).toBe(bytes.toString())
})

test('a patient the server lists without the identifier asked for is not believed', async () => {
  clinic.answer((_, response) =>
    json(response, bundle([{ ...ellen, identifier: [{ system: ashby, value: 'E2' }] }])),
  )
  await expect(find()).rejects.toMatchObject({ code: 'document-identity' })
})
