import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals'

// Each call starts a process.
jest.setTimeout(60_000)

const root = join(import.meta.dirname, '../..')
const a03 = join(root, 'channels/samples/a03.hl7')
const then = '2026-03-02T12:00:00-05:00'
let folder: string

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'bluepost-try-'))
  writeFileSync(
    join(folder, 'bluepost.yaml'),
    `channelsDirectory: ${join(root, 'channels')}\nmappingsDirectory: ${join(root, 'mappings')}\n`,
  )
})
afterAll(() => rmSync(folder, { recursive: true }))

async function tries(
  words: readonly string[],
  input = '',
): Promise<{ code: number; out: string; err: string }> {
  const env = { ...process.env, NODE_OPTIONS: '', DATABASE_URL: '' }
  const child = spawn(process.execPath, [join(root, 'src/cli.ts'), 'try', ...words], { cwd: folder, env })
  const said = { out: '', err: '' }
  child.stdout.setEncoding('utf8').on('data', (text: string) => (said.out += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said.err += text))
  child.stdin.end(input)
  const [code] = (await once(child, 'close')) as [number]
  return { code, ...said }
}

const eob = (id: string, status: string) =>
  JSON.stringify({
    resourceType: 'ExplanationOfBenefit',
    id,
    status,
    use: 'claim',
    outcome: 'complete',
    meta: { lastUpdated: '2026-03-02T20:00:00Z' },
    patient: { reference: 'Patient/m-5' },
  })

test('a message is followed step by step; without a database that is said and none is made', async () => {
  const { code, out, err } = await tries([a03, '--at', then])
  expect([code, err]).toEqual([0, ''])
  expect(out).toContain('The sender is answered AA.')
  expect(out).toMatch(/✓ \S+adt-discharge\.yaml:\d+ {2}MSH-9\.1 is ADT\n {6}MSH-9\.1 = ADT\n/)
  expect(out).toContain('table discharge-disposition: 01 → home')
  expect(out).toMatch(/encounter\.disposition +home/)
  expect(out).toContain('holds no database yet')
  expect(existsSync(join(folder, 'var'))).toBe(false)
})

test('an old message is filtered by its age: exit 0; a quarantined one is a finding: exit 1', async () => {
  expect(await tries([a03])).toMatchObject({
    code: 0,
    out: expect.stringContaining('Filtered: older than 3 days'),
  })
  const odd = readFileSync(a03, 'utf8').replace('20260302113000', '20260230113000')
  expect(await tries(['-', '--at', then], odd)).toMatchObject({
    code: 1,
    out: expect.stringContaining('Quarantined: PV1-45 is not a time: no calendar has that day'),
  })
})

test('standard input, a batch in MLLP frames, masked, as JSON', async () => {
  const frame = `\u000b${readFileSync(a03, 'utf8')}\u001c\r`
  const { code, out } = await tries(['-', '--at', then, '--json', '--mask'], frame + frame)
  const { database, messages } = JSON.parse(out) as {
    database: unknown
    messages: { number: number; evaluation: { decision: string; event: unknown; trace: unknown[] } }[]
  }
  expect(code).toBe(0)
  expect(database).toMatchObject({ asked: false })
  expect(messages.map(({ number }) => number)).toEqual([1, 2])
  expect(messages[0]!.evaluation).toMatchObject({
    decision: 'trigger',
    event: {
      kind: 'discharge',
      patient: { family: 'Xxxx' },
      encounter: { class: 'IMP', disposition: 'home' },
    },
  })
  for (const secret of ['Ross', 'Ellen', '1956', 'E1001', 'V7788', '2026-03-02T16'])
    expect(out).not.toContain(secret)
})

test('FHIR resources, one a line', async () => {
  const lines = `${eob('e1', 'active')}\n${eob('e2', 'draft')}\n`
  const { code, out } = await tries(['-', '--channel', 'eob-feed', '--offline'], lines)
  expect(code).toBe(0)
  expect(out).toContain('The Patient was not asked for: try asks no server without the database.')
  expect(out).toContain('patient.reference                 Patient/m-5')
  expect(out).toMatch(/Message 2 of 2[^]*Filtered: /)
})

test('a merge of records is followed, not mapped', async () => {
  const merge = readFileSync(a03, 'utf8').replace('ADT^A03', 'ADT^A40') + 'MRG|E9^^^ASHBY&1.2.3.4&ISO^MR\r'
  const { out } = await tries(['-'], merge)
  expect(out).toContain('It changes whose records are whose (merge)')
})

test('what terminals obey does not reach them', async () => {
  const odd = readFileSync(a03, 'utf8').replace('Ross^', 'Ro\u001b[31mss^')
  expect((await tries(['-', '--at', then], odd)).out).toContain('Ro�[31mss')
})

test.each([
  [[], 'give one file'],
  [[a03, '--at', 'yesterday'], '--at is a moment with a time zone'],
  [[a03, '--channel', 'nowhere'], 'there is no channel “nowhere”'],
  [[a03, '--channel', 'eob-feed'], 'the file holds HL7v2 messages, channel eob-feed reads none'],
])('called wrongly, it says how: %j', async (words, because) => {
  const { code, err } = await tries(words)
  expect(code).toBe(2)
  expect(err).toContain(because)
})

test.each([
  ['', 'the file holds no message'],
  ['{}', 'say which channel'],
])('input of no use is refused: %j', async (input, because) => {
  const { code, out, err } = await tries(['-'], input)
  expect([code, out]).not.toEqual([0, ''])
  expect(err).toContain(because)
})
