import type { ChannelPlan } from '../domain/channel.ts'
import { Hl7Message, readHl7 } from '../lib/hl7v2.ts'
import { valueAt } from './input.ts'
import type { FhirResource, Input } from './input.ts'

/**
 * Messages with the same key are decided one after the other. Undefined where the channel orders by nothing, or the
 * message lacks one of the values or cannot be read: nobody can then say whose turn it is.
 *
 * @param received the bytes of an HL7v2 message, the message where it has been read already, or a FHIR resource
 */
export function laneKey(
  plan: Pick<ChannelPlan, 'order'>,
  received: Uint8Array | FhirResource | Hl7Message,
): string | undefined {
  const key = plan.order?.key ?? []
  if (key.length === 0) return undefined
  try {
    const input = opened(received)
    const values = key.map((path) => valueAt(input, path))
    // The separator occurs in no identifier.
    return values.includes(undefined) ? undefined : values.join('\u001f')
  } catch {
    return undefined
  }
}

function opened(received: Uint8Array | FhirResource | Hl7Message): Input {
  const zone = 'UTC'
  if (received instanceof Hl7Message) return { type: 'hl7v2', message: received, zone }
  if (!(received instanceof Uint8Array)) return { type: 'fhir', resource: received, zone }
  const bytes = Buffer.from(received.buffer, received.byteOffset, received.byteLength)
  const isJson = bytes.subarray(0, 64).toString('latin1').trimStart().startsWith('{')
  return isJson
    ? { type: 'fhir', resource: JSON.parse(bytes.toString('utf8')) as unknown, zone }
    : { type: 'hl7v2', message: readHl7(bytes), zone }
}
