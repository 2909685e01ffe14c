import { randomBytes } from 'node:crypto'
import { hl7Time, type Person } from './ccd.ts'

export interface AdtChoices {
  event?: 'A01' | 'A02' | 'A03' | 'A04' | 'A06' | 'A07' | 'A08' | 'A11' | 'A13'
  /** When it happened (EVN-2, EVN-6, PV1-45); the message is written at the same moment. Default: now. */
  at?: Date
  visit?: string
  controlId?: string
  /** PV1-2, table 0004. */
  patientClass?: string
  /** PV1-36, table 0112. */
  disposition?: string
  processingId?: 'P' | 'T' | 'D'
  /** MSH-15 and MSH-16: any value makes it enhanced mode (HL7 v2.5.1 ch. 2.9.3). */
  acceptAck?: 'AL' | 'NE' | 'ER' | 'SU'
  applicationAck?: 'AL' | 'NE' | 'ER' | 'SU'
  sendingFacility?: string
}

/** An ADT message about a person, with control id and visit of its own. The text uses CR between segments. */
export function adtOf(person: Person, choices: AdtChoices = {}): string {
  const event = choices.event ?? 'A03'
  const at = choices.at ?? new Date()
  const time = hl7Time(at)
  const structure = { A13: 'A01', A11: 'A09', A08: 'A01', A04: 'A01', A07: 'A06' }[event as string] ?? event
  const isOver = event === 'A03' || event === 'A13'
  const identifiers = person.identifiers
    .map(({ system, value, type }) => {
      const oid = /^urn:oid:(.*)$/.exec(system)?.[1]
      const authority = oid === undefined ? hl7Text(system) : `ASHBY&${oid}&ISO`
      return `${hl7Text(value)}^^^${authority}^${type ?? 'MR'}`
    })
    .join('~')
  const pv1 = ['PV1', '1', choices.patientClass ?? 'I', '4E^401^1^ASHBY']
  pv1[19] = `${choices.visit ?? `V${unique(8)}`}^^^ASHBY`
  if (isOver) pv1[36] = choices.disposition ?? '01'
  pv1[44] = hl7Time(new Date(at.getTime() - 2 * 86_400_000))
  if (event === 'A03') pv1[45] = time
  return [
    [
      'MSH',
      '^~\\&',
      'ADT1',
      choices.sendingFacility ?? 'ASHBY',
      'BLUEPOST',
      'ASHBY',
      time,
      '',
      `ADT^${event}^ADT_${structure}`,
      choices.controlId ?? unique(16),
      choices.processingId ?? 'P',
      '2.5.1',
      '',
      '',
      choices.acceptAck ?? '',
      choices.applicationAck ?? '',
      '',
      'UNICODE UTF-8',
    ],
    ['EVN', event, time, '', '', '', time],
    [
      'PID',
      '1',
      '',
      identifiers,
      '',
      `${hl7Text(person.family)}^${hl7Text(person.given)}`,
      '',
      person.birthDate.replaceAll('-', ''),
      { female: 'F', male: 'M', other: 'O', unknown: 'U' }[person.gender ?? 'unknown'],
    ],
    Array.from(pv1, (field) => field ?? ''),
  ]
    .map((fields) => `${fields.join('|').replace(/\|+$/, '')}\r`)
    .join('')
}

/** The story’s message: the hospital discharges somebody. */
export function dischargeOf(person: Person, choices: Omit<AdtChoices, 'event'> = {}): string {
  return adtOf(person, { ...choices, event: 'A03' })
}

/** … and finds that it was a mistake. Name the visit of the discharge it takes back. */
export function cancelledDischargeOf(person: Person, visit: string, choices: AdtChoices = {}): string {
  return adtOf(person, { ...choices, event: 'A13', visit })
}

/** Delimiters inside a value are escaped (HL7 v2.5.1 ch. 2.7). */
function hl7Text(text: string): string {
  const escapes: Record<string, string> = {
    '|': '\\F\\',
    '^': '\\S\\',
    '&': '\\T\\',
    '~': '\\R\\',
    '\\': '\\E\\',
  }
  return text.replace(/[|^&~\\]/g, (mark) => escapes[mark] ?? mark)
}

/** Letters and digits that are new each time; MSH-10 has room for 20 (v2.5.1). */
function unique(length: number): string {
  return randomBytes(length).toString('hex').slice(0, length).toUpperCase()
}
