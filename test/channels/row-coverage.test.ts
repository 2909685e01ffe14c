import { expect, test } from '@jest/globals'
import { loadChannels } from '../../src/channels/load.ts'
import { runTests } from '../../src/channels/run-tests.ts'

const { plans } = loadChannels({
  channelsDirectory: 'channels',
  mappingsDirectory: 'mappings',
  environment: {},
  secrets: { secret: () => 'secret' },
  fhirServers: ['clinic-r4', 'payer-r4'],
})
const adt = plans.find(({ name }) => name === 'adt-discharge')!
const ports = { acknowledge: () => 'AA' }

test('rows of a table that no test hits are named, as information', () => {
  const one = adt.tests.find(({ expect }) => expect.decision === 'trigger')!
  const { tables } = runTests([{ ...adt, tests: [one] }], ports)
  const kinds = tables.find(({ table }) => table === 'visit-end-kind')!
  expect(kinds).toMatchObject({ channels: ['adt-discharge'], hit: 1 })
  expect(kinds.untested).toHaveLength(kinds.rows - 1)
  expect(kinds.untested).not.toContain('I')
})

test('of a large table only the number is told', () => {
  const large = {
    name: 'adt-event-kind',
    rows: new Map(Array.from({ length: 500 }, (_, n) => [`C${n}`, 'x'] as const)),
  }
  const mapping = { ...adt.mapping, tables: new Map([[large.name, large]]) }
  const { tables } = runTests([{ ...adt, mapping }], ports)
  expect(tables).toEqual([
    { table: large.name, channels: ['adt-discharge'], rows: 500, hit: expect.any(Number) },
  ])
})

test('a required row is shown missing by the test that expects it, and a channel without tests is not asked', () => {
  const good = adt.tests.find(({ expect }) => expect.decision === 'trigger')!
  const text = Buffer.from(good.input as Uint8Array).toString('latin1')
  const input = Buffer.from(text.replace(/^PID\|.*$/m, 'PID|1'), 'latin1')
  const without = { ...good, name: 'nobody', input }
  const { required } = runTests([{ ...adt, tests: [good, without] }], ports)
  expect(required.filter(({ shownBy }) => shownBy.length > 0)).toMatchObject([{ shownBy: ['nobody'] }])
  expect(runTests([{ ...adt, tests: [] }], ports)).toMatchObject({ tables: [], required: [] })
})
