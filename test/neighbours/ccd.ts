import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'

/** A patient as the hospital and its FHIR server know her. */
export interface Person {
  /** Logical id on the FHIR server. */
  id: string
  identifiers: { system: string; value: string; type?: string }[]
  family: string
  given: string
  /** YYYY-MM-DD */
  birthDate: string
  gender?: 'female' | 'male' | 'other' | 'unknown'
}

export interface CcdChoices {
  effectiveTime: Date
  /** Length of the document in bytes, met exactly where it leaves room for the header and one row (about 9 kB). */
  bytes?: number
  version?: number
  code?: keyof typeof kinds
  confidentiality?: string
  /** Anything that makes two documents of one patient and one moment differ. */
  seed?: string
}

export const ccdBytes = 60_000 // about the mean of certified samples, 76 kB

const kinds = {
  '34133-9': { title: 'Summarization of Episode Note', template: '2.16.840.1.113883.10.20.22.1.2' },
  '18842-5': { title: 'Discharge Summary', template: '2.16.840.1.113883.10.20.22.1.8' },
  '57133-1': { title: 'Referral Note', template: '2.16.840.1.113883.10.20.22.1.14' },
  '11506-3': { title: 'Progress Note', template: '2.16.840.1.113883.10.20.22.1.9' },
}

const template = readFileSync(new URL('./ccd-template.xml', import.meta.url), 'utf8')

/** A synthetic C-CDA (US Realm Header, R2.1). The same choices always give the same bytes. */
export function ccdOf(person: Person, choices: CcdChoices): Buffer {
  const code = choices.code ?? '34133-9'
  const seed = `${person.id} ${choices.effectiveTime.toISOString()} ${choices.version ?? 1} ${choices.seed ?? ''}`
  const filled = template.replace(/\{\{(\w+)\}\}/g, (whole, name: string) => {
    switch (name) {
      case 'documentTemplate':
        return kinds[code].template
      case 'documentId':
        return uuidFrom(`document ${seed}`)
      case 'setId':
        return uuidFrom(`set ${person.id} ${code}`)
      case 'version':
        return String(choices.version ?? 1)
      case 'code':
        return code
      case 'title':
        return kinds[code].title
      case 'effectiveTime':
        return hl7Time(choices.effectiveTime)
      case 'confidentiality':
        return choices.confidentiality ?? 'N'
      case 'patientIds':
        return person.identifiers
          .map(
            ({ system, value }) =>
              `      <id root="${escaped(system.replace(/^urn:oid:/, ''))}" extension="${escaped(value)}"/>`,
          )
          .join('\n')
      case 'given':
        return escaped(person.given)
      case 'family':
        return escaped(person.family)
      case 'gender':
        return person.gender === 'male' ? 'M' : person.gender === 'female' ? 'F' : 'UN'
      case 'birthTime':
        return person.birthDate.replaceAll('-', '')
      default:
        return whole
    }
  })
  const [head, tail] = filled.split('{{results}}')
  if (head === undefined || tail === undefined) throw new Error('the template has no place for results')
  const pieces: Buffer[] = [Buffer.from(head)]
  let left = (choices.bytes ?? ccdBytes) - Buffer.byteLength(head) - Buffer.byteLength(tail)
  for (let row = 0; row === 0 || left > 0; row++) {
    let piece: Buffer = Buffer.from(resultRow(row, seed.length))
    // The last row takes what is left, so that the size is met to the byte.
    if (left - piece.length < rowBytesMin) piece = stretched(piece, left - piece.length)
    pieces.push(piece)
    left -= piece.length
  }
  return Buffer.concat([...pieces, Buffer.from(tail)])
}

const rowBytesMin = 400

function stretched(row: Buffer, by: number): Buffer {
  const end = row.lastIndexOf('</td></tr>')
  return Buffer.concat([row.subarray(0, end), Buffer.alloc(Math.max(0, by), '.'), row.subarray(end)])
}

const tests = [
  ['Hemoglobin', 'g/dL', 12, 16],
  ['Leukocytes', '10*3/uL', 4, 11],
  ['Platelets', '10*3/uL', 150, 400],
  ['Sodium', 'mmol/L', 135, 145],
  ['Potassium', 'mmol/L', 3, 5],
  ['Creatinine', 'mg/dL', 1, 2],
  ['C reactive protein', 'mg/L', 0, 10],
] as const

function resultRow(row: number, salt: number): string {
  const [name, unit, low, high] = tests[row % tests.length] ?? tests[0]
  const value = low + ((row * 7919 + salt * 104729) % ((high - low) * 10 + 7)) / 10
  const day = new Date(Date.UTC(2026, 0, 1) - (row % 3650) * 86_400_000).toISOString().slice(0, 10)
  const comment = `${name} was measured by the laboratory of Ashby Medical Center in a sample taken at rest. ${remarks[row % remarks.length]}`
  return `                <tr ID="result${row}"><td>${name}</td><td>${value.toFixed(1)} ${unit}</td><td>${low}–${high} ${unit}</td><td>${day}</td><td>${comment}</td></tr>\n`
}

const remarks = [
  'The value lies within the range that is usual for this patient and needs no further control.',
  'The value is to be controlled by the family physician within four weeks of the discharge.',
  'Compared with the value of the admission there is a clear tendency towards the normal range.',
]

/** A moment in HL7 notation with its zone: 20261122214500+0000. */
export function hl7Time(at: Date): string {
  return `${at
    .toISOString()
    .replace(/[-:T]/g, '')
    .replace(/\.\d+Z$/, '')}+0000`
}

function escaped(text: string): string {
  return text.replace(/[&<>"]/g, (mark) => `&#${mark.charCodeAt(0)};`)
}

function uuidFrom(text: string): string {
  const hex = createHash('sha256').update(text).digest('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`
}
