import { unescapeHl7 } from './hl7v2-escape.ts'
import { relativePathOf } from './hl7v2-path.ts'
import type { RelativePath } from './hl7v2-path.ts'
import type { Separators } from './hl7v2-separators.ts'
import { Hl7Unreadable } from './hl7v2-unreadable.ts'

/** More fields in one segment, or repetitions of one field, than any version of HL7 knows; the rest is not looked at. */
const fieldsMax = 1_000
const repetitionsMax = 5_000

/** One segment. Field numbers are those of the standard: MSH-1 is the field separator itself. */
export class Hl7Segment {
  readonly name: string
  readonly text: string
  readonly #separators: Separators
  readonly #charset: string
  #fields: string[] | undefined

  constructor(name: string, text: string, separators: Separators, charset: string) {
    this.name = name
    this.text = text
    this.#separators = separators
    this.#charset = charset
  }

  /** The raw text of a field; empty where there is none. */
  field(field: number): string {
    this.#fields ??= this.text.split(this.#separators.field, fieldsMax + 1)
    if (!isHeader(this.name)) return this.#fields[field] ?? ''
    return field === 1 ? this.#separators.field : (this.#fields[field - 1] ?? '')
  }

  /** The raw text of one leaf; empty where there is none. */
  leaf(field: number, repetition = 1, component = 1, subcomponent = 1): string {
    const text = this.field(field)
    if (text === '') return ''
    if (field <= 2 && isHeader(this.name)) return text
    return leafOf(
      part(text, this.#separators.repetition, repetition),
      this.#separators,
      component,
      subcomponent,
    )
  }

  value(field: number, repetition = 1, component = 1, subcomponent = 1): string | undefined {
    const leaf = this.leaf(field, repetition, component, subcomponent)
    if (leaf === '' || leaf === '""') return undefined
    if (field <= 2 && isHeader(this.name)) return leaf
    return unescapeHl7(leaf, this.#separators, this.#charset)
  }

  /** @throws Hl7Unreadable beyond {@link repetitionsMax} */
  repetitions(field: number): readonly Hl7Repetition[] {
    const text = this.field(field)
    if (text === '') return []
    const { repetition } = this.#separators
    const isWhole = repetition === undefined || (field <= 2 && isHeader(this.name))
    const parts = isWhole ? [text] : text.split(repetition, repetitionsMax + 1)
    if (parts.length > repetitionsMax)
      throw new Hl7Unreadable(
        'hl7-too-many-repetitions',
        `${this.name}-${field} has more than ${repetitionsMax} repetitions`,
      )
    return parts.map((one) => new Hl7Repetition(one, this.#separators, this.#charset))
  }
}

/** One repetition of a field, such as one identifier of PID-3. */
export class Hl7Repetition {
  readonly text: string
  readonly #separators: Separators
  readonly #charset: string

  constructor(text: string, separators: Separators, charset: string) {
    this.text = text
    this.#separators = separators
    this.#charset = charset
  }

  /** The value at `4` or `4.1` within this repetition; undefined where empty or null. */
  value(path: string | RelativePath): string | undefined {
    const leaf = this.#leaf(path)
    return leaf === '' || leaf === '""' ? undefined : unescapeHl7(leaf, this.#separators, this.#charset)
  }

  #leaf(path: string | RelativePath): string {
    const { component, subcomponent = 1 } = relativePathOf(path)
    return leafOf(this.text, this.#separators, component, subcomponent)
  }
}

/** Segments whose first two fields are the separators. */
export function isHeader(name: string): boolean {
  return name === 'MSH' || name === 'FHS' || name === 'BHS'
}

/** The n-th part of a text, counted from 1; empty where there is none. */
export function part(text: string, separator: string | undefined, n: number): string {
  if (separator === undefined) return n === 1 ? text : ''
  let from = 0
  for (let left = n; left > 1; left--) {
    const next = text.indexOf(separator, from)
    if (next === -1) return ''
    from = next + separator.length
  }
  const to = text.indexOf(separator, from)
  return to === -1 ? text.slice(from) : text.slice(from, to)
}

function leafOf(text: string, separators: Separators, component: number, subcomponent: number): string {
  return part(part(text, separators.component, component), separators.subcomponent, subcomponent)
}
