import type { Separators } from '../lib/hl7v2-separators.ts'
import type { Replacements } from './replacements.ts'

/** A text made up after a message, and what had to stay as it was. */
export interface Synthetic {
  readonly text: string
  /** By place: `MSH-4`. */
  readonly kept: ReadonlyMap<string, string>
  /** Words and numbers by which the patient, and people around her, are known; in lower case. */
  readonly known: ReadonlySet<string>
}

/**
 * Fields that say what kind of message it is, in what state, by which code system; never who. Of the sender, names of systems: filters
 * ask for them.
 */
const keptFields = new Set(
  `MSH-1 MSH-2 MSH-3 MSH-4 MSH-5 MSH-6 MSH-9 MSH-11 MSH-12 MSH-15 MSH-16 MSH-17 MSH-18 MSH-19 MSH-20 MSH-21 EVN-1 EVN-4 PID-8 PID-10
   PID-15 PID-16 PID-17 PID-22 PID-24 PID-30 PV1-2 PV1-4 PV1-10 PV1-14 PV1-15 PV1-18 PV1-36 PV1-37 PV2-22 TXA-2 TXA-3 TXA-17 TXA-18 TXA-19 ORC-1
   ORC-5 OBR-4 OBR-24 OBR-25 OBX-2 OBX-3 OBX-6 OBX-8 OBX-11 DG1-2 DG1-6 IN1-15 NK1-3 ZBE-4 ZBE-6 FHS-1 FHS-2 BHS-1 BHS-2`.split(
    /\s+/,
  ),
)

/** Where people are named. */
const identityFields =
  /^(?:PID-(?:2|3|4|5|6|7|9|11|12|13|14|18|19|20|21|23)|MRG-\d+|NK1-(?:2|4|5|6|7|30|31|32|33)|GT1-(?:2|3|4|5|6|7|8|12|16|18|19)|IN1-(?:2|16|18|19|36|49)|IN2-.*|PV1-(?:5|19|50))$/

/** XAD (ch. 2A.89). */
const addressFields = new Set('PID-11 PID-23 NK1-4 NK1-32 GT1-5 IN1-19'.split(' '))

/** CX (HL7 v2.5.1 ch. 2A.14): the authority, the type and the facility of a number are not the patient’s. */
const numberFields = new Set(
  'PID-2 PID-3 PID-4 PID-18 PID-20 PID-21 MRG-1 MRG-2 MRG-3 MRG-4 MRG-5 MRG-6 PV1-5 PV1-19 PV1-50 OBR-2 OBR-3 ORC-2 ORC-3 TXA-12 TXA-13'.split(
    ' ',
  ),
)
const keptComponents = new Set([4, 5, 6])

/** HL7v2 in text, segment by segment: separators, repetitions, components, escapes and empty places stay where they are. */
export function syntheticHl7v2(
  text: string,
  { field, component, repetition, escape }: Separators,
  replacements: Replacements,
): Synthetic {
  const kept = new Map<string, string>()
  const known = new Set<string>()
  const keep = (place: string, value: string) => {
    if (value !== '') kept.set(place, `${kept.get(place) ?? ''} ${value}`)
    return value
  }
  const noted = (place: string, number: number, part: string) => {
    // A hospital is often named after its town, where many live.
    const isTold = !addressFields.has(place) || [1, 2, 5].includes(number)
    if (isTold && identityFields.test(place)) for (const token of tokensOf(part)) known.add(token)
    return part
  }
  const made = text.split(/\r\n|\r|\n/).map((segment) => {
    const name = segment.slice(0, 3)
    const isHeader = name === 'MSH' || name === 'FHS' || name === 'BHS'
    const fields = segment.split(field)
    return fields
      .map((value, at) => {
        if (at === 0 || value === '' || value === '""') return value
        // Where the first field is the separator itself.
        const place = `${name}-${isHeader ? at + 1 : at}`
        if (keptFields.has(place) || (at === 1 && /^\d{1,4}$/.test(value))) return keep(place, value)
        if (place === 'OBX-5' && fields[2] === 'ED') return embedded(value, component)
        const repeated = repetition === undefined ? [value] : value.split(repetition)
        return repeated
          .map((one) =>
            one
              .split(component)
              .map((part, number) =>
                numberFields.has(place) && keptComponents.has(number + 1)
                  ? keep(`${place}.${number + 1}`, part)
                  : replaced(noted(place, number + 1, part), escape, replacements),
              )
              .join(component),
          )
          .join(repetition ?? '')
      })
      .join(field)
  })
  return { text: made.join('\r'), kept, known }
}

/** What escapes stand for separators and line breaks stays; what they spell in hexadecimal does not. */
function replaced(text: string, escape: string | undefined, replacements: Replacements): string {
  const moved = replacements.moment(text)
  if (moved !== undefined) return moved
  if (escape === undefined) return replacements.text(text)
  return text
    .split(escape)
    .map((piece, at, all) => {
      if (at % 2 === 0 || at === all.length - 1) return replacements.text(piece)
      if (/^[XCMZ]/.test(piece)) return `X${'78'.repeat(Math.max(1, Math.floor(piece.length / 2)))}`
      return /^(?:[FSTREHN]|\.[a-z]{2}[+-]?\d*)$/.test(piece) ? piece : replacements.text(piece)
    })
    .join(escape)
}

/** ED (ch. 2A.24): application, type, subtype, encoding, data. A document says more about a patient than all other fields. */
function embedded(value: string, component: string): string {
  const [application = '', type = '', subtype = '', encoding = ''] = value.split(component)
  void application
  const data = Buffer.from('A document that was made up.').toString(
    /^hex$/i.test(encoding) ? 'hex' : 'base64',
  )
  return ['', type, subtype, encoding, data].join(component)
}

/** Words and numbers that tell somebody apart: of three characters or more. */
export function tokensOf(text: string): string[] {
  return (text.toLowerCase().match(/[\p{L}\p{M}\p{N}]+/gu) ?? []).filter((token) => token.length > 2)
}

/** Places at which something of the original survives by which somebody is known; never what it is. */
export function survivors({ text, kept, known }: Synthetic): string[] {
  const places = [...kept].filter(([, value]) => tokensOf(value).some((token) => known.has(token)))
  if (places.length > 0) return places.map(([place]) => place)
  const keptTokens = new Set([...kept.values()].flatMap(tokensOf))
  return tokensOf(text).some((token) => known.has(token) && !keptTokens.has(token))
    ? ['a replaced value']
    : []
}
