import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFileSync, cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals'
import { setField } from '../../src/lib/hl7v2-edit.ts'
import { queryOf } from '../../src/store/query.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'

// Each call starts a process.
jest.setTimeout(120_000)

const root = join(import.meta.dirname, '../..')
let folder: string
let database: TestDatabase

beforeAll(async () => {
  database = await freshDatabase()
  folder = mkdtempSync(join(tmpdir(), 'bluepost-quarantine-'))
  for (const part of ['channels', 'mappings'])
    cpSync(join(root, part), join(folder, part), { recursive: true })
  writeFileSync(join(folder, 'bluepost.yaml'), `database: ${database.url}\n`)
  const content = setField(readFileSync(join(root, 'channels/samples/a03.hl7')), 'PV1-36', 'ZZ')
  await queryOf(database.dataSource)(
    `WITH m AS (
       INSERT INTO message (channel, received_at, received_on, sender, control_id, digest, bytes, peer, lane, state, code, cause, because)
       SELECT 'adt-discharge', '2026-03-02T17:00:00Z'::timestamptz, '2026-03-02', 'HIS', 'C' || n, '\\x00', 10, 'test', 3, 'quarantined', 'lookup-miss',
         'lookup-miss:discharge-disposition:"ZZ"', 'table discharge-disposition has no row for "ZZ"' FROM generate_series(1, 3) AS n
       RETURNING id, received_on)
     INSERT INTO message_content (received_on, message_id, content) SELECT received_on, id, $1 FROM m`,
    [content],
  )
  await queryOf(database.dataSource)(
    `INSERT INTO lookup_miss VALUES ('adt-discharge', 'discharge-disposition', 'shown', 'ZZ', 3, now(), now()),
       ('adt-discharge', 'discharge-disposition', 'hidden', '', 1, now(), now())`,
  )
})
afterAll(async () => {
  rmSync(folder, { recursive: true })
  await database.close()
})

async function bluepost(...words: string[]): Promise<{ code: number; out: string; err: string }> {
  const env = { ...process.env, NODE_OPTIONS: '', DATABASE_URL: '' }
  const child = spawn(process.execPath, [join(root, 'src/cli.ts'), ...words], { cwd: folder, env })
  const said = { out: '', err: '' }
  child.stdout.setEncoding('utf8').on('data', (text: string) => (said.out += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said.err += text))
  child.stdin.end()
  const [code] = (await once(child, 'close')) as [number]
  return { code, ...said }
}

test('a cause is found, corrected in a table, tested and released', async () => {
  const listed = await bluepost('quarantine')
  expect(listed).toMatchObject({ code: 0, err: '' })
  expect(listed.out).toContain('table discharge-disposition has no row for "ZZ": 3 messages since')
  expect(listed.out).toContain('add a row for "ZZ" to mappings/tables/discharge-disposition.csv')
  const [id] = listed.out.split(' ')
  const shown = await bluepost('quarantine', 'show', id!)
  expect(shown.out).toMatch(/ C1 {2}HIS/)

  const before = await bluepost('quarantine', 'test', id!)
  expect(before).toMatchObject({ code: 1 })
  appendFileSync(join(folder, 'mappings/tables/discharge-disposition.csv'), 'ZZ,home\n')
  const tables = await bluepost('tables')
  expect(tables.out).toMatch(/3 × "ZZ", last .*; it has a row now/)
  expect(tables.out).toMatch(/1 × values that are not shown/)
  const after = await bluepost('quarantine', 'test', id!, '--json')
  expect(JSON.parse(after.out)).toMatchObject({ tested: 3, quarantined: 0 })
  expect(after.code).toBe(0)
  expect((await bluepost('quarantine', 'list', '--since', '2026-03-01T00:00Z')).out).toContain('3 messages')

  expect(await bluepost('quarantine', 'release', id!, '--because', 'ZZ is home')).toMatchObject({
    code: 0,
    out: '3 messages will be decided again.\n',
  })
  expect((await bluepost('quarantine')).out).toBe('Nothing waits in quarantine.\n')
  const again = await bluepost('quarantine', 'release', id!)
  expect([again.code, again.err]).toEqual([1, `nothing waits in a group ${id}\n`])
})

test('a wrong call says how to call it', async () => {
  const wrong = [
    ['quarantine', 'free'],
    ['quarantine', 'show'],
    ['quarantine', '--since', 'lately'],
    ['tables', 'x'],
  ]
  for (const words of wrong) expect(await bluepost(...words)).toMatchObject({ code: 2, out: '' })
})
