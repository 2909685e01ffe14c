/** The separators of one interchange, as its ISA segment shows them. */
export interface X12Separators {
  readonly element: string
  readonly component: string
  /** Absent where ISA11 is a letter or digit: before version 00402 it named a standard, and some senders still write `U`. */
  readonly repetition?: string
  readonly terminator: string
}

/** A segment without its terminator. Texts are the latin1 view of the bytes. */
export interface X12Segment {
  readonly id: string
  /** As it stands between terminators. */
  readonly text: string
  /** `elements[1]` is the first element; `elements[0]` is the id. */
  readonly elements: readonly string[]
  readonly separators: X12Separators
  /** Where it begins in the file, in bytes from 0. */
  readonly byte: number
  /** Which segment of the file it is, from 1. */
  readonly number: number
}

/** The bytes are no X12. `because` says what and where, and quotes nothing. */
export class X12Unreadable extends Error {
  readonly because: string

  constructor(because: string) {
    super(because)
    this.name = 'X12Unreadable'
    this.because = because
  }
}

/** Of one segment. The longest of an 835 (NM1, CAS) stay below 1 kB; ISA16 misread makes one of the whole file. */
const segmentBytesMax = 64 * 1024

/** ISA has fixed widths (X12.5): 106 characters with its terminator. */
const headerLength = 106
/** Where its sixteen element separators stand. */
const headerPlaces = [3, 6, 17, 20, 31, 34, 50, 53, 69, 76, 81, 83, 89, 99, 101, 103]

/**
 * Reads X12 interchanges piece by piece: any number of them, each with separators of its own. Line ends behind terminators
 * and within segments (files of 80 columns) are no content. Holds one segment at most.
 *
 * @example
 * const reader = new X12Reader()
 * for await (const chunk of file) for (const segment of reader.push(chunk)) …
 * reader.end()
 */
export class X12Reader {
  #rest = ''
  #offset = 0
  #number = 0
  #separators: X12Separators | undefined;

  /** @throws X12Unreadable */
  *push(chunk: Buffer): Generator<X12Segment> {
    const text = this.#rest + chunk.toString('latin1')
    let at = 0
    try {
      for (;;) {
        at = this.#skipBlanks(text, at)
        const segment = this.#segmentAt(text, at)
        if (segment === undefined) break
        at = segment.end
        yield segment.found
      }
    } finally {
      this.#rest = text.slice(at)
      this.#offset += at
    }
  }

  /** The file is at its end. @returns the last segment, where only its terminator is missing; @throws X12Unreadable */
  *end(): Generator<X12Segment> {
    const rest = this.#rest.trim()
    if (rest === '') return
    const last = this.#separators && this.#segment(rest, this.#separators, this.#offset)
    if (last?.id !== 'IEA')
      throw new X12Unreadable(
        `the file ends at byte ${this.#offset + this.#rest.length} in the middle of a segment: it was cut off`,
      )
    yield last
  }

  #skipBlanks(text: string, from: number): number {
    let at = from
    if (this.#offset === 0 && at === 0 && text.startsWith('\xef\xbb\xbf')) at = 3
    while (at < text.length && ' \t\r\n\x1a'.includes(text.charAt(at))) at++
    return at
  }

  #segmentAt(text: string, at: number): { readonly found: X12Segment; readonly end: number } | undefined {
    if (text.length - at < 4 && !(this.#separators !== undefined && text.length > at)) return undefined
    const byte = this.#offset + at
    if (text.startsWith('ISA', at) && (this.#separators === undefined || this.#isHeaderAt(text, at))) {
      if (text.length - at < headerLength) return undefined
      this.#separators = separatorsOf(text.slice(at, at + headerLength), byte)
      const whole = text.slice(at, at + headerLength - 1)
      return { found: this.#segment(whole, this.#separators, byte), end: at + headerLength }
    }
    if (this.#separators === undefined)
      throw new X12Unreadable(
        `at byte ${byte} an ISA segment should begin: ${byte === 0 ? 'the file is no X12' : 'what stands there belongs to no interchange'}`,
      )
    const end = text.indexOf(this.#separators.terminator, at)
    if ((end === -1 ? text.length : end) - at > segmentBytesMax)
      throw new X12Unreadable(
        `the segment at byte ${byte} is longer than ${segmentBytesMax} bytes: its terminator is missing, or ISA names another one`,
      )
    if (end === -1) return undefined
    const found = this.#segment(text.slice(at, end), this.#separators, byte)
    if (found.id === 'IEA') this.#separators = undefined
    return { found, end: end + 1 }
  }

  #isHeaderAt(text: string, at: number): boolean {
    return (
      text.charAt(at + 3) === this.#separators!.element ||
      headerPlaces.every((place) => text[at + place] === text[at + 3])
    )
  }

  #segment(raw: string, separators: X12Separators, byte: number): X12Segment {
    const text = /[\r\n]/.test(raw) ? raw.replace(/[\r\n]+/g, '') : raw
    const elements = text.split(separators.element)
    const id = elements[0]!
    this.#number++
    if (!/^[A-Z][A-Z0-9]{1,2}$/.test(id))
      throw new X12Unreadable(
        `segment ${this.#number} at byte ${byte} does not begin with the name of a segment`,
      )
    return { id, text, elements, separators, byte, number: this.#number }
  }
}

function separatorsOf(header: string, byte: number): X12Separators {
  const element = header.charAt(3)
  const wrong = headerPlaces.findIndex((place) => header.charAt(place) !== element)
  if (wrong !== -1 || headerPlaces.length + 1 !== header.slice(0, 105).split(element).length)
    throw new X12Unreadable(
      `the ISA segment at byte ${byte} does not have its fixed width of ${headerLength} characters${wrong > 0 ? ` (ISA${String(wrong).padStart(2, '0')} is too short or too long)` : ''}: the sender has to pad its elements`,
    )
  const [repetition, component, terminator] = [82, 104, 105].map((place) => header.charAt(place)) as [
    string,
    string,
    string,
  ]
  const marks = [element, component, terminator]
  if (new Set(marks).size < marks.length || marks.some((mark) => /[A-Za-z0-9 ]/.test(mark)))
    throw new X12Unreadable(
      `the ISA segment at byte ${byte} names separators that cannot be told apart from text`,
    )
  const isSeparator = !/[A-Za-z0-9 ]/.test(repetition) && !marks.includes(repetition)
  return { element, component, terminator, ...(isSeparator && { repetition }) }
}
