import { betweenFrames } from '../lib/mllp.ts'
import type { HeaderDefect, HeaderError, MessageHeader } from './msh.ts'

/** What became of a message, as far as its sender is told. A domain outcome (“no authorization”) is always `stored`. */
export type Reception =
  | { readonly outcome: 'stored' }
  /** We could not keep it; the same bytes may be sent again. */
  | { readonly outcome: 'not-stored' }
  /** These bytes must not be sent again. */
  | { readonly outcome: 'refused'; readonly error: HeaderError; /** Of MSH. */ readonly field?: number }

export function refusedFor(defect: HeaderDefect): Reception {
  return { outcome: 'refused', field: defect.field, error: defect.error }
}

/** How a channel answers: as the message asks for it, or always the one way. */
export type AckMode = 'auto' | 'original' | 'enhanced'

/** What one acknowledgment needs of the world. */
export interface Acknowledger {
  readonly at: Date
  newControlId(): string
  /** Default: auto. */
  readonly mode?: AckMode
}

/**
 * The reply to a message, as the sender asked for it; undefined where nothing is to be said.
 *
 * - Original mode (MSH-15 and MSH-16 empty): one AA, AE or AR.
 * - Enhanced mode (HL7 v2.5.1 ch. 2.9.3): the accept acknowledgment CA, CE or CR by MSH-15. Committed is all the
 *   application has to say to a sender, so where MSH-16 asks for it the application acknowledgment AA follows at once
 *   on the same connection, in a frame of its own (joined with {@link betweenFrames}). CE and CR end the exchange; where
 *   MSH-15 keeps them unsaid, MSH-16 decides about AE or AR.
 * - A channel may be set to original mode, which reads neither field, or to enhanced mode, in which a message with
 *   neither gets the accept acknowledgment.
 * - An acknowledgment is never acknowledged.
 *
 * Separators, version, processing id and charset are the sender’s, byte by byte.
 */
export function acknowledge(
  header: MessageHeader,
  reception: Reception,
  acknowledger: Acknowledger,
): Buffer | undefined {
  const codes = acknowledgmentCodes(header, reception.outcome, acknowledger.mode ?? 'auto')
  if (codes.length === 0) return undefined
  const replies = codes.map((code) => acknowledgment(header, code, reception, acknowledger))
  return replies.length === 1
    ? replies[0]
    : Buffer.concat(replies.flatMap((reply, at) => (at === 0 ? [reply] : [betweenFrames, reply])))
}

/** HL7 table 0008. */
type AcknowledgmentCode = 'AA' | 'AE' | 'AR' | 'CA' | 'CE' | 'CR'

const codesFor = {
  stored: { application: 'AA', accept: 'CA' },
  'not-stored': { application: 'AE', accept: 'CE' },
  refused: { application: 'AR', accept: 'CR' },
} as const

function acknowledgmentCodes(
  header: MessageHeader,
  outcome: Reception['outcome'],
  mode: AckMode,
): AcknowledgmentCode[] {
  if (isAcknowledgment(header)) return []
  const { application, accept } = codesFor[outcome]
  const msh15 = header.field(15)
  const msh16 = header.field(16)
  if (mode === 'original') return [application]
  if (msh15 === '' && msh16 === '') return [mode === 'enhanced' ? accept : application]
  const isSuccess = outcome === 'stored'
  const codes: AcknowledgmentCode[] = []
  if (isAskedFor(msh15, isSuccess, true)) codes.push(accept)
  if ((isSuccess || codes.length === 0) && isAskedFor(msh16, isSuccess, msh15 === '')) codes.push(application)
  return codes
}

/**
 * HL7 table 0155: AL always, NE never, ER errors only, SU success only. One field empty where the other is not means
 * never. Some senders write prose instead (“ACCEPT ACKNOWLEDGE”): they wait for one reply, so prose in MSH-15 asks for
 * the accept acknowledgment, and prose in MSH-16 for the application’s where MSH-15 is empty.
 */
