import { Hl7Unreadable } from './hl7v2-unreadable.ts'

/** MSH-1 and MSH-2. Undefined where MSH-2 is shorter than the full set: that level does not occur in the message. */
export interface Separators {
  readonly field: string
  readonly component: string
  readonly repetition: string | undefined
  readonly escape: string | undefined
  readonly subcomponent: string | undefined
  /** The fifth character, since v2.7 (ch. 2.5.5.2). */
  readonly truncation: string | undefined
}

/**
 * HL7 v2.5.1 ch. 2.5.4: MSH-1, then component, repetition, escape, subcomponent and, since v2.7, truncation. Characters,
 * not bytes: a sender in France uses U+02DC, two bytes long, as its repetition separator.
 */
export function readSeparators(text: string): Separators {
  const field = text.charAt(3)
  if (!isSeparator(field))
    throw new Hl7Unreadable(
      'hl7-separators',
      'MSH-1, the field separator, is missing or not a punctuation mark',
    )
  let end = text.indexOf(field, 4)
  const line = /[\r\n]/.exec(text.slice(4, 12))
  if (line !== null && (end === -1 || 4 + line.index < end)) end = 4 + line.index
  const characters = [...text.slice(4, end === -1 ? 16 : Math.min(end, 16))]
  if (characters.length === 0 || characters.length > 5)
    throw new Hl7Unreadable('hl7-separators', 'MSH-2 must hold one to five separators, usually ^~\\&')
  if (!characters.every(isSeparator))
    throw new Hl7Unreadable(
      'hl7-separators',
      'MSH-2 holds a letter, digit or blank where a separator belongs',
    )
  if (new Set([field, ...characters]).size !== characters.length + 1)
    throw new Hl7Unreadable('hl7-separators', 'MSH-1 and MSH-2 name the same separator twice')
  const [component, repetition, escape, subcomponent, truncation] = characters
  return { field, component: component!, repetition, escape, subcomponent, truncation }
}

function isSeparator(character: string): boolean {
  return character > ' ' && character !== '\x7f' && !/[\p{L}\p{N}\p{Z}\p{C}"]/u.test(character)
}
