import { hash } from 'node:crypto'
import type { ChannelPlan } from '../domain/channel.ts'
import { patientIdOf } from '../domain/fhir-patient.ts'
import { laneOf } from '../intake/lane.ts'
import { errorTrace, type Log } from '../lib/log.ts'
import { betweenFrames } from '../lib/mllp.ts'
import { laneKey } from '../mapping/lane-key.ts'
import { isRowAtFault, type InboundMessages } from '../store/inbound-messages.ts'
import type { Receive } from './receive.ts'

/** What is answered to a message that came by POST. */
export interface HttpReceipt {
  readonly status: number
  readonly type: string
  /** Undefined where the sender wants no acknowledgement. */
  readonly content?: Buffer
}

export type ReceiveHttp = (body: Buffer, peer: string) => Promise<HttpReceipt>

/** Media type of HL7 over HTTP; the answer is in the separators and the character set of the message. */
const hl7Type = 'application/hl7-v2'

/**
 * HL7v2 by POST, as over MLLP: a message or a batch, stored before it is answered, a repeat answered as the first time. The
 * acknowledgement is the body; the status says the same to those who read no HL7: 200 stored, 400 never send these bytes again
 * (AR, CR), 503 not stored, send them again (AE, CE).
 */
export function receiveHl7ByHttp(receive: Pick<Receive, 'frame'>): ReceiveHttp {
  return async (body, peer) => {
    const bytes = withoutFrame(body)
    if (bytes.length === 0) return plainly(400, 'The body is empty; it has to be an HL7v2 message.')
    const { reply, isLost, isNotStored, isUnreadable } = await receive.frame(
      { bytes, endBlockComplete: true },
      { address: peer },
    )
    if (isUnreadable) return plainly(400, 'The body is no HL7v2 message: it has to begin with MSH.')
    if (reply === undefined)
      return isLost
        ? plainly(503, 'Not stored. Send the same message again later.')
        : { status: 204, type: hl7Type }
    const content = unframed(reply)
    const isRefused = /(?:^|\r)MSA.(?:AR|CR)/.test(content.toString('latin1'))
    return { status: isLost || isNotStored ? 503 : isRefused ? 400 : 200, type: hl7Type, content }
  }
}

/** Some senders keep the start and end blocks of MLLP around what they post. */
function withoutFrame(body: Buffer): Buffer {
  const start = body[0] === 0x0b ? 1 : 0
  const end = body.at(-1) === 0x0d && body.at(-2) === 0x1c ? body.length - 2 : body.length
  return body.subarray(start, Math.max(start, end))
}

/** The replies to a batch, one after the other: each ends with a carriage return. */
function unframed(reply: Buffer): Buffer {
  const parts: Buffer[] = []
  let from = 0
  for (let at = reply.indexOf(betweenFrames); at !== -1; at = reply.indexOf(betweenFrames, from)) {
    parts.push(reply.subarray(from, at))
    from = at + betweenFrames.length
  }
  return parts.length === 0 ? reply : Buffer.concat([...parts, reply.subarray(from)])
}

export interface ReceiveFhirPorts {
  readonly plan: ChannelPlan
  readonly store: Pick<InboundMessages, 'keep'>
  readonly now: () => Date
  readonly log: Log
}

/**
 * A FHIR resource by POST, or a Bundle of type collection with the resource and the Patient it is about: 201 stored, 200 known
 * already, 400 no such thing, 503 not stored; with an OperationOutcome.
 */
export function receiveFhirByHttp({ plan, store, now, log }: ReceiveFhirPorts): ReceiveHttp {
  return async (body, peer) => {
    const resource = resourceIn(body)
    if (resource === undefined)
      return outcome(
        400,
        'error',
        'structure',
        'The body has to be one FHIR resource as JSON, with its resourceType.',
      )
    const focus = focusOf(resource)
    const { resourceType, id, meta } = focus as { resourceType: string; id?: unknown; meta?: Resource }
    const subject = [focus['patient'], focus['subject'], focus['for']]
      .map(patientIdOf)
      .find((one) => one !== undefined)
    const version = meta?.['versionId'] ?? meta?.['lastUpdated'] ?? ''
    try {
      const { fresh } = await store.keep({
        channel: plan.name,
        receivedAt: now(),
        sender: plan.name,
        controlId: legible(`${resourceType}/${String(id ?? '')}/_history/${String(version)}`),
        digest: hash('sha256', body, 'buffer'),
        peer,
        lane: laneOf(laneKey(plan, focus) ?? subject ?? String(id ?? '')),
        ack: undefined,
        flags: [],
        content: body,
        order: plan,
      })
      return fresh
        ? outcome(201, 'information', 'informational', 'Stored.')
        : outcome(200, 'information', 'duplicate', 'This version was here before.')
    } catch (error) {
      log.error('a message could not be stored', {
        channel: plan.name,
        peer,
        bytes: body.length,
        error: errorTrace(error),
      })
      return isRowAtFault(error)
        ? outcome(400, 'error', 'invalid', 'The database refuses this content. Do not send it again.')
        : outcome(503, 'error', 'transient', 'Not stored. Send the same resource again later.')
    }
  }
}

type Resource = Readonly<Record<string, unknown>>

function resourceIn(body: Buffer): Resource | undefined {
  try {
    const value = JSON.parse(body.toString('utf8').replace(/^\ufeff/, '')) as unknown
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
    const type = (value as Resource)['resourceType']
    return typeof type === 'string' && /^[A-Z][A-Za-z]{1,63}$/.test(type) ? (value as Resource) : undefined
  } catch {
    return undefined
  }
}

/** What a message is about: the first entry of a collection, else the resource itself. */
function focusOf(resource: Resource): Resource {
  if (resource['resourceType'] !== 'Bundle' || !Array.isArray(resource['entry'])) return resource
  const [first] = resource['entry'] as readonly unknown[]
  const focus = (first as { resource?: unknown } | null | undefined)?.resource
  return typeof focus === 'object' && focus !== null ? (focus as Resource) : resource
}

const controlIdCharactersMax = 199

function legible(text: string): string {
  return text.replaceAll(/[^\x20-\x7e]/g, '?').slice(0, controlIdCharactersMax)
}

function plainly(status: number, text: string): HttpReceipt {
  return { status, type: 'text/plain; charset=utf-8', content: Buffer.from(`${text}\n`) }
}

function outcome(status: number, severity: string, code: string, diagnostics: string): HttpReceipt {
  const content = { resourceType: 'OperationOutcome', issue: [{ severity, code, diagnostics }] }
  return { status, type: 'application/fhir+json', content: Buffer.from(JSON.stringify(content)) }
}
