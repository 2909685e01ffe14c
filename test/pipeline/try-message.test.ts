import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import type { DataSource } from 'typeorm'
import { loadChannels } from '../../src/channels/load.ts'
import { usualConfidentiality } from '../../src/documents/confidentiality.ts'
import type { Authorization } from '../../src/domain/authorization.ts'
import { readPartners } from '../../src/partners.ts'
import { tryMessage, type TryPorts } from '../../src/pipeline/try-message.ts'
import { parseSettings } from '../../src/settings.ts'
import { makeDataSource } from '../../src/store/data-source.ts'
import { queryOf } from '../../src/store/query.ts'
import { ccdOf, hl7Time, type CcdChoices, type Person } from '../neighbours/ccd.ts'
import { startNeighbour, type Neighbour } from '../neighbours/neighbour.ts'
import { anAuthorization, ellensPhr } from '../store/ellen.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'

const { plans } = loadChannels({
  channelsDirectory: 'channels',
  mappingsDirectory: 'mappings',
  environment: {},
})
const documents = plans.find(({ name }) => name === 'documents')!
const system = 'urn:oid:2.16.840.1.113883.19.5.1'
const ellen: Person = {
  id: 'ellen',
  identifiers: [{ system, value: 'E1', type: 'MR' }],
  family: 'Ross',
  given: 'Ellen',
  birthDate: '1956-08-14',
}
const now = new Date()

let database: TestDatabase
let looking: DataSource
let dns: Neighbour
let authorization: Authorization
let ports: TryPorts

beforeAll(async () => {
  database = await freshDatabase()
  dns = await startNeighbour('dns-server')
  looking = makeDataSource(database.url, { poolSize: 2, readOnly: true })
  await looking.initialize()
  authorization = await anAuthorization(database.dataSource, {
    patient: { identifiers: ellen.identifiers, family: 'Ross', given: 'Ellen', birthDate: ellen.birthDate },
    triggers: ['new-document'],
    validFrom: new Date(now.getTime() - 86_400_000),
  })
  const reading = parseSettings(
    `discovery: { dns: { servers: [ 127.0.0.1:${dns.port} ] }, ldap: { enabled: false } }`,
    undefined,
    {},
  )
  if (!reading.valid) throw new Error(JSON.stringify(reading.problems))
  const { discovery, trust } = readPartners(reading.settings, now)
  ports = {
    ...{ query: queryOf(looking), now: () => now, places: [], aliases: new Map(), timezone: 'UTC' },
    ...{ discovery, trust, localDomain: 'direct.ashby.example' },
    documents: { ...reading.settings.documents, codes: ['34133-9'] },
    plan: () => documents,
    confidentialityOf: () => usualConfidentiality,
  }
})
afterAll(async () => {
  await dns.stop()
  await looking.destroy()
  await database.close()
})

function mdm(choices: Partial<CcdChoices> = {}, person = ellen): Buffer {
  const time = hl7Time(now)
  const document = ccdOf(person, { effectiveTime: now, bytes: 20_000, ...choices })
  return Buffer.from(
    [
      `MSH|^~\\&|NOTES|ASHBY|B|ASHBY|${time}||MDM^T02^MDM_T02|${randomUUID()}|P|2.5.1`,
      `EVN|T02|${time}`,
      `PID|1||E1^^^ASHBY&2.16.840.1.113883.19.5.1&ISO^MR||Ross^Ellen||19560814|F`,
      'PV1|1|I|||||||||||||||||V1',
      `TXA|1|DS|TX|${time}||||||||D1|||||LA||AV`,
      `OBX|1|ED|D1||^x^xml^Base64^${document.toString('base64')}||||||F`,
    ].join('\r'),
  )
}

test('the document that a message brings passes the gate; the certificate nobody has published is told', async () => {
  const { matching } = await tryMessage(documents, mdm(), now, ports)
  expect(matching).toMatchObject({
    outcome: 'matched',
    verdicts: [
      {
        authorizationId: authorization.id,
        documents: {
          passed: true,
          documents: [
            { role: 'clinical-summary', source: 'message tried OBX[1]-5', mediaType: 'application/xml' },
          ],
        },
        recipients: [{ destination: ellensPhr, trusted: false, code: 'recipient-no-certificate' }],
      },
    ],
  })
  const [recipient] = matching!.verdicts[0]!.recipients!
  expect(recipient!.trace.map(({ outcome }) => outcome)).toContain('nothing')
})

test('a document about somebody else is refused at the gate, with its step', async () => {
  const { matching } = await tryMessage(documents, mdm({}, { ...ellen, birthDate: '1957-01-31' }), now, ports)
  expect(matching!.verdicts[0]!.documents).toMatchObject({
    passed: false,
    code: 'document-identity',
    step: expect.any(Number),
    advice: expect.stringMatching(/./),
  })
})

test('nothing is left in the database, and whoever only looks could not leave anything', async () => {
  const count = `SELECT (SELECT count(*) FROM message) + (SELECT count(*) FROM transmission) + (SELECT count(*) FROM document) AS rows`
  expect(await database.dataSource.query(count)).toEqual([{ rows: '0' }])
  await expect(queryOf(looking)('CREATE TABLE left_behind ()')).rejects.toThrow('read-only transaction')
})

test('without ports filter and mapping are told, and no database is asked', async () => {
  const tried = await tryMessage(documents, mdm(), now, undefined)
  expect(tried).toMatchObject({ evaluation: { decision: 'trigger' } })
  expect(tried.matching).toBeUndefined()
})
