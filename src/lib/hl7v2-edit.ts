import { encodeHl7 } from './hl7v2-charset.ts'
import { escapeHl7, parsePath, readHl7 } from './hl7v2.ts'
import type { Hl7Path, Hl7Segment, Separators } from './hl7v2.ts'

/**
 * A message with one value set, for tests and samples: fields, repetitions, components and segments that are missing are
 * made. A path to a whole field takes the text as written, separators included; a path with a component takes plain
 * text, which is escaped.
 *
 * @throws TypeError where the path is none or names MSH-1 or MSH-2, or the character set cannot hold the value
 * @throws Hl7Unreadable where the bytes are not a message
 * @example setField(bytes, 'PV1-36', '07')
 */
export function setField(bytes: Buffer, path: string, value: string): Buffer {
  const reading = parsePath(path)
  if (!reading.valid) throw new TypeError(reading.because)
  const place = reading.path
  if (place.segment === 'MSH' && place.field <= 2) throw new TypeError('MSH-1 and MSH-2 cannot be set')
  const message = readHl7(bytes)
  const { separators } = message
  const texts = message.segments().map((segment) => segment.text)
  const occurrence = place.occurrence ?? 1
  const there = message.segments(place.segment)
  for (let missing = there.length; missing < occurrence; missing++) texts.push(place.segment)
  const target = indexOf(message.segments(), place.segment, occurrence, texts)
  texts[target] = withField(texts[target]!, place, value, separators)
  const edited = encodeHl7(texts.join('\r') + '\r', message.charset)
  if (edited === undefined)
    throw new TypeError(`a message in ${message.charset} cannot be changed to hold that value`)
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
    const repetitions = fields[index]!.split(needed(separators.repetition, place.repetition ?? 1))
    const repetition = (place.repetition ?? 1) - 1
    fill(repetitions, repetition)
    repetitions[repetition] =
      place.component === undefined
        ? value
        : withComponent(repetitions[repetition]!, place, value, separators)
    fields[index] = repetitions.join(separators.repetition)
  }
  return fields.join(separators.field)
}

function withComponent(repetition: string, place: Hl7Path, value: string, separators: Separators): string {
  const text = escapeHl7(value, separators)
  const components = repetition.split(separators.component)
  const component = place.component! - 1
  fill(components, component)
  if (place.subcomponent === undefined) components[component] = text
  else {
    const subcomponents = components[component]!.split(needed(separators.subcomponent, place.subcomponent))
    fill(subcomponents, place.subcomponent - 1)
    subcomponents[place.subcomponent - 1] = text
    components[component] = subcomponents.join(separators.subcomponent)
  }
  return components.join(separators.component)
}

/** A separator that the message does not have can still split text that does not need it. */
function needed(separator: string | undefined, n: number): string {
  if (separator !== undefined) return separator
  if (n > 1) throw new TypeError('MSH-2 of the message has no separator for this path')
  return '\0'
}

function fill(parts: string[], index: number): void {
  while (parts.length <= index) parts.push('')
}
