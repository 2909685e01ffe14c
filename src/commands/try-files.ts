import { readFileSync, statSync } from 'node:fs'
import type { ChannelPlan, InputKind } from '../domain/channel.ts'
import { objects } from '../domain/fhir-patient.ts'
import { messagesIn, messagesPerFrameMax } from '../intake/batch.ts'
import { Unsplittable } from '../intake/split.ts'
import { X12Claims } from '../intake/x12-claims.ts'
import type { TraceStep } from '../mapping/trace.ts'
import type { Tried } from '../pipeline/try-message.ts'
import { Findings, Usage } from './command.ts'

/** More is no message, and no batch anybody reads a trace of. */
const fileBytesMax = 16 * 1024 * 1024

/** A message as it was tried: data for `--json`, and what the words are made of. */
export interface TriedMessage extends Omit<Tried, 'evaluation'> {
  /** Counts from 1. */
  readonly number: number
  /** The code of the acknowledgement the sender would get; absent where there is none. */
  readonly acknowledged?: string
  /** What could not be had on the way, in a sentence. */
  readonly note?: string
  readonly evaluation?: {
    readonly decision: string
    readonly code?: string
    readonly because?: string
    readonly event?: unknown
    readonly trace: readonly TraceStep[]
  }
}

/** The bytes of a file, or of standard input for `-`. @throws Findings where it cannot be read or is far too large */
export function readInput(file: string): Buffer {
  try {
    if (file !== '-' && statSync(file).size > fileBytesMax)
      throw new Findings(`${file} is larger than ${fileBytesMax / 1024 / 1024} MB`)
    return readFileSync(file === '-' ? 0 : file)
  } catch (error) {
    if (error instanceof Findings) throw error
    throw new Findings(`${file} cannot be read: ${(error as Error).message}`)
  }
}

/** What a file holds: FHIR resources in JSON, X12 interchanges, or HL7v2. */
export function kindOf(bytes: Buffer): InputKind {
  if (/^\ufeff?\s*ISA[^A-Za-z0-9\s]/.test(bytes.toString('utf8', 0, 200))) return 'x12'
  return /^\ufeff?\s*[[{]/.test(bytes.toString('utf8', 0, 200)) ? 'fhir' : 'hl7v2'
}

/**
 * The messages of a file: an HL7v2 message, a batch, several one after the other or in MLLP frames; a FHIR resource, a
 * Bundle of some, an array, or one a line (NDJSON).
 *
 * @throws Findings where there is none, or too many
 */
export function messagesOf(bytes: Buffer, kind: InputKind): readonly Buffer[] {
  const messages =
    kind === 'fhir' ? resourcesOf(bytes) : kind === 'x12' ? claimsOf(bytes) : messagesIn(withoutFrames(bytes))
  if (messages === undefined || messages.length > messagesPerFrameMax)
    throw new Findings(`the file holds more than ${messagesPerFrameMax} messages: try a part of it`)
  if (messages.length === 0 || messages.every((one) => one.toString('latin1').trim() === ''))
    throw new Findings('the file holds no message')
  return messages
}

/** VT before a message, FS and CR behind it (MLLP): here they end a line. */
function withoutFrames(bytes: Buffer): Buffer {
  if (!bytes.includes(0x0b)) return bytes
  const plain = Buffer.from(bytes)
  for (const [index, byte] of plain.entries()) if (byte === 0x0b || byte === 0x1c) plain[index] = 0x0d
  return plain
}

function claimsOf(bytes: Buffer): Buffer[] {
  const splitter = new X12Claims()
  try {
    return [...splitter.push(bytes), ...splitter.end()].map(({ content }) => content)
  } catch (error) {
    if (error instanceof Unsplittable) throw new Findings(error.because)
    throw error
  }
}

function resourcesOf(bytes: Buffer): Buffer[] {
  const text = bytes.toString('utf8').replace(/^\ufeff/, '')
  const whole = parsed(text)
  if (whole === undefined)
    return text
      .split('\n')
      .filter((line) => line.trim() !== '')
      .map((line) => Buffer.from(line))
  const bundle = whole as { resourceType?: unknown; type?: unknown; entry?: unknown }
  if (bundle.resourceType === 'Bundle' && bundle.type !== 'collection')
    return objects(bundle.entry).flatMap(({ resource }) =>
      resource === undefined ? [] : [asBytes(resource)],
    )
  return (Array.isArray(whole) ? (whole as unknown[]) : [whole]).map(asBytes)
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return undefined
  }
}

function asBytes(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value))
}

/**
 * The channel that is meant: the one that is named, else the only one in use that reads this kind.
 *
 * @throws Usage naming the channels there are
 */
export function channelFor(
  plans: readonly ChannelPlan[],
  kind: InputKind,
  wanted: string | undefined,
): ChannelPlan {
  const words = { fhir: 'FHIR resources', hl7v2: 'HL7v2 messages', x12: 'X12 transactions' }[kind]
  const fitting = plans.filter(({ mapping }) => mapping.input === kind)
  const names = fitting.map(({ name }) => name).join(', ')
  const list =
    names === '' ? `no channel that can be loaded reads ${words}` : `channels for ${words}: ${names}`
  if (wanted !== undefined) {
    const plan = plans.find(({ name }) => name === wanted)
    if (plan === undefined)
      throw new Usage(`there is no channel “${wanted}” that can be loaded (bluepost lint says why); ${list}`)
    if (plan.mapping.input !== kind)
      throw new Usage(`the file holds ${words}, channel ${wanted} reads none; ${list}`)
    return plan
  }
  const [only, ...others] = fitting.filter(({ enabled }) => enabled)
  if (only === undefined || others.length > 0) throw new Usage(`say which channel: --channel NAME; ${list}`)
  return only
}
