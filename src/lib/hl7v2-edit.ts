import { readHl7 } from './hl7v2.ts'
import { charsetNamed, encodeHl7 } from './hl7v2-charset.ts'
import { escapeHl7 } from './hl7v2-escape.ts'
import { parsePath } from './hl7v2-path.ts'
import type { Hl7Path } from './hl7v2-path.ts'
import type { Hl7Segment } from './hl7v2-segment.ts'
import type { Separators } from './hl7v2-separators.ts'

/**
 * A message with one value set, for tests and samples: fields, repetitions, components and segments that are missing are
 * made. A path to a whole field takes the text as written, separators included; a path with a component takes plain
 * text, which is escaped. The bytes stay in the character set that the message declares; MSH-18 itself changes both.
 *
 * @throws TypeError where the path is none or names MSH-1 or MSH-2, or the message cannot hold the value
 * @throws Hl7Unreadable where the bytes are not a message
 * @example setField(bytes, 'PV1-36', '07')
 */
export function setField(bytes: Buffer, path: string, value: string): Buffer {
  const reading = parsePath(path)
  if (!reading.valid) throw new TypeError(reading.because)
  const place = reading.path
  if (place.segment === 'MSH' && place.field <= 2) throw new TypeError('MSH-1 and MSH-2 cannot be set')
  if (/[\r\n]/.test(value) && place.component === undefined)
    throw new TypeError('a field cannot hold a line end: name the component, and it is escaped')
  const message = readHl7(bytes)
  const { separators } = message
  const texts = message.segments().map((segment) => segment.text)
  const occurrence = place.occurrence ?? 1
  const there = message.segments(place.segment)
  for (let missing = there.length; missing < occurrence; missing++)
    texts.push(place.segment + separators.field)
  const target = indexOf(message.segments(), place.segment, occurrence, texts)
  texts[target] = withField(texts[target]!, place, value, separators)
  const isCharset = place.segment === 'MSH' && place.field === 18
  const charset = (isCharset ? charsetNamed(value) : undefined) ?? message.charset
  const edited = encodeHl7(texts.join('\r') + '\r', charset)
  if (edited === undefined)
    throw new TypeError(`a message in ${charset} cannot be changed to hold that value`)
  return edited
}

function indexOf(
  segments: readonly Hl7Segment[],
  name: string,
  occurrence: number,
  texts: readonly string[],
): number {
  let left = occurrence
  for (const [index, segment] of segments.entries()) if (segment.name === name && --left === 0) return index
  return texts.length - 1
}

function withField(segment: string, place: Hl7Path, value: string, separators: Separators): string {
  const fields = segment.split(separators.field)
  // MSH-1 is the separator itself: MSH-3 is the third part, PID-3 the fourth.
  const index = place.segment === 'MSH' ? place.field - 1 : place.field
  fill(fields, index)
  if (place.component === undefined && place.repetition === undefined) fields[index] = value
  else {
    const nth = (place.repetition ?? 1) - 1
    const repetitions = parts(fields[index]!, separators.repetition, nth)
    repetitions[nth] =
      place.component === undefined ? value : withComponent(repetitions[nth]!, place, value, separators)
    fields[index] = repetitions.join(separators.repetition)
  }
  return fields.join(separators.field)
}

function withComponent(repetition: string, place: Hl7Path, value: string, separators: Separators): string {
  const text = escapeHl7(value, separators)
  if (text === undefined)
    throw new TypeError('MSH-2 of the message has no escape character to write this value with')
  const component = place.component! - 1
  const components = parts(repetition, separators.component, component)
  if (place.subcomponent === undefined) components[component] = text
  else {
    const subcomponents = parts(components[component]!, separators.subcomponent, place.subcomponent - 1)
    subcomponents[place.subcomponent - 1] = text
    components[component] = subcomponents.join(separators.subcomponent)
  }
  return components.join(separators.component)
}

/** The parts of a text, at least up to the n-th, counted from 0. A separator that the message does not have splits nothing. */
function parts(text: string, separator: string | undefined, n: number): string[] {
  if (separator === undefined && n > 0)
    throw new TypeError('MSH-2 of the message has no separator for this path')
  const found = separator === undefined ? [text] : text.split(separator)
  fill(found, n)
  return found
}

function fill(parts: string[], index: number): void {
  while (parts.length <= index) parts.push('')
}
