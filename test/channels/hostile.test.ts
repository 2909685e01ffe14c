import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { loadChannels, type LoadedChannels } from '../../src/channels/load.ts'
import { problemsPerFileMax } from '../../src/channels/problem.ts'

// Each of these is refused within the time a test has; before its limit, some took minutes or all memory.
let folder: string
const inside = (file: string) => join(folder, file)

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'bluepost-hostile-'))
  cpSync(join(import.meta.dirname, '../bad-configs/base'), folder, { recursive: true })
})
afterEach(() => rmSync(folder, { recursive: true }))

function loadWith(file: string, text: string): LoadedChannels & { readonly codes: readonly string[] } {
  mkdirSync(dirname(inside(file)), { recursive: true })
  writeFileSync(inside(file), text)
  const loaded = loadChannels({
    channelsDirectory: inside('channels'),
    mappingsDirectory: inside('mappings'),
    environment: {},
  })
  return { ...loaded, codes: [...new Set(loaded.problems.map(({ code }) => code))] }
}

const base = (file: string) => readFileSync(inside(file), 'utf8')
const channel = 'channels/adt.yaml'
const mapping = 'mappings/adt-to-trigger.yaml'

describe('YAML made to take everything', () => {
  const laughs = [
    'a0: &a0 [lol, lol]',
    ...Array.from({ length: 30 }, (_, n) => `a${n + 1}: &a${n + 1} [*a${n}, *a${n}]`),
  ]
  test.each([
    ['a billion laughs', laughs.join('\n'), 'yaml-feature'],
    ['sixty thousand aliases', `a: &a [1]\nb: [${'*a,'.repeat(60_000)}]`, 'yaml-feature'],
    ['merge keys', 'a: &a { b: 1 }\nc: { <<: *a }', 'yaml-feature'],
    ['a tag that would run something', 'channel: !!js/function "function(){}"', 'yaml-feature'],
    ['a binary tag', 'channel: !!binary aGk=', 'yaml-feature'],
    ['brackets without end', `a: ${'['.repeat(100_000)}`, 'yaml-syntax'],
    ['braces without end', `a: ${'{a: '.repeat(50_000)}`, 'yaml-syntax'],
    ['lists in lists', '- '.repeat(100_000), 'yaml-syntax'],
    ['keys that are maps', '? '.repeat(100_000), 'yaml-syntax'],
    ['documents by the thousand', '---\na\n'.repeat(40_000), 'yaml-feature'],
    ['a file that is too large', `#${'x'.repeat(300 * 1024)}`, 'file-too-large'],
    ['quotes by the thousand', '"'.repeat(200_000), 'yaml-syntax'],
    ['a NUL', 'channel: "a\u0000b"', 'file-name'],
    [
      'keys of JavaScript',
      '__proto__: { polluted: true }\nconstructor: { prototype: { polluted: true } }',
      'reserved-key',
    ],
  ])('%s', (_, text, code) => {
    const { plans, codes, problems } = loadWith(channel, text)
    expect(plans).toEqual([])
    expect(codes).toContain(code)
    expect(problems.length).toBeLessThanOrEqual(2 * (problemsPerFileMax + 1))
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined()
  })
})

test('twenty thousand keys, known and unknown, once and twice', () => {
  const keys = Array.from({ length: 20_000 }, (_, n) => `key${n}: 1`).join('\n')
  for (const text of [
    keys,
    `${base(channel)}${keys}`,
    `${keys.slice(0, 100_000)}\n${keys.slice(0, 100_000)}`,
  ]) {
    const { plans, problems } = loadWith(channel, text)
    expect(plans).toEqual([])
    expect(problems.filter(({ file }) => file === inside(channel))).toHaveLength(problemsPerFileMax + 1)
    expect(problems.some(({ code }) => code === 'too-many-findings')).toBe(true)
  }
})

