import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { cancelledDischargeOf, dischargeOf } from '../neighbours/hl7-messages.ts'
import type { Town } from '../neighbours/neighbourhood.ts'
import { ellen, ellensPhr, isaac } from '../neighbours/people.ts'
import { aTown } from '../neighbours/town.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'

const startMsMax = 120_000
const storyMsMax = 60_000

let database: TestDatabase
let town: Town
let folder: string

beforeAll(async () => {
  database = await freshDatabase()
  town = await aTown({ database: database.url, authorization: { triggers: ['discharge'] } })
  // What it does by itself would be mixed with what trying does.
  await town.engine.stop()
  folder = mkdtempSync(join(tmpdir(), 'bluepost-try-'))
}, startMsMax)
afterAll(async () => {
  await town?.close()
  await database?.close()
  rmSync(folder, { recursive: true, force: true })
}, startMsMax)

/** Everything that a message leaves behind in the database. */
async function rowsOf(): Promise<unknown> {
  const tables = ['message', 'trigger_event', 'verdict', 'transmission', 'document', 'audit']
  const counts = tables.map((table) => `(SELECT count(*)::int FROM ${table}) AS ${table}`)
  const [row] = await database.dataSource.query<unknown[]>(`SELECT ${counts.join(', ')}`)
  return row
}

function saved(name: string, ...messages: readonly string[]): string {
  const file = join(folder, name)
  writeFileSync(file, messages.join(''))
  return file
}

interface Answer {
  readonly database: { readonly asked: boolean }
  readonly messages: readonly {
    readonly acknowledged: string
    readonly matching: {
      readonly outcome: string
      readonly verdicts: readonly {
        readonly outcome: string
        readonly documents: {
          readonly passed: boolean
          readonly code?: string
          readonly documents?: { readonly source: string }[]
        }
        readonly recipients: readonly {
          readonly destination: string
          readonly trusted: boolean
          readonly trace: unknown[]
        }[]
      }[]
    }
  }[]
}

test(
  'a discharge is followed to the trusted certificate, and nothing is stored or sent',
  async () => {
    const before = await rowsOf()
    const file = saved('a03.hl7', dischargeOf(ellen))
    const { code, stdout, stderr } = await town.engine.command('try', file, '--json')
    expect([code, stderr]).toEqual([0, ''])
    const { database: asked, messages } = JSON.parse(stdout) as Answer
    expect(asked).toEqual({ asked: true })
    expect(messages).toMatchObject([{ acknowledged: 'AA', matching: { outcome: 'matched' } }])
    const [verdict] = messages[0]!.matching.verdicts
    expect(verdict).toMatchObject({
      documents: { passed: true, documents: [{ role: 'clinical-summary', mediaType: 'application/xml' }] },
      recipients: [{ destination: ellensPhr, trusted: true }],
    })
    expect(verdict!.recipients[0]!.trace.length).toBeGreaterThan(0)
    expect(await rowsOf()).toEqual(before)
    expect(town.phr.inbox).toEqual([])
  },
  storyMsMax,
)

test(
  'in words, and masked: no name, number or date of the patient is left',
  async () => {
    const file = saved('masked.hl7', dischargeOf(ellen))
    const plain = await town.engine.command('try', file)
    expect(plain.stdout).toContain('PID-5.1 = Ross')
    expect(plain.stdout).toContain('Nothing was stored and nothing was sent.')
    expect(plain.stdout).toMatch(/matched: .*\n.*clinical-summary: found in .*passed the gate/)
    const { stdout } = await town.engine.command('try', file, '--mask')
    expect(stdout).toContain('PID-5.1 = Xxxx')
    expect(stdout).toContain('encounter.class')
    for (const secret of [
      'Ross',
      'ross',
      'Ellen',
      'ellen',
      '1956',
      ...ellen.identifiers.map(({ value }) => value),
    ])
      expect(stdout).not.toContain(secret)
  },
  storyMsMax,
)

test(
  'of a batch each message is told by itself: no authorization, and a document that cannot be had',
  async () => {
    await town.clinic.fails({ how: 'status', status: 503 })
    const file = saved('batch.hl7', dischargeOf(isaac), dischargeOf(ellen))
    const { code, stdout } = await town.engine.command('try', file)
    await town.clinic.fails(null)
    expect(code).toBe(1)
    const [first, second] = stdout.split('Message 2 of 2')
    expect(first).toContain('none: no authorization has any of the')
    expect(second).toMatch(/documents: .*\[fhir-unavailable\]/)
    expect(second).toContain(`${ellensPhr}: would be encrypted to`)
  },
  storyMsMax,
)

test(
  'somebody else with her number is held, and nothing is fetched; a cancel fetches nothing either',
  async () => {
    const twin = saved('twin.hl7', dischargeOf({ ...ellen, birthDate: '1957-01-31' }))
    const held = await town.engine.command('try', twin)
    expect(held.code).toBe(0)
    expect(held.stdout).toMatch(/held: .*birth date/)
    expect(held.stdout).toContain('nothing is fetched before a person releases it')
    expect(held.stdout).not.toContain('clinical-summary')
    const cancel = saved('cancel.hl7', cancelledDischargeOf(ellen, 'V1'))
    const cancelled = await town.engine.command('try', cancel)
    expect(cancelled.stdout).toMatch(/cancels +true/)
    expect(cancelled.stdout).not.toContain('clinical-summary')
  },
  storyMsMax,
)

test(
  'without a database it says so and shows the rest',
  async () => {
    const file = saved('alone.hl7', dischargeOf(ellen))
    const offline = await town.engine.command('try', file, '--offline')
    expect(offline).toMatchObject({ code: 0, stdout: expect.stringContaining('not asked: --offline') })
    expect(offline.stdout).toContain('Trigger event')
  },
  storyMsMax,
)
