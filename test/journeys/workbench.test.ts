import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { adtOf, dischargeOf } from '../neighbours/hl7-messages.ts'
import type { Town } from '../neighbours/neighbourhood.ts'
import { ellen } from '../neighbours/people.ts'
import { aTown } from '../neighbours/town.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'

const startMsMax = 120_000
const storyMsMax = 60_000
const root = join(import.meta.dirname, '../..')

let database: TestDatabase
let town: Town
let folder: string

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'bluepost-candidate-'))
  for (const part of ['channels', 'mappings'])
    cpSync(join(root, part), join(folder, part), { recursive: true })
  database = await freshDatabase()
  town = await aTown({ database: database.url, authorization: { triggers: ['discharge'] } })
}, startMsMax)
afterAll(async () => {
  await town?.close()
  await database?.close()
  rmSync(folder, { recursive: true, force: true })
}, startMsMax)

test(
  'a code without a row waits in quarantine; shadow shows what the candidate would do, and that nothing else changes',
  async () => {
    await town.hospital.sends([dischargeOf(ellen), adtOf(ellen, { event: 'A03', disposition: 'ZZ' })])
    await town.settles()
    const shadow = (...more: string[]) =>
      town.engine.command('shadow', 'adt-discharge', '--since', '1h', '--json', ...more)
    const same = await shadow()
    expect(same).toMatchObject({ code: 0, stderr: '' })
    expect(JSON.parse(same.stdout)).toMatchObject({ compared: 2, same: 2, differences: [] })

    const table = join(folder, 'mappings/tables/discharge-disposition.csv')
    writeFileSync(table, `${readFileSync(table, 'utf8').trimEnd()}\nZZ,home,\n`)
    const other = await shadow('--with', folder)
    expect(other.code).toBe(1)
    expect(JSON.parse(other.stdout)).toMatchObject({
      compared: 2,
      same: 1,
      differences: [{ after: 'discharge', messages: 1 }],
    })
    writeFileSync(table, 'from,to\n01,')
    expect((await shadow('--with', folder)).code).not.toBe(0)
    expect(await town.engine.command('shadow', 'adt-discharges', '--since', '1h')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('there is no channel adt-discharges'),
    })
    expect(await town.engine.command('shadow', 'adt-discharge')).toMatchObject({ code: 2 })
  },
  storyMsMax,
)

test(
  'explain for a patient and a day answers where nothing came, and reading her request is audited',
  async () => {
    const today = new Intl.DateTimeFormat('en-CA').format(new Date())
    const [{ system, value }] = ellen.identifiers as [{ system: string; value: string }]
    const about = (who: string, on: string) => town.engine.command('explain', '--patient', who, '--on', on)
    expect((await about(`${system}|${value}`, today)).stdout).toContain('It says: discharge')
    const before = await about(`${system}|${value}`, '2026-01-02')
    expect(before.stdout).toContain('Nothing was received about this patient on 2026-01-02')
    expect(before.stdout).toMatch(/Request .* begins only at/)
    expect((await about(`${system}|NOBODY`, today)).stdout).toContain(
      'No request is stored under this identifier',
    )
    expect(await about(`${system}|${value}`, '02.01.2026')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('--on looks like 2026-03-02'),
    })
    const rows = await database.dataSource.query(
      `SELECT 1 FROM audit WHERE action = 'authorization-read' AND detail->>'by' = 'explain'`,
    )
    expect(rows).toHaveLength(2)
  },
  storyMsMax,
)

test(
  'record makes a sample after a stored message, which passes as a test; nothing is overwritten, nobody survives',
  async () => {
    const { items } = await town.engine.api<{ items: { id: string; state: string }[] }>('GET', 'messages')
    const triggered = items.find(({ state }) => state === 'triggered')!
    const out = join(folder, 'channels/samples/recorded.hl7')
    const recorded = await town.engine.command('record', triggered.id, '--out', out)
    expect(recorded).toMatchObject({ code: 0, stderr: '' })
    const text = readFileSync(out, 'latin1')
    for (const { value } of ellen.identifiers) expect(text).not.toContain(value)
    expect(text).not.toMatch(new RegExp(`${ellen.family}|${ellen.given}`, 'i'))
    const channel = join(folder, 'channels/adt-discharge.yaml')
    const entry = recorded.stdout.slice(recorded.stdout.indexOf('  - name:'))
    writeFileSync(channel, `${readFileSync(channel, 'utf8').trimEnd()}\n${entry}`)
    writeFileSync(
      join(folder, 'mappings/tables/discharge-disposition.csv'),
      readFileSync(join(root, 'mappings/tables/discharge-disposition.csv')),
    )
    const tested = await town.engine.command('test', channel)
    expect([tested.code, tested.stdout + tested.stderr]).toEqual([0, expect.stringContaining(' 0 failed')])
    expect(await town.engine.command('record', triggered.id, '--out', out)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('is there already'),
    })
    expect(await town.engine.command('record', '999999')).toMatchObject({ code: 1 })
  },
  storyMsMax,
)
