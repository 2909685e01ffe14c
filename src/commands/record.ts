import { randomBytes } from 'node:crypto'
import { existsSync, writeFileSync } from 'node:fs'
import { basename } from 'node:path'
import { Replacements } from '../channels/replacements.ts'
import { syntheticFhir } from '../channels/synthetic-fhir.ts'
import { survivors, syntheticHl7v2, type Synthetic } from '../channels/synthetic-hl7v2.ts'
import type { ChannelPlan, InputKind } from '../domain/channel.ts'
import { readHl7 } from '../lib/hl7v2.ts'
import { channelsOf } from '../main.ts'
import { evaluate, type Evaluation } from '../mapping/evaluate.ts'
import { readStoredMessage } from '../store/shadowed.ts'
import { queryOf } from '../store/query.ts'
import type { Settings } from '../settings.ts'
import { Findings, print, settingsFor, theOne, Usage, type Command } from './command.ts'
import { lookOnly } from './look-only.ts'
import { channelFor, kindOf, messagesOf, readInput } from './try-files.ts'

export const record: Command = {
  usage: `bluepost record MESSAGE --out channels/samples/lab.hl7
bluepost record FILE|- [--channel NAME] [--at MOMENT] [--out FILE] [--force]

Makes a sample after a real message (the number of a stored one, or a file): the same segments, fields, repetitions, components and
codes, other people. Names, numbers, addresses and texts become made-up ones of the same length, the same ones everywhere; days are
moved by one and the same span; documents inside become one that says nothing. What comes out is decided like the original, or is refused.

Refused, too, where something survives by which the patient is known: a place is named, never a value. Prints the test to paste into the
channel file. Read the sample before you share it: free text is replaced word by word, and its shape stays.

  --channel NAME   whose decision counts; needed for files where several channels could read it
  --at MOMENT      when the message of a file came: filters ask for the age. Default: now
  --out FILE       where to write; default: standard output
  --force          over a file that is there`,
  options: {
    channel: { type: 'string' },
    at: { type: 'string' },
    out: { type: 'string' },
    force: { type: 'boolean' },
  },
  async run(call) {
    const settings = settingsFor(call)
    const what = theOne(call, 'message number, or file, or - for standard input')
    const { out, force, channel } = call.values
    if (typeof out === 'string' && existsSync(out) && force !== true)
      throw new Usage(`${out} is there already: choose another name, or --force`)
    const given = await originalOf(settings, what, call.values['at'])
    const kind = kindOf(given.content)
    const [message, ...others] = messagesOf(given.content, kind)
    if (message === undefined || others.length > 0)
      throw new Findings('a sample is one message: give a file that holds one')
    const { plans } = channelsOf(settings)
    const plan = channelFor(plans, kind, typeof channel === 'string' ? channel : given.channel)
    const { text, now } = sampleOf(plan, kind, message, given.at)
    if (typeof out === 'string') {
      writeFileSync(out, text, { flag: force === true ? 'w' : 'wx' })
      print(`Written: ${out}. A test for ${plan.name}:\n\n${testOf(plan, out, text, now)}`)
    } else {
      process.stdout.write(text)
      process.stderr.write(`\n${testOf(plan, 'samples/NAME', text, now)}`)
    }
    return 0
  },
}

interface Original {
  readonly content: Buffer
  readonly at: Date
  readonly channel?: string
}

async function originalOf(settings: Settings, what: string, moment: unknown): Promise<Original> {
  if (!/^\d{1,18}$/.test(what) || existsSync(what)) {
    const at = typeof moment === 'string' ? new Date(moment) : new Date()
    if (Number.isNaN(at.getTime()))
      throw new Usage('--at is a moment with a time zone, such as 2026-03-02T12:00:00-05:00')
    return { content: readInput(what), at }
  }
  const looked = await lookOnly(settings, async (dataSource) => ({
    message: await readStoredMessage(queryOf(dataSource), what),
  }))
  if ('because' in looked) throw new Findings(looked.because)
  const { message } = looked
  if (message === undefined) throw new Findings(`there is no message ${what}`)
  if (message.content === null)
    throw new Findings(
      `the content of message ${what} is no longer kept: nobody who asked for anything, or past retention`,
    )
  return { content: message.content, at: message.receivedAt, channel: message.channel }
}

/** Seeds to try: by chance something made up may be what somebody else is known by. */
const attemptsMax = 5

function sampleOf(
  plan: ChannelPlan,
  kind: InputKind,
  message: Buffer,
  at: Date,
): { readonly text: string; readonly now: Date } {
  const original = evaluate(plan, message, at)
  let places: string[] = []
  for (let attempt = 0; attempt < attemptsMax; attempt++) {
    const replacements = new Replacements(randomBytes(32))
    const made = synthetic(kind, message, replacements)
    places = survivors(made)
    if (places.length > 0) continue
    const now = new Date(at.getTime() + replacements.shiftDays * 86_400_000)
    const decided = evaluate(plan, Buffer.from(made.text), now)
    if (decisionOf(decided) === decisionOf(original)) return { text: made.text, now }
    throw new Findings(
      `not recorded: the original is ${decisionOf(original)}, the sample would be ${decisionOf(decided)}. A filter or a table of ${plan.name} reads a value that is replaced: write the sample by hand, after the fields that bluepost try shows`,
    )
  }
  throw new Findings(
    `not recorded: something by which the patient is known survives in ${places.join(', ')}. Take it out of a copy of the message by hand, and record that`,
  )
}

function synthetic(kind: InputKind, message: Buffer, replacements: Replacements): Synthetic {
  switch (kind) {
    case 'hl7v2': {
      const { text, separators } = readHl7(message)
      return syntheticHl7v2(text, separators, replacements)
    }
    case 'fhir':
      return syntheticFhir(JSON.parse(message.toString('utf8').replace(/^\ufeff/, '')), replacements)
    case 'x12':
      throw new Findings('X12 is not recorded: samples of claims are in channels/samples, change one by hand')
  }
}

function decisionOf(evaluation: Evaluation): string {
  switch (evaluation.decision) {
    case 'trigger': {
      const { kind, cancels } = evaluation.event
      return cancels === undefined ? kind : `${kind}, taken back`
    }
    case 'filtered':
      return `filtered (${evaluation.because})`
    case 'quarantined':
      return `quarantined (${evaluation.code}: ${evaluation.because})`
  }
}

/** The entry under `tests:` that holds what the sample shows. */
function testOf(plan: ChannelPlan, out: string, text: string, now: Date): string {
  const evaluation = evaluate(plan, Buffer.from(text), now)
  const quoted = (value: string) => `'${value.replaceAll("'", "''")}'`
  const expected =
    evaluation.decision === 'trigger'
      ? `{ decision: trigger, event: { kind: ${evaluation.event.kind} } }`
      : evaluation.decision === 'filtered'
        ? `{ decision: filtered, because: ${quoted(evaluation.because)} }`
        : `{ decision: quarantined, code: ${evaluation.code} }`
  return [
    `  - name: ${quoted(`recorded: ${decisionOf(evaluation)}`)}`,
    `    now: ${now.toISOString()}`,
    `    sample: samples/${basename(out)}`,
    `    expect: ${expected}`,
    '',
  ].join('\n')
}
