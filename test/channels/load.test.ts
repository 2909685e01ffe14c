import {
  appendFileSync,
  cpSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { loadChannels, type LoadedChannels } from '../../src/channels/load.ts'

let folder: string
const inside = (file: string) => join(folder, file)

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'bluepost-load-'))
  cpSync(join(import.meta.dirname, '../bad-configs/base'), folder, { recursive: true })
})
afterEach(() => rmSync(folder, { recursive: true }))

function load(environment: Record<string, string> = {}): LoadedChannels {
  return loadChannels({
    channelsDirectory: inside('channels'),
    mappingsDirectory: inside('mappings'),
    environment,
  })
}

function change(file: string, from: string, to: string): void {
  const text = readFileSync(inside(file), 'utf8')
  if (!text.includes(from)) throw new Error(`${file} has no ${from}`)
  writeFileSync(inside(file), text.replace(from, to))
}

/** A second channel on another port. */
function addChannel(name: string): void {
  const text = readFileSync(inside('channels/adt.yaml'), 'utf8')
  writeFileSync(
    inside(`channels/${name}.yaml`),
    text.replace('channel: adt', `channel: ${name}`).replace("'${ADT_PORT:-6661}'", '6662'),
  )
}

const names = ({ plans }: LoadedChannels) => plans.map(({ name }) => name)
const codes = ({ problems }: LoadedChannels) => problems.map(({ code }) => code)

describe('a channel is loaded whole or not at all', () => {
  test('one that is broken does not keep the others from running', () => {
    addChannel('second')
    change('channels/adt.yaml', 'is: P', 'is: P, is: T')
    const loaded = load()
    expect(names(loaded)).toEqual(['second'])
    expect(codes(loaded)).toEqual(['duplicate-key'])
  })

  test.each([
    ['a table that its mapping uses', 'mappings/tables/kinds.csv', 'A03,discharge', 'A03,dicharge'],
    ['its mapping', 'mappings/adt-to-trigger.yaml', 'PID-5.1', 'PID.5.1'],
    ['its sample', 'channels/adt.yaml', 'samples/a03.hl7', 'samples/a04.hl7'],
    ['one of its tests', 'channels/adt.yaml', "PV1-36: '01'", "PV1.36: '01'"],
    ['one time span', 'channels/adt.yaml', 'for: 10m', 'for: 600w'],
  ])('%s is broken: it does not run', (_, file, from, to) => {
    change(file, from, to)
    const loaded = load()
    expect(names(loaded)).toEqual([])
    expect(loaded.problems.length).toBeGreaterThan(0)
  })

  test('a warning does not keep it from running', () => {
    change('channels/adt.yaml', 'retention:', 'alerts: [{ when: silent, for: 1h, notify: ops }]\nretention:')
    const loaded = load()
    expect([names(loaded), codes(loaded)]).toEqual([['adt'], ['not-in-effect']])
  })

  test('a folder that does not exist is a finding, not a crash', () => {
    rmSync(inside('channels'), { recursive: true })
    expect(codes(load())).toContain('file-unreadable')
    rmSync(inside('mappings'), { recursive: true })
    expect(codes(load())).toEqual(['file-unreadable', 'file-unreadable'])
  })
})

describe('the environment', () => {
  test('fills variables, and an empty one takes its default', () => {
    const portIn = (environment: Record<string, string>) => {
      const { source } = load(environment).plans[0]!
      return source.type === 'mllp' ? source.listen.port : undefined
    }
    expect([portIn({}), portIn({ ADT_PORT: '7001' }), portIn({ ADT_PORT: '' })]).toEqual([6661, 7001, 6661])
  })

  test('is checked as what it fills in', () => {
    expect(codes(load({ ADT_PORT: 'six' }))).toEqual(['wrong-value'])
  })

  test('never reaches filters, tests or the mapping: they mean the same everywhere', () => {
    change('channels/adt.yaml', 'else: test message', "else: '${HOME}'")
    expect(load({ HOME: '/root' }).plans[0]!.filter[1]!.because).toBe('${HOME}')
  })
})

describe('the revision', () => {
  const revision = () => load().plans[0]!.revision

  test('is the same for the same content', () => {
    expect(revision()).toBe(revision())
    expect(revision()).toMatch(/^[0-9a-f]{64}$/)
  })

  test.each([
    ['a comment', () => appendFileSync(inside('channels/adt.yaml'), '# a comment\n')],
    ['the title', () => change('channels/adt.yaml', 'A small channel', 'A channel')],
    ['a test', () => change('channels/adt.yaml', 'name: discharge', 'name: a discharge')],
  ])('is not changed by %s', (_, act) => {
    const before = revision()
    act()
    expect(revision()).toBe(before)
  })

  test.each([
    ['a filter', () => change('channels/adt.yaml', 'is: P', 'is: D')],
    ['a row of the mapping', () => change('mappings/adt-to-trigger.yaml', 'PID-5.1', 'PID-5.2')],
    ['a row of a table', () => appendFileSync(inside('mappings/tables/kinds.csv'), 'A06,transition\n')],
    ['the hold', () => change('channels/adt.yaml', 'for: 10m', 'for: 11m')],
  ])('is changed by %s', (_, act) => {
    const before = revision()
    act()
    expect(revision()).not.toBe(before)
  })
})

describe('files that lead elsewhere', () => {
  test.each([
    ['a channel', 'channels/away.yaml'],
    ['a mapping', 'mappings/away.yaml'],
    ['a table', 'mappings/tables/away.csv'],
  ])('%s that is a link out of its folder is not read', (_, file) => {
    const outside = mkdtempSync(join(tmpdir(), 'bluepost-outside-'))
    try {
      writeFileSync(join(outside, 'secret'), 'from,to\nroot,x\n')
      symlinkSync(join(outside, 'secret'), inside(file))
      const { problems } = load()
      expect(problems.map(({ what }) => what)).toContain('the file is a link that leads out of its folder')
    } finally {
      rmSync(outside, { recursive: true })
    }
  })

  test('a file that is no channel is not read', () => {
    for (const name of ['README.md', 'schema.json', '.hidden.yaml', 'adt.yaml~'])
      writeFileSync(inside(`channels/${name}`), '{{{')
    expect(load().problems).toEqual([])
  })
})

test('two channels may share a port only where one of them is off', () => {
  addChannel('second')
  change('channels/second.yaml', 'port: 6662', 'port: 6661')
  expect(codes(load())).toEqual(['port-taken'])
  change('channels/second.yaml', 'enabled: true', 'enabled: false')
  expect([names(load()), codes(load())]).toEqual([['adt', 'second'], []])
})