describe('tables', () => {
  test('ten megabytes of rows', () => {
    const { codes } = loadWith('mappings/tables/kinds.csv', `from,to\n${'A03,discharge\n'.repeat(750_000)}`)
    expect(codes).toContain('file-too-large')
  })

  test('as many rows as a file can hold, all of them wrong', () => {
    const { problems } = loadWith('mappings/tables/kinds.csv', `from,to\n${'a,b,c\n'.repeat(600_000)}`)
    expect(problems.length).toBeLessThanOrEqual(problemsPerFileMax + 4)
  })

  test('keys of JavaScript are codes like any other', () => {
    const { plans } = loadWith(
      'mappings/tables/kinds.csv',
      'from,to\n__proto__,discharge\nconstructor,discharge\nA03,discharge\n',
    )
    const rows = plans[0]!.mapping.tables.get('kinds')!.rows
    expect(rows.get('__proto__')).toBe('discharge')
    expect(rows.get('toString')).toBeUndefined()
  })

  test.each(['../../secrets', '/etc/passwd', 'a/../kinds', 'kinds.csv', '..', '__proto__', 'kinds\\u0000'])(
    'a name that leads elsewhere: %s',
    (name) => {
      const { plans, codes } = loadWith(mapping, base(mapping).replace('table: kinds', `table: "${name}"`))
      expect(plans).toEqual([])
      expect(codes).toContain('wrong-value')
    },
  )
})

test.each([
  '../../../etc/passwd',
  'samples/../../x.hl7',
  '/etc/hostname',
  'samples/a/b.hl7',
  'samples/..',
  'samples/.git',
])('a sample that leads elsewhere: %s', (path) => {
  const { codes } = loadWith(channel, base(channel).replace('samples/a03.hl7', path))
  expect(codes).toEqual(['sample-unknown'])
})

test('a link out of the folder is not followed', () => {
  symlinkSync('/etc/hostname', inside('channels/samples/link.hl7'))
  const { codes } = loadWith(channel, base(channel).replace('a03.hl7', 'link.hl7'))
  expect(codes).toEqual(['sample-unknown'])
})

test('samples that would fill the memory', () => {
  writeFileSync(
    inside('channels/samples/a03.hl7'),
    `${base('channels/samples/a03.hl7').trimEnd()}\r`.padEnd(1_000_000, 'ZZZ|x\r'),
  )
  const one =
    '  - { name: t, now: 2026-03-02T12:00:00Z, sample: samples/a03.hl7, expect: { decision: trigger } }\n'
  const { codes, problems } = loadWith(channel, `${base(channel)}${one.repeat(40)}`)
  expect(codes).toEqual(['test'])
  expect(problems[0]!.what).toContain('more than 32 MB together')
})

test('more tests than anybody runs', () => {
  const one = '  - { name: t, sample: samples/a03.hl7, expect: { decision: trigger } }\n'
  expect(loadWith(channel, `${base(channel)}${one.repeat(1_000)}`).codes).toEqual(['wrong-value'])
})

describe('patterns and expressions that could take for ever', () => {
  test.each(['(a+)+$', '(.*a){20}', '(x+x+)+y', '^(([a-z])+.)+[A-Z]([a-z])+$', 'a*a*a*a*b', '(?=(a+))a*b'])(
    '%s',
    (pattern) => {
      const text = base(channel).replace('is: P', () => `matches: '${pattern}'`)
      expect(loadWith(channel, text).codes).toEqual(['pattern'])
    },
  )

  test('FHIRPath in FHIRPath', () => {
    const rows = base(mapping).replace('input: hl7v2', 'input: fhir')
    const deep = `${'('.repeat(240)}1${')'.repeat(240)}`
    for (const path of [deep, `a${'.a'.repeat(400)}`, 'descendants()', '%resource', "'".repeat(10)])
      expect(loadWith(mapping, rows.replace('from: PID-5.1', `from: "${path}"`)).codes).toContain(
        'mapping-broken',
      )
  })
})
