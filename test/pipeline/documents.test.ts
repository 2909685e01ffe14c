import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals'
import { createHash, randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { loadChannels } from '../../src/channels/load.ts'
import { usualConfidentiality } from '../../src/documents/confidentiality.ts'
import { documentFolder } from '../../src/documents/file-documents.ts'
import type { Authorization } from '../../src/domain/authorization.ts'
import type { ChannelPlan } from '../../src/domain/channel.ts'
import type { TriggerKind } from '../../src/domain/trigger-event.ts'
import { makeRoomForDays } from '../../src/engine/work.ts'
import { decide } from '../../src/pipeline/decide.ts'
import { obtainDocuments, type DocumentPorts } from '../../src/pipeline/obtain-document.ts'
import { readBlob } from '../../src/store/blobs.ts'
import { readBlindKey } from '../../src/store/decisions.ts'
import { documentsOf, type StoredDocument } from '../../src/store/documents.ts'
import { entities } from '../../src/store/entities.ts'
import { openInboundMessages } from '../../src/store/inbound-messages.ts'
import { queryOf, type Query } from '../../src/store/query.ts'
import { readTransmission } from '../../src/store/transmissions.ts'
import { readDocuments } from '../../src/store/views.ts'
import { ccdOf, hl7Time, type CcdChoices, type Person } from '../neighbours/ccd.ts'
import { aMessage, anAuthorization } from '../store/ellen.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'

const { plans } = loadChannels({
  channelsDirectory: 'channels',
  mappingsDirectory: 'mappings',
  environment: {},
})
const system = 'urn:oid:2.16.840.1.113883.19.5.1'
const pdf = Buffer.from('%PDF-1.7\nabout nobody in particular\n%%EOF')

let database: TestDatabase
let query: Query
let store: ReturnType<typeof openInboundMessages>
let folder: string
let ports: DocumentPorts
let channels: readonly ChannelPlan[] = plans
let ellen: Person
let authorization: Authorization
let now: Date

beforeAll(async () => {
  database = await freshDatabase({ entities })
  query = queryOf(database.dataSource)
  await makeRoomForDays(database.dataSource, new Date())
  store = openInboundMessages(database.dataSource)
})
beforeEach(async () => {
  now = new Date()
  folder = mkdtempSync(join(tmpdir(), 'documents-'))
  channels = plans
  await asks()
  ports = {
    dataSource: database.dataSource,
    places: [
      {
        name: 'archive',
        confidentiality: usualConfidentiality,
        find: (wanted, at) => documentFolder(folder, 'archive', new Map()).find(wanted, at),
      },
    ],
    documents: {
      codes: ['34133-9', '18842-5'],
      additional: new Map<TriggerKind, string[]>([['discharge', ['18842-5']]]),
      bytesMax: 1_000_000,
      freshnessToleranceMs: 3_600_000,
      retry: { firstDelayMs: 1, factor: 1, delayMsMax: 1, deadlineMs: 1 },
    },
    plan: (name) => channels.find((plan) => plan.name === name),
    confidentialityOf: () => usualConfidentiality,
    aliases: new Map(),
    timezone: 'UTC',
    now: () => now,
  }
})
afterAll(async () => {
  await store.close()
  await database.close()
  rmSync(folder, { recursive: true })
})

/** Somebody new, who asked for everything. */
async function asks(sensitiveData: 'excluded' | 'included' = 'excluded'): Promise<void> {
  const value = `E${randomUUID().slice(0, 8)}`
  const identifiers = [{ system, value, type: 'MR' }]
  ellen = { id: 'ellen', identifiers, family: 'Ross', given: 'Ellen', birthDate: '1956-08-14' }
  authorization = await anAuthorization(database.dataSource, {
    patient: { identifiers, family: 'Ross', given: 'Ellen', birthDate: '1956-08-14' },
    triggers: ['discharge', 'new-document', 'eob-available'],
    validFrom: new Date(now.getTime() - 86_400_000),
    sensitiveData,
  })
}

const ccd = (choices: Partial<CcdChoices> = {}, person = ellen) =>
  ccdOf(person, { effectiveTime: now, bytes: 20_000, ...choices })

function archive(...documents: (readonly [name: string, code: string, content: Buffer])[]): void {
  for (const [name, , content] of documents) writeFileSync(join(folder, name), content)
  writeFileSync(
    join(folder, 'index.tsv'),
    [
      'authority\tidentifier\tfile\tcode',
      ...documents.map(([name, code]) => `${system}\t${ellen.identifiers[0]!.value}\t${name}\t${code}`),
    ].join('\n'),
  )
}

function mdm(...documents: (readonly [subtype: string, content: Buffer])[]): Buffer {
  const time = hl7Time(now)
  return Buffer.from(
    [
      `MSH|^~\\&|NOTES|ASHBY|B|ASHBY|${time}||MDM^T02^MDM_T02|${randomUUID()}|P|2.5.1`,
      `EVN|T02|${time}`,
      `PID|1||${ellen.identifiers[0]!.value}^^^ASHBY&2.16.840.1.113883.19.5.1&ISO^MR||Ross^Ellen||19560814|F`,
      `PV1|1|I|||||||||||||||||V${randomUUID()}`,
      `TXA|1|DS|TX|${time}||||||||D${randomUUID()}|||||LA||AV`,
      ...documents.map(
        ([subtype, content], n) =>
          `OBX|${n + 1}|ED|D${n}||^x^${subtype}^Base64^${content.toString('base64')}||||||F`,
      ),
    ].join('\r'),
  )
}

function claim(changes: object = {}): Buffer {
  const resource = {
    resourceType: 'ExplanationOfBenefit',
    id: randomUUID(),
    meta: { lastUpdated: now.toISOString() },
    status: 'active',
    use: 'claim',
    outcome: 'complete',
    patient: { reference: 'Patient/m-5' },
    ...changes,
  }
  const patient = {
    resourceType: 'Patient',
    id: 'm-5',
    identifier: [{ system, value: ellen.identifiers[0]!.value }],
    name: [{ family: 'Ross' }],
    birthDate: '1956-08-14',
  }
  const entry = [{ resource }, { resource: patient }]
  return Buffer.from(JSON.stringify({ resourceType: 'Bundle', type: 'collection', entry }))
}

/** The message is kept and decided. @returns the id of the transmission it made */
async function told(channel: string, content: Buffer): Promise<string> {
  const digest = createHash('sha256').update(content).digest()
  await store.keep(aMessage({ channel, content, digest, receivedAt: now, lane: 1 }))
  await decide(
    {
      dataSource: database.dataSource,
      channel: ports.plan,
      aliases: new Map(),
      blindKey: await readBlindKey(query),
      holdMaxMs: 0,
      deliveryRequested: true,
      now: () => now,
    },
    [1],
  )
  const [row] = await query<{ id: string }>('SELECT id FROM transmission WHERE authorization_id = $1', [
    authorization.id,
  ])
  return row!.id
}

async function obtained(id: string): Promise<string[]> {
  const documents = await obtainDocuments(ports, (await readTransmission(query, id))!, authorization)
  return documents.map(({ role, fileName, mediaType }) => `${role} ${fileName} ${mediaType}`)
}

async function bytesOf({ blobId }: StoredDocument): Promise<Buffer> {
  const pieces: Buffer[] = []
  for await (const piece of readBlob(query, blobId)) pieces.push(Buffer.from(piece))
  return Buffer.concat(pieces)
}

test('the C-CDA of an MDM is what is sent, byte by byte, and its PDF goes along', async () => {
  const document = ccd()
  const id = await told('documents', mdm(['xml', document], ['pdf', pdf]))
  const expected = [
    'clinical-summary clinical-summary.xml application/xml',
    'additional document.pdf application/pdf',
  ]
  expect(await obtained(id)).toEqual(expected)
  const stored = await documentsOf(query, id)
  expect(await Promise.all(stored.map(bytesOf))).toEqual([document, pdf])
  expect((await readDocuments(query, id)).map(({ source }) => source)).toEqual(
    expect.arrayContaining([expect.stringMatching(/^message \d+ OBX\[1\]-5$/)]),
  )
  // Asked again, the same ones are meant.
  expect(await obtained(id)).toEqual(expected)
  expect(await documentsOf(query, id)).toEqual(stored)
})

test('a message with nothing but a PDF takes the summary from where documents are', async () => {
  archive(['a.xml', '34133-9', ccd()])
  expect(await obtained(await told('documents', mdm(['pdf', pdf])))).toEqual([
    'clinical-summary clinical-summary.xml application/xml',
    'additional document.pdf application/pdf',
  ])
})

test('of two C-CDAs in a message the last is the summary; what is there twice goes once', async () => {
  const [one, two] = [ccd(), ccd({ seed: 'two' })]
  const id = await told('documents', mdm(['xml', one], ['xml', two], ['xml', one]))
  expect(await obtained(id)).toEqual([
    'clinical-summary clinical-summary.xml application/xml',
    'additional document.xml application/xml',
  ])
  expect(await bytesOf((await documentsOf(query, id))[0]!)).toEqual(one)
})

test('a document of somebody else in her message is held', async () => {
  const isaac = { ...ellen, identifiers: [{ system, value: 'E9999' }], family: 'Newman' }
  const id = await told('documents', mdm(['xml', ccd({}, isaac)]))
  await expect(obtained(id)).rejects.toMatchObject({ code: 'document-identity' })
  expect(await documentsOf(query, id)).toEqual([])
})

test('one that goes along is held like the summary: of somebody else, or restricted', async () => {
  const isaac = { ...ellen, identifiers: [{ system, value: 'E9999' }], family: 'Newman' }
  const other = await told('documents', mdm(['xml', ccd({}, isaac)], ['xml', ccd()]))
  await expect(obtained(other)).rejects.toMatchObject({ code: 'document-identity' })
  await asks()
  const restricted = await told(
    'documents',
    mdm(['xml', ccd({ confidentiality: 'R', seed: 'r' })], ['xml', ccd()]),
  )
  await expect(obtained(restricted)).rejects.toMatchObject({ code: 'document-refused' })
})

test('a PDF whose message the channel would not take any more is held', async () => {
  archive(['a.xml', '34133-9', ccd()])
  const id = await told('documents', mdm(['pdf', pdf]))
  const { mapping } = plans.find(({ name }) => name === 'documents')!
  channels = plans.map((plan) =>
    plan.name === 'documents'
      ? {
          ...plan,
          mapping: { ...mapping, rows: mapping.rows.filter(({ to }) => to !== 'patient.birthDate') },
        }
      : plan,
  )
  await expect(obtained(id)).rejects.toMatchObject({ code: 'document-identity' })
})

test('base64 that is broken, and a message whose content is gone, are said and held', async () => {
  const broken = Buffer.from(mdm(['xml', ccd()]).toString().replace('^Base64^PD', '^Base64^P!'))
  await expect(obtained(await told('documents', broken))).rejects.toMatchObject({ code: 'document-refused' })
  await asks()
  const id = await told('documents', mdm(['xml', ccd()]))
  await query('DELETE FROM message_content')
  await expect(obtained(id)).rejects.toMatchObject({
    code: 'document-forgotten',
    because: expect.stringContaining('retention of channel documents'),
  })
})

test('a channel that attaches nothing takes nothing out of its messages', async () => {
  archive(['a.xml', '34133-9', ccd()])
  channels = plans.map(({ attach: _, ...plan }) => plan)
  expect(await obtained(await told('documents', mdm(['xml', ccd({ seed: 'x' })], ['pdf', pdf])))).toEqual([
    'clinical-summary clinical-summary.xml application/xml',
  ])
})

test('a claim goes along with the summary, or stands for it where the channel says so', async () => {
  archive(['a.xml', '34133-9', ccd()])
  expect(await obtained(await told('eob-feed', claim()))).toEqual([
    'clinical-summary clinical-summary.xml application/xml',
    'additional explanation-of-benefit.json application/fhir+json',
  ])
  await asks()
  channels = plans.map((plan) => (plan.name === 'eob-feed' ? { ...plan, attach: 'summary' } : plan))
  expect(await obtained(await told('eob-feed', claim()))).toEqual([
    'clinical-summary explanation-of-benefit.json application/fhir+json',
  ])
})

test('a claim about substance use is held, unless the authorization covers it', async () => {
  const diagnosis = [
    {
      diagnosisCodeableConcept: { coding: [{ system: 'http://hl7.org/fhir/sid/icd-10-cm', code: 'F1120' }] },
    },
  ]
  channels = plans.map((plan) => (plan.name === 'eob-feed' ? { ...plan, attach: 'summary' } : plan))
  const held = await told('eob-feed', claim({ diagnosis }))
  await expect(obtained(held)).rejects.toMatchObject({ code: 'document-refused' })
  await asks('included')
  expect(await obtained(await told('eob-feed', claim({ diagnosis })))).toHaveLength(1)
})

test('by trigger a further document goes along, where there is one that is new enough', async () => {
  const discharge = () => Buffer.from(mdm().toString().replace('MDM^T02^MDM_T02', 'ADT^A03^ADT_A03'))
  const summary = ccd()
  archive(['b.xml', '18842-5', ccd({ code: '18842-5' })], ['a.xml', '34133-9', summary])
  const id = await told('adt-discharge', discharge())
  expect(await obtained(id)).toEqual([
    'clinical-summary clinical-summary.xml application/xml',
    'additional discharge-summary.xml application/xml',
  ])
  expect(await bytesOf((await documentsOf(query, id))[0]!)).toEqual(summary)

  await asks()
  const old = new Date(now.getTime() - 2 * 86_400_000)
  archive(['b.xml', '18842-5', ccd({ code: '18842-5', effectiveTime: old })], ['a.xml', '34133-9', ccd()])
  expect(await obtained(await told('adt-discharge', discharge()))).toEqual([
    'clinical-summary clinical-summary.xml application/xml',
  ])
})

test('what one place lacks the next may have; what a source means by its labels is its own', async () => {
  const stamped = ccd({ confidentiality: 'R' })
  archive(['a.xml', '34133-9', stamped])
  const [place] = ports.places
  const empty = mkdtempSync(join(tmpdir(), 'empty-'))
  const lacking = {
    name: 'empty',
    confidentiality: usualConfidentiality,
    find: documentFolder(empty, 'empty', new Map()).find,
  }
  const id = await told('documents', mdm())
  ports = { ...ports, places: [lacking] }
  await expect(obtained(id)).rejects.toMatchObject({ code: 'document-missing' })
  ports = { ...ports, places: [lacking, place!] }
  await expect(obtained(id)).rejects.toMatchObject({ code: 'document-refused' })
  const stamps = { ...usualConfidentiality, restricted: 'send' } as const
  ports = { ...ports, places: [lacking, { ...place!, confidentiality: stamps }] }
  expect(await obtained(id)).toHaveLength(1)
  rmSync(empty, { recursive: true })
})

test('what was fetched is fetched again where something happened since that it is too old for', async () => {
  archive(['a.xml', '34133-9', ccd()])
  const id = await told('documents', mdm())
  await obtained(id)
  const [first] = await documentsOf(query, id)
  now = new Date(now.getTime() + 2 * 3_600_000)
  await query('UPDATE transmission SET occurred_at = $2 WHERE id = $1', [id, now])
  await expect(obtained(id)).rejects.toMatchObject({ code: 'document-stale' })
  archive(['a.xml', '34133-9', ccd({ seed: 'later' })])
  await obtained(id)
  expect((await documentsOf(query, id)).map(({ sha256 }) => sha256)).not.toContain(first!.sha256)
})
