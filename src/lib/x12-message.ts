import { X12Reader, X12Unreadable, type X12Segment } from './x12.ts'
import { parseX12Path, type X12PartPath, type X12Path, type X12SegmentPath } from './x12-path.ts'

/** One transaction, opened for reading: an 835 of one claim, nearly always. */
export class X12Message {
  readonly #segments: readonly X12Segment[]
  readonly #decode: (latin1: string) => string

  constructor(segments: readonly X12Segment[], decode: (latin1: string) => string) {
    this.#segments = segments
    this.#decode = decode
  }

  /** The segments of that name whose first element is the qualifier, in order. */
  segments({ segment, qualifier }: X12SegmentPath): readonly X12Segment[] {
    return this.#segments.filter(
      ({ id, elements }) => id === segment && (qualifier === undefined || elements[1]?.trim() === qualifier),
    )
  }

  /** The value in the first such segment that has one; empty values count as none. */
  first(path: X12Path): string | undefined {
    for (const value of this.all(path)) return value
    return undefined
  }

  /** The values of all such segments, trimmed, without empty ones. */
  *all(path: X12Path): Generator<string> {
    for (const segment of this.segments(path)) {
      const value = this.valueIn(segment, path)
      if (value !== undefined) yield value
    }
  }

  /** A value inside one segment. A repeated element gives its first repetition, as paths name no other. */
  valueIn(
    { elements, separators }: X12Segment,
    { element, through, component }: X12PartPath,
  ): string | undefined {
    if (through !== undefined && elements[element]?.trim() === '') return undefined
    const whole = elements
      .slice(element, (through ?? element) + 1)
      .map((one) => one.trim())
      .join('')
    // ISA11 and ISA16 are the separators themselves.
    const isHeader = elements[0] === 'ISA'
    const once =
      isHeader || separators.repetition === undefined ? whole : whole.split(separators.repetition)[0]!
    const value =
      component === undefined || isHeader ? once : (once.split(separators.component)[component - 1] ?? '')
    const text = this.#decode(value).trim()
    return text === '' ? undefined : text
  }
}

/**
 * Opens a whole message: UTF-8 where it is valid, else windows-1252 (X12 itself knows ASCII alone; names are seen in both).
 *
 * @throws X12Unreadable
 */
export function readX12(bytes: Buffer): X12Message {
  const reader = new X12Reader()
  const segments = [...reader.push(bytes), ...reader.end()]
  if (segments.length === 0) throw new X12Unreadable('there is no segment in it')
  if (segments.filter(({ id }) => id === 'CLP').length > 1)
    throw new X12Unreadable('it holds several claims (CLP): each is a message of its own')
  return new X12Message(segments, decoderFor(bytes))
}

const utf8 = new TextDecoder('utf-8', { fatal: true })
const windows1252 = new TextDecoder('windows-1252')

function decoderFor(bytes: Buffer): (latin1: string) => string {
  let decoder = utf8
  try {
    utf8.decode(bytes)
  } catch {
    decoder = windows1252
  }
  return (latin1) => (/^[\x00-\x7f]*$/.test(latin1) ? latin1 : decoder.decode(Buffer.from(latin1, 'latin1')))
}

/**
 * A message with one element changed, or filled where it is missing: for tests inside channel files.
 *
 * @throws Error where there is no such segment, or the value would break the message
 */
export function setX12(bytes: Buffer, path: string, value: string): Buffer {
  const reading = parseX12Path(path)
  if (!reading.valid) throw new Error(reading.because)
  const { segment, qualifier, element, through, component } = reading.path
  if (through !== undefined) throw new Error('only one element can be set at a time')
  const reader = new X12Reader()
  const segments = [...reader.push(bytes), ...reader.end()]
  const found = segments.find(
    ({ id, elements }) => id === segment && (qualifier === undefined || elements[1] === qualifier),
  )
  if (found === undefined) throw new Error(`the sample has no ${segment}${qualifier ? `[${qualifier}]` : ''}`)
  const { separators } = found
  const latin1 = Buffer.from(value).toString('latin1')
  const isHeader = segment === 'ISA'
  const marks = [
    separators.element,
    separators.terminator,
    '\r',
    '\n',
    ...(component === undefined ? [] : [separators.component]),
  ]
  if (marks.some((mark) => latin1.includes(mark)))
    throw new Error('the value holds a separator of the sample')
  const elements = [...found.elements]
  while (elements.length <= element) elements.push('')
  if (isHeader && latin1.length > elements[element]!.length)
    throw new Error('ISA has fixed widths: the value is too long')
  if (component === undefined)
    elements[element] = isHeader ? latin1.padEnd(elements[element]!.length) : latin1
  else {
    const components = elements[element]!.split(separators.component)
    while (components.length < component) components.push('')
    components[component - 1] = latin1
    elements[element] = components.join(separators.component)
  }
  const text = segments
    .map((one) => (one === found ? elements.join(separators.element) : one.text) + one.separators.terminator)
    .join(/[\r\n]/.test(separators.terminator) ? '' : '\n')
  return Buffer.from(text, 'latin1')
}
