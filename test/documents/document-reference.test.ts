import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { decodeBase64, unwrapBinary } from '../../src/documents/binary.ts'
import { readDocumentReference } from '../../src/documents/document-reference.ts'
import { patientIdOf, readFhirPatient } from '../../src/domain/fhir-patient.ts'

const structured21 = 'urn:hl7-org:sdwg:ccda-structuredBody:2.1'

function aReference(changes: Record<string, unknown> = {}, attachment: Record<string, unknown> = {}) {
  return {
    resourceType: 'DocumentReference',
    id: 'd1',
    status: 'current',
    type: { coding: [{ system: 'http://loinc.org', code: '34133-9' }] },
    subject: { reference: 'Patient/7' },
    date: '2026-05-01T10:00:00Z',
    content: [
      {
        attachment: { contentType: 'application/xml', url: 'Binary/1', ...attachment },
        format: { code: structured21 },
      },
    ],
    ...changes,
  }
}

test('what a current C-CDA says about itself is read', () => {
  const attachment = { size: 12, hash: 'abc=', creation: '2026-05-01T09:00:00Z' }
  expect(readDocumentReference(aReference({}, attachment))).toEqual([
    {
      id: 'd1',
      patientId: '7',
      codes: ['34133-9'],
      date: new Date('2026-05-01T09:00:00Z'),
      rank: 0,
      attachment: { url: 'Binary/1', size: 12, hash: 'abc=' },
    },
  ])
})

test.each([
  ['superseded', { status: 'superseded' }],
  ['entered in error', { status: 'entered-in-error' }],
  ['preliminary', { docStatus: 'preliminary' }],
  ['marked as an error', { docStatus: 'entered-in-error' }],
  ['without status', { status: undefined }],
  ['without content', { content: [] }],
  ['another resource', { resourceType: 'Composition' }],
])('not a candidate: %s', (_, changes) => {
  expect(readDocumentReference(aReference(changes))).toBeUndefined()
})

test.each(['final', 'amended'])('docStatus %s is fine', (docStatus) => {
  expect(readDocumentReference(aReference({ docStatus }))).toHaveLength(1)
})

test('the format comes before the media type: US Core’s own CCD is labelled text/plain', () => {
  expect(readDocumentReference(aReference({}, { contentType: 'text/plain' }))).toHaveLength(1)
  const plain = { attachment: { contentType: 'text/plain', url: 'Binary/1' } }
  expect(readDocumentReference(aReference({ content: [plain] }))).toBeUndefined()
  const ranks = [
    { format: { code: structured21 } },
    { format: { code: 'urn:hl7-org:sdwg:ccda-structuredBody:1.1' } },
    { format: { code: 'urn:hl7-org:sdwg:ccda-nonXMLBody:2.1' } },
    { attachment: { contentType: 'Text/XML; charset=utf-8' } },
  ].map(({ attachment, ...rest }: { attachment?: object; format?: object }) => {
    const content = [{ attachment: { url: 'Binary/1', ...attachment }, ...rest }]
    return readDocumentReference(aReference({ content }))![0]!.rank
  })
  expect(ranks).toEqual([...ranks].sort((a, b) => a - b))
  expect(new Set(ranks).size).toBe(4)
})

test.each(['application/pdf', 'text/html', 'application/json', undefined])(
  'media type %s is no C-CDA',
  (contentType) => {
    const content = [{ attachment: { url: 'Binary/1', contentType } }]
    expect(readDocumentReference(aReference({ content }))).toBeUndefined()
  },
)

test.each([
  ['2026', '2026-12-31T23:59:59.999Z'],
  ['2026-02', '2026-02-28T23:59:59.999Z'],
  ['2026-12', '2026-12-31T23:59:59.999Z'],
  ['2026-02-28', '2026-02-28T23:59:59.999Z'],
  ['2026-02-28T10:00:00-05:00', '2026-02-28T15:00:00.000Z'],
])('a date of %s means at the latest %s', (date, latest) => {
  expect(readDocumentReference(aReference({ date }))![0]!.date?.toISOString()).toBe(latest)
})

test.each(['yesterday', '2026-13-45T99:00:00Z', 5, null, {}])('the date %s is none', (date) => {
  expect(readDocumentReference(aReference({ date }))![0]).not.toHaveProperty('date')
})

test.each([
  ['Patient/7', '7'],
  ['https://clinic.example/fhir/Patient/7', '7'],
  ['Patient/7/_history/2', '7'],
  ['Group/7', undefined],
  ['Patient/7/x', undefined],
  ['Patient/', undefined],
  ['#contained', undefined],
])('the reference %s names patient %s', (reference, id) => {
  expect(patientIdOf({ reference })).toBe(id)
})

