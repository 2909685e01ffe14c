import { expect, test } from '@jest/globals'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { loadChannels } from '../../src/channels/load.ts'
import { messagesIn } from '../../src/intake/batch.ts'
import { readHeader } from '../../src/intake/msh.ts'
import { setField } from '../../src/lib/hl7v2-edit.ts'
import { readTimestamp } from '../../src/lib/hl7v2-time.ts'
import { readHl7 } from '../../src/lib/hl7v2.ts'
import { evaluate } from '../../src/mapping/evaluate.ts'
import { identityChangesIn, mayChangeIdentity } from '../../src/mapping/identity-change.ts'
import { isQuarantined, openInput } from '../../src/mapping/input.ts'

// Messages of other people’s systems (BLUEPOST_CORPUS, folder hl7v2), each through the shipped channels as it is. What has to
// become of each is written in hl7v2-outcomes.tsv, and was reviewed by reading the messages.

const corpus = process.env['BLUEPOST_CORPUS']
const folder = corpus === undefined ? undefined : join(corpus, 'hl7v2')
const samples =
  folder !== undefined && existsSync(join(folder, 'INDEX.tsv')) ? tableAt(join(folder, 'INDEX.tsv')) : []

const { plans } = loadChannels({
  channelsDirectory: 'channels',
  mappingsDirectory: 'mappings',
  environment: {},
})
const channels = ['adt-discharge', 'adt-transfer', 'ambulatory-visit-end', 'lab-results', 'documents'].map(
  (name) => plans.find((plan) => plan.name === name)!,
)

test('the index of the samples says what our reader says', () => {
  for (const sample of samples) {
    const name = sample['file']!
    const messages = messagesIn(bytesOf(name))!
    expect([name, messages.filter((message) => readHeader(message).is !== 'not-hl7').length]).toEqual([
      name,
      Number(sample['MSH_count']),
    ])
    if (sample['MSH_count'] === '0' || sample['separators']!.endsWith('\\\\')) continue
    const message = readHl7(messages[0]!)
    expect([name, (message.segment('MSH')!.field(1) + message.segment('MSH')!.field(2)).slice(0, 5)]).toEqual(
      [name, sample['separators']],
    )
    for (const [segment, field] of fields) {
      const shown = sample[`${segment}-${field}`]!
      const value = message.segment(segment)?.field(field).trim() ?? ''
      // The index cuts long values.
      expect([name, segment, field, shown === '' ? value : value.slice(0, shown.length)]).toEqual([
        name,
        segment,
        field,
        shown,
      ])
    }
  }
})

const fields = [
  ['MSH', 9],
  ['EVN', 1],
  ['MSH', 12],
  ['MSH', 15],
  ['MSH', 16],
  ['MSH', 18],
  ['PID', 3],
  ['PV1', 2],
  ['PV1', 19],
  ['PV1', 36],
  ['PV1', 45],
  ['OBR', 25],
] as const

test('each message of other systems triggers, is filtered or waits for a person as it is written down', () => {
  const written = tableAt(new URL('./hl7v2-outcomes.tsv', import.meta.url))
  const told = samples.flatMap(({ file }) => outcomesOf(file!))
  if (process.env['BLUEPOST_SHOW_OUTCOMES'] !== undefined)
    process.stdout.write(
      `${[Object.keys(told[0]!), ...told.map((row) => Object.values(row))].map((row) => row.join('\t')).join('\n')}\n`,
    )
  if (samples.length > 0) expect(told).toEqual(written)
})

function outcomesOf(file: string): Record<string, string>[] {
  return messagesIn(bytesOf(file))!.map((message, nth) => {
    const reading = readHeader(message)
    const header =
      reading.is === 'not-hl7'
        ? 'not HL7'
        : reading.defect === undefined
          ? 'taken'
          : `refused: ${reading.defect.code}`
    const isTaken = header === 'taken'
    return {
      file,
      message: String(nth + 1),
      header,
      'as it is': isTaken ? onAllChannels(message) : '',
      'as production': isTaken ? onAllChannels(setField(message, 'MSH-11', 'P')) : '',
    }
  })
}

/** An hour after it was written. Channels that are not meant for such messages are left out. */
function onAllChannels(message: Buffer): string {
  const time = readTimestamp(readHl7(message).first('MSH-7') ?? '', 'UTC')
  const at = new Date((time.valid ? time.at.getTime() : 0) + 3_600_000)
  const told = channels.flatMap((plan) => {
    const outcome = outcomeOn(plan, message, at)
    return /^filtered: (MSH-9|neither ADT)/.test(outcome) ? [] : [`${plan.name} ${outcome}`]
  })
  return told.length === 0 ? 'of no concern' : told.join('; ')
}

function outcomeOn(plan: (typeof channels)[number], message: Buffer, at: Date): string {
  if (plan.identity === 'follow' && mayChangeIdentity(message)) {
    const input = openInput(plan, message)
    const changes = isQuarantined(input) ? undefined : identityChangesIn(input)
    if (changes !== undefined) return changes.map(({ type }) => type).join(', ')
  }
  const got = evaluate(plan, message, at)
  switch (got.decision) {
    case 'trigger':
      return `${got.event.kind}${got.event.cancels ? ' taken back' : ''}`
    case 'filtered':
      return `filtered: ${got.because}`
    case 'quarantined':
      return `quarantined: ${got.code}${got.code === 'needs-a-person' ? ` (${got.because})` : ''}`
  }
}

function bytesOf(file: string): Buffer {
  return readFileSync(join(folder!, file))
}

function tableAt(place: string | URL): Record<string, string>[] {
  const [head, ...lines] = readFileSync(place, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
  const names = head!.split('\t')
  return lines.map((line) => {
    const values = line.split('\t')
    return Object.fromEntries(names.map((name, at) => [name, values[at] ?? '']))
  })
}
