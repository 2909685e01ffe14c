import type { ChannelPlan, ValuePath } from '../domain/channel.ts'
import { Hl7Message, readHl7 } from '../lib/hl7v2.ts'
import { readX12 } from '../lib/x12-message.ts'
import { valueAt } from './input.ts'
import type { FhirResource, Input } from './input.ts'

type Received = Uint8Array | FhirResource | Hl7Message

/**
 * Messages with the same key are decided one after the other. Undefined where the channel orders by nothing, or the
 * message lacks one of the values or cannot be read: nobody can then say whose turn it is.
 *
 * @param received the bytes of an HL7v2 message, the message where it has been read already, or a FHIR resource
 */
export function laneKey(plan: Pick<ChannelPlan, 'order'>, received: Received): string | undefined {
  for (const key of keysOf(plan, received)) return key
  return undefined
}

/**
 * The keys of all patients that a message touches, its own first: a merge names the identifiers it gives up in MRG-1
 * (A40), a link a second patient in a further PID (A24). Such a message has to wait for the lanes of both.
 */
export function laneKeys(plan: Pick<ChannelPlan, 'order'>, received: Received): readonly string[] {
  return [...new Set(keysOf(plan, received))]
}

function* keysOf({ order }: Pick<ChannelPlan, 'order'>, received: Received): Generator<string> {
  const paths = order?.key ?? []
  if (paths.length === 0) return
  let input: Input
  let own: string | undefined
  try {
    input = opened(received)
    own = keyAt(input, paths)
  } catch {
    return
  }
  if (own === undefined) return
  yield own
  if (input.type !== 'hl7v2') return
  for (const name of ['PID', 'MRG'] as const)
    for (
      let occurrence = name === 'PID' ? 2 : 1;
      occurrence <= input.message.segments(name).length;
      occurrence++
    ) {
      const key = keyAt(
        input,
        paths.map((path) => elsewhere(path, name, occurrence)),
      )
      if (key !== undefined) yield key
    }
}

function keyAt(input: Input, paths: readonly (ValuePath | undefined)[]): string | undefined {
  const values = paths.map((path) => path && valueAt(input, path))
  // The separator occurs in no identifier.
  return values.includes(undefined) ? undefined : values.join('\u001f')
}

/** The same value of another patient: in a further PID, or, where it belongs to PID-3, in MRG-1 (HL7 v2.5.1 ch. 3.4.9). */
function elsewhere(path: ValuePath, segment: 'PID' | 'MRG', occurrence: number): ValuePath | undefined {
  if (path.type !== 'hl7v2' || path.path.segment !== 'PID') return undefined
  if (segment === 'PID') return { ...path, path: { ...path.path, occurrence } }
  return path.path.field === 3
    ? { ...path, path: { ...path.path, segment, field: 1, occurrence } }
    : undefined
}

function opened(received: Received): Input {
  const zone = 'UTC'
  if (received instanceof Hl7Message) return { type: 'hl7v2', message: received, zone }
  if (!(received instanceof Uint8Array)) return { type: 'fhir', resource: received, zone }
  const bytes = Buffer.from(received.buffer, received.byteOffset, received.byteLength)
  if (/^(?:\xef\xbb\xbf)?\s*ISA[^A-Za-z0-9\s]/.test(bytes.toString('latin1', 0, 64)))
    return { type: 'x12', message: readX12(bytes), zone }
  const isJson = bytes.subarray(0, 64).toString('latin1').trimStart().startsWith('{')
  return isJson
    ? { type: 'fhir', resource: JSON.parse(bytes.toString('utf8')) as unknown, zone }
    : { type: 'hl7v2', message: readHl7(bytes), zone }
}