function isAskedFor(condition: string, isSuccess: boolean, whenProse: boolean): boolean {
  switch (condition.trim().toUpperCase()) {
    case 'AL':
      return true
    case 'ER':
      return !isSuccess
    case 'SU':
      return isSuccess
    case 'NE':
    case '""':
    case '':
      return false
    default:
      return whenProse
  }
}

/** ACK is the general acknowledgment, MCF the delayed one of v2.1 to v2.3: answering either would never end. */
export function isAcknowledgment(header: MessageHeader): boolean {
  const code = header.component(9, 1).trim().toUpperCase()
  return code === 'ACK' || code === 'MCF'
}

/** MSA-3, where something is wrong. Plain ASCII without separators of any kind, and nothing of the message. */
const texts = {
  AA: '',
  CA: '',
  AE: 'Not stored. Send the same message again later.',
  CE: 'Not stored. Send the same message again later.',
  AR: 'Refused. Do not send the same message again.',
  CR: 'Refused. Do not send the same message again.',
} as const

const notStored: HeaderError = { code: '207', text: 'Application internal error' }

function acknowledgment(
  header: MessageHeader,
  code: AcknowledgmentCode,
  reception: Reception,
  { at, newControlId }: Acknowledger,
): Buffer {
  const wrongField = reception.outcome === 'refused' ? reception.field : undefined
  const isBroken = wrongField === 2
  const field = header.fieldSeparator
  // Separators that cannot be told apart would make the refusal unreadable, too.
  const encodingCharacters = isBroken ? '^~\\&'.replace(field, '|') : header.encodingCharacters
  const component = encodingCharacters.charAt(0)
  const subcomponent = encodingCharacters.charAt(3)
  const event = isBroken ? '' : header.component(9, 2)

  const msh = [
    'MSH',
    encodingCharacters,
    header.field(5),
    header.field(6),
    header.field(3),
    header.field(4),
    timestamp(at),
    '',
    event === '' ? 'ACK' : ['ACK', event, 'ACK'].join(component),
    newControlId(),
    header.field(11),
    header.field(12),
  ]
  const charset = header.field(18)
  if (charset !== '') msh.push('', '', '', '', '', charset)
  const segments = [msh.join(field)]

  segments.push(['MSA', code, header.controlId, ...(texts[code] === '' ? [] : [texts[code]])].join(field))

  if (reception.outcome !== 'stored') {
    const error = reception.outcome === 'refused' ? reception.error : notStored
    const place = wrongField === undefined ? ['', '', ''] : ['MSH', '1', String(wrongField)]
    const coded = [error.code, error.text, 'HL70357']
    if (hasErrorFields(header.field(12))) {
      const location = wrongField === undefined ? '' : place.join(component)
      segments.push(['ERR', '', location, coded.join(component), 'E'].join(field))
    } else {
      const cause = subcomponent === '' ? error.code : coded.join(subcomponent)
      segments.push(['ERR', [...place, cause].join(component)].join(field))
    }
  }
  return Buffer.from(segments.join('\r') + '\r', 'latin1')
}

/** ERR-2 to ERR-4 came with v2.5; before, ERR-1 held location and code in one composite (HL7 v2.5.1 ch. 2.15.5). */
function hasErrorFields(version: string): boolean {
  const minor = /^2\.(\d+)/.exec(version)?.[1]
  return minor !== undefined && Number(minor) >= 5
}

let stampedSecond = -1
let stamp = ''

/** MSH-7 with its zone, which is the message’s. The text of a second is made once. */
function timestamp(at: Date): string {
  const second = Math.floor(at.getTime() / 1000)
  if (second !== stampedSecond) {
    stampedSecond = second
    stamp = at.toISOString().replace(/[-:T]/g, '').slice(0, 14) + '+0000'
  }
  return stamp
}
