import { execFile } from 'node:child_process'
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals'

const root = join(import.meta.dirname, '../..')
const corpus = join(root, 'test/bad-configs')
let folder: string

// Each test starts a process or two; a busy machine takes its time.
jest.setTimeout(60_000)

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'bluepost-commands-'))
  cpSync(join(corpus, 'base'), join(folder, 'good'), { recursive: true })
  cpSync(join(corpus, 'base'), join(folder, 'bad'), { recursive: true })
  cpSync(join(corpus, 'misspelled-key'), join(folder, 'bad'), { recursive: true })
  cpSync(join(corpus, 'file-name-with-blank'), join(folder, 'bad'), { recursive: true })
  cpSync(join(corpus, 'base'), join(folder, 'failing'), { recursive: true })
  const file = join(folder, 'failing/channels/adt.yaml')
  writeFileSync(file, readFileSync(file, 'utf8').replace('kind: discharge', 'kind: transition'))
})
afterAll(() => rmSync(folder, { recursive: true }))

/** As a person would call it, from the folder. */
function bluepost(...words: string[]): Promise<{ code: number; out: string; err: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [join(root, 'src/cli.ts'), ...words], { cwd: folder }, (error, out, err) =>
      resolve({ code: error === null ? 0 : Number(error.code), out, err }),
    )
  })
}

describe('bluepost lint', () => {
  test('exit 0 where nothing is wrong', async () => {
    expect(await bluepost('lint', 'good')).toEqual({
      code: 0,
      out: 'good: 1 channel, nothing found\n',
      err: '',
    })
  })

  test('exit 1 with each finding as file:line:column, what, and below it what to do', async () => {
    expect(await bluepost('lint', 'bad')).toEqual({
      code: 1,
      out: [
        'bad/channels/ADT Main.yaml:1:1  the name of the file is not a plain one  [file-name]',
        '  use lower-case letters, digits and hyphens',
        'bad/channels/adt.yaml:14:1  the key "fliter" is not known here  [unknown-key]',
        '  did you mean "filter"?',
        '2 errors, 0 warnings; 0 channels can run; docs/findings.md explains the codes',
        '',
      ].join('\n'),
      err: '',
    })
  })

  test('a path names one file, also one with a blank in its name', async () => {
    const { code, out } = await bluepost('lint', 'bad/channels/ADT Main.yaml', '--json')
    expect(code).toBe(1)
    expect(JSON.parse(out)).toEqual({
      good: false,
      problems: [
        {
          file: 'bad/channels/ADT Main.yaml',
          line: 1,
          column: 1,
          severity: 'error',
          code: 'file-name',
          what: 'the name of the file is not a plain one',
          remedy: 'use lower-case letters, digits and hyphens',
          docs: 'docs/findings.md#file-name',
        },
      ],
    })
  })

  test('--strict counts warnings; --sarif names the rule and the line', async () => {
    cpSync(join(folder, 'good'), join(folder, 'untested'), { recursive: true })
    const file = join(folder, 'untested/channels/adt.yaml')
    writeFileSync(file, readFileSync(file, 'utf8').replace(/^tests:[^]*$/m, ''))
    expect(await bluepost('lint', 'untested')).toMatchObject({ code: 0 })
    expect(await bluepost('lint', 'untested', '--strict')).toMatchObject({ code: 1 })
    const { code, out } = await bluepost('lint', 'bad', '--sarif')
    expect(code).toBe(1)
    expect(JSON.parse(out)).toMatchObject({
      version: '2.1.0',
      runs: [{ results: [{ ruleId: 'file-name' }, { ruleId: 'unknown-key', level: 'error' }] }],
    })
  })

  test.each([
    [['lint', 'nowhere']],
    [['lint', 'good', '--json', '--sarif']],
    [['lint', '--loud']],
    [['schema', 'a', 'b']],
  ])('exit 2 for what it does not know: %j', async (words) => {
    const { code, out, err } = await bluepost(...words)
    expect([code, out]).toEqual([2, ''])
    expect(err).toContain('--help shows how to call it')
  })
})

describe('bluepost test', () => {
  test('exit 0 where every test gives what it expects, and the reasons nobody tests are named', async () => {
    const { code, out } = await bluepost('test', 'good/mappings/tables/kinds.csv')
    expect(code).toBe(0)
    expect(out).toContain('adt\n  ✓ discharge\n')
    expect(out).toContain('warning: no test shows the reason “test message”  [untested-reason]')
    expect(out).toContain('1 test, 0 failed')
  })

  test('--coverage lists what is shown; --require-coverage fails for what is not', async () => {
    const { code, out } = await bluepost('test', 'good', '--coverage')
    expect(code).toBe(0)
    expect(out).toContain('Coverage: 1 of 3 filter reasons and kinds of event are shown by a test')
    expect(out).toContain('  ✓ adt  kind discharge: by “discharge”')
    expect(out).toContain('  ✗ good/channels/adt.yaml:17  reason test message: by no test')
    expect(await bluepost('test', 'good', '--require-coverage')).toMatchObject({ code: 1 })
  })

  test('--junit writes what build servers read', async () => {
    expect(await bluepost('test', 'failing', '--junit', 'results.xml')).toMatchObject({ code: 1 })
    const xml = readFileSync(join(folder, 'results.xml'), 'utf8')
    expect(xml).toContain('<testsuite name="adt" tests="1" failures="1" errors="0" skipped="0">')
    expect(xml).toContain('message="event.kind: expected &quot;transition&quot;, got &quot;discharge&quot;"')
    expect(await bluepost('test', 'good', '--junit', 'nowhere/results.xml')).toMatchObject({
      code: 1,
      err: expect.stringContaining('nowhere/results.xml cannot be written'),
    })
  })

  test('exit 1 with what differs', async () => {
    const { code, out } = await bluepost('test', 'failing')
    expect(code).toBe(1)
    expect(out).toContain(
      '  ✗ discharge  failing/channels/adt.yaml:22\n      event.kind: expected "transition", got "discharge"',
    )
  })

  test('exit 1 where a channel cannot be loaded: its tests did not run', async () => {
    const { code, out } = await bluepost('test', 'bad')
    expect(code).toBe(1)
    expect(out).toContain('0 tests, 0 failed; some channels cannot be loaded')
  })
})

test('bluepost schema writes a schema beside each kind of file', async () => {
  expect((await bluepost('schema', 'good')).code).toBe(0)
  expect(existsSync(join(folder, 'good/channels/schema.json'))).toBe(true)
  expect(JSON.parse(readFileSync(join(folder, 'good/mappings/schema.json'), 'utf8'))).toMatchObject({
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'bluepost mapping',
  })
  expect((await bluepost('lint', 'good')).code).toBe(0)
})

test.each([['lint'], ['test'], ['schema']])('bluepost %s --help says how to call it', async (name) => {
  const { code, out } = await bluepost(name, '--help')
  expect(code).toBe(0)
  expect(out).toContain(`bluepost ${name}`)
})
