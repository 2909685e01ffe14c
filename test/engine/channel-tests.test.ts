import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from '@jest/globals'
import { loadChannels } from '../../src/channels/load.ts'
import { testedChannels } from '../../src/engine/channel-tests.ts'

let folder: string
const inside = (file: string) => join(folder, file)
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'bluepost-tested-'))
  cpSync(join(import.meta.dirname, '../bad-configs/base'), folder, { recursive: true })
  const text = readFileSync(inside('channels/adt.yaml'), 'utf8')
  for (const [name, from, to] of [
    ['failing', 'kind: discharge', 'kind: transition'],
    ['untested', /^tests:[^]*$/m, ''],
    ['idle', 'enabled: true', 'enabled: false'],
  ] as const)
    writeFileSync(
      inside(`channels/${name}.yaml`),
      text
        .replace('channel: adt', `channel: ${name}`)
        .replace("'${ADT_PORT:-6661}'", '0')
        .replace(name === 'idle' ? 'kind: discharge' : '', name === 'idle' ? 'kind: transition' : '')
        .replace(from, to),
    )
})
afterEach(() => rmSync(folder, { recursive: true }))

function started(isProduction: boolean): { channels: string[]; problems: string[] } {
  const { plans, problems } = testedChannels(
    loadChannels({
      channelsDirectory: inside('channels'),
      mappingsDirectory: inside('mappings'),
      environment: {},
    }),
    isProduction,
  )
  return {
    channels: plans.map(({ name }) => name),
    problems: problems.map(
      ({ severity, file, line, what, code }) =>
        `${severity} ${file.slice(folder.length + 1)}:${line} ${what} [${code}]`,
    ),
  }
}

test('in production a channel whose tests fail, or that has none, does not start; the others do', () => {
  expect(started(true)).toEqual({
    channels: ['adt', 'idle'],
    problems: [
      'error channels/failing.yaml:22 channel failing fails its own test “discharge”: it is not started [test-failed]',
      'error channels/untested.yaml:1 channel untested has no tests: it is not started [no-tests]',
    ],
  })
})

test('elsewhere they start, and it is a warning', () => {
  expect(started(false)).toEqual({
    channels: ['adt', 'failing', 'idle', 'untested'],
    problems: [
      'warning channels/failing.yaml:22 channel failing fails its own test “discharge”: in production it would not start [test-failed]',
      'warning channels/untested.yaml:1 channel untested has no tests: in production it would not start [no-tests]',
    ],
  })
})