test('any JSON at all is read without stumbling', () => {
  const wild = fc.dictionary(
    fc.constantFrom(
      'resourceType',
      'status',
      'content',
      'type',
      'subject',
      'date',
      'identifier',
      'name',
      'link',
      'id',
    ),
    fc.oneof(
      fc.jsonValue({ maxDepth: 1 }),
      fc.constantFrom('DocumentReference', 'Patient', 'current'),
      fc.array(
        fc.dictionary(
          fc.constantFrom('attachment', 'format', 'coding', 'system', 'value'),
          fc.jsonValue({ maxDepth: 1 }),
        ),
      ),
    ),
  )
  fc.assert(
    fc.property(wild, (resource) => {
      readDocumentReference(resource as never)
      readFhirPatient(resource)
    }),
    { numRuns: 500 },
  )
})

test('a Patient is read with what can be used of it', () => {
  expect(
    readFhirPatient({
      resourceType: 'Patient',
      id: '7',
      identifier: [
        { system: 'urn:oid:1.2', value: 'E1', type: { coding: [{}, { code: 'MR' }] } },
        { system: 'urn:oid:1.2' },
        { value: 'x' },
        'nonsense',
      ],
      name: [{ family: 'Ross' }, { use: 'maiden', family: 'Miller' }, { text: 'Ellen' }],
      birthDate: '1956-08-14',
      link: [
        { type: 'replaced-by', other: { reference: 'Patient/8' } },
        { type: 'seealso', other: { reference: 'Patient/9' } },
      ],
    }),
  ).toEqual({
    id: '7',
    identifiers: [{ system: 'urn:oid:1.2', value: 'E1', type: 'MR' }],
    families: ['Ross', 'Miller'],
    birthDate: '1956-08-14',
    replacedBy: ['8'],
  })
})

const content = Buffer.from('\uFEFF<a>\r\nü</a>')
const encoded = content.toString('base64')

test.each([
  ['JSON', JSON.stringify({ resourceType: 'Binary', data: encoded })],
  ['JSON behind a byte order mark', `\uFEFF ${JSON.stringify({ resourceType: 'Binary', data: encoded })}`],
  ['STU3 JSON', JSON.stringify({ resourceType: 'Binary', content: encoded })],
  [
    'JSON with base64 in lines',
    JSON.stringify({ resourceType: 'Binary', data: encoded.replace(/(.{8})/g, '$1\r\n') }),
  ],
  ['XML', `<?xml version="1.0"?>\n<Binary xmlns="http://hl7.org/fhir"><data value="${encoded}"/></Binary>`],
  ['XML with a prefix', `<f:Binary xmlns:f="http://hl7.org/fhir"><f:content value="${encoded}"/></f:Binary>`],
])('a wrapped Binary is unwrapped: %s', (_, wrapped) => {
  expect(unwrapBinary(Buffer.from(wrapped), 'clinic').equals(content)).toBe(true)
})

test.each([
  ['a document', '<?xml version="1.0"?><ClinicalDocument xmlns="urn:hl7-org:v3"/>'],
  ['JSON that is something else', '{"resourceType":"Patient"}'],
  ['something that only begins like JSON', '{not json'],
  ['nothing', ''],
])('anything else stays as it is: %s', (_, text) => {
  const bytes = Buffer.from(text)
  expect(unwrapBinary(bytes, 'clinic')).toBe(bytes)
})

test.each([
  ['no content', '{"resourceType":"Binary"}', 'document-refused'],
  ['content that is not base64', '{"resourceType":"Binary","data":"a*b="}', 'document-refused'],
  [
    'a DOCTYPE',
    '<?xml version="1.0"?><Binary xmlns="http://hl7.org/fhir"><!DOCTYPE x></Binary>',
    'document-refused',
  ],
  ['broken XML', '<Binary xmlns="http://hl7.org/fhir"><data value="', 'document-refused'],
  ['an OperationOutcome', '{"resourceType":"OperationOutcome"}', 'fhir-refused'],
])('a Binary with %s is refused', (_, text, code) => {
  expect(() => unwrapBinary(Buffer.from(text), 'clinic')).toThrow(expect.objectContaining({ code }))
})

test('base64 is decoded exactly or not at all', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      const text = Buffer.from(bytes).toString('base64')
      expect(decodeBase64(text)?.equals(Buffer.from(bytes))).toBe(true)
      if (text.length > 0) {
        expect(decodeBase64(text.slice(0, -1))).toBeUndefined()
        expect(decodeBase64(`${text.slice(0, -1)}*`)).toBeUndefined()
      }
    }),
  )
})
