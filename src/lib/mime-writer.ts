/**
 * Header fields, parameters and text bodies of a MIME message. Everything that comes out is ASCII in lines of at most
 * 76 characters where it can be folded, and never more than 998 (RFC 5322 §2.1.1). A value with a line break, a NUL or
 * another control character is refused: a name from a record can never add a header or a line of its own.
 */

/** RFC 5322 §2.1.1: octets of a line without its CRLF, must and should. */
const lineOctetsMax = 998
const lineOctetsWanted = 76
/** RFC 2047 §2: characters of one encoded word. */
const encodedWordMax = 75
/** A subject or display name is for people; longer ones are a mistake or an attack. */
const textCharactersMax = 4096

/** A value cannot stand in a message. Names the field, never the value. */
export class UnsafeText extends Error {
  readonly where: string
  readonly because: string

  constructor(where: string, because: string) {
    super(`${where} ${because}`)
    this.name = 'UnsafeText'
    this.where = where
    this.because = because
  }
}

/**
 * Refuses control characters (line breaks and NUL before all), lone surrogates and excessive length.
 *
 * @returns the text itself
 * @throws UnsafeText
 */
export function safeText(where: string, text: string): string {
  if (/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/.test(text))
    throw new UnsafeText(where, 'has a line break or another control character; remove it')
  if (!text.isWellFormed()) throw new UnsafeText(where, 'is not well-formed Unicode')
  if (text.length > textCharactersMax)
    throw new UnsafeText(where, `is longer than ${textCharactersMax} characters`)
  return text
}

/**
 * One header field whose value is structured and ASCII already: folded at its blanks, with CRLF.
 *
 * @throws UnsafeText for control and non-ASCII characters, or a piece that no folding brings below 998
 */
export function field(name: string, value: string): string {
  safeText(`header ${name}`, value)
  if (!/^[\x20-\x7e]*$/.test(value))
    throw new UnsafeText(`header ${name}`, 'has characters that are not ASCII')
  let line = `${name}:`
  const lines: string[] = []
  for (const piece of value.split(' ')) {
    const grown = `${line} ${piece}`
    // Folding before an empty piece would make a line of blanks only (RFC 5322 §3.2.2).
    if (grown.length > lineOctetsWanted && line !== `${name}:` && piece !== '' && line.trim() !== '') {
      lines.push(line)
      line = ` ${piece}`
    } else line = grown
    if (line.length > lineOctetsMax)
      throw new UnsafeText(`header ${name}`, `has a piece longer than a line may be (${lineOctetsMax})`)
  }
  return `${[...lines, line].join('\r\n')}\r\n`
}

/** A header field of free text: as it is where it is plain ASCII, else in encoded words (RFC 2047). */
export function textField(name: string, text: string): string {
  safeText(`header ${name}`, text)
  const plain = /^[\x20-\x7e]*$/.test(text) && !text.includes('=?') && text.trim() === text
  const fits = !text.split(' ').some((word) => word.length > lineOctetsWanted - 2)
  return field(name, plain && fits && !text.includes('  ') ? text : encodedWords(text, name.length + 2))
}

/**
 * RFC 2047 encoded words in UTF-8, B encoding, split between characters, separated by a blank.
 *
 * @param before characters that stand on the first line already
 */
export function encodedWords(text: string, before = 0): string {
  // =?utf-8?B?…?= leaves 63 characters of base64 on a line of its own, which is 45 bytes in whole groups.
  const bytesMax = (used: number) => Math.floor((encodedWordMax - '=?utf-8?B??='.length - used) / 4) * 3
  const words: string[] = []
  let piece = ''
  for (const character of text) {
    if (Buffer.byteLength(piece + character) > bytesMax(words.length === 0 ? before : 0)) {
      words.push(piece)
      piece = ''
    }
    piece += character
  }
  words.push(piece)
  return words.map((word) => `=?utf-8?B?${Buffer.from(word).toString('base64')}?=`).join(' ')
}

/**
 * A parameter of a header field, with its leading `; `: a token or quoted string where it is plain and short, else in
 * RFC 2231 continuations.
 *
 * @example parameter('filename', 'Ärztin.xml')  // `; filename*0*=utf-8''%C3%84rztin.xml`
 */
export function parameter(name: string, value: string): string {
  safeText(`parameter ${name}`, value)
  if (/^[A-Za-z0-9!#$&+.^_`{|}~-]+$/.test(value) && value.length <= 60) return `; ${name}=${value}`
  if (/^[\x20-\x7e]*$/.test(value) && value.length <= 60)
    return `; ${name}="${value.replaceAll(/["\\]/g, (character) => `\\${character}`)}"`
  const pieces: string[] = []
  let piece = `utf-8''`
  for (const octet of Buffer.from(value)) {
    const character = String.fromCharCode(octet)
    const encoded = /[A-Za-z0-9.\-_]/.test(character)
      ? character
      : `%${octet.toString(16).toUpperCase().padStart(2, '0')}`
    if (piece.length + encoded.length > 60) {
      pieces.push(piece)
      piece = ''
    }
    piece += encoded
  }
  pieces.push(piece)
  return pieces.map((text, index) => `; ${name}*${index}*=${text}`).join('')
}

/**
 * An addr-spec in angle-free form, ASCII, without quoting: what a Direct address is.
 *
 * @throws UnsafeText
 */
export function address(where: string, text: string): string {
  safeText(where, text)
  if (text.length > 320 || !/^[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+@[A-Za-z0-9.-]+$/.test(text))
    throw new UnsafeText(where, 'is not a Direct address')
  return text
}

/** A Message-ID with its angle brackets (RFC 5322 §3.6.4). */
export function messageId(where: string, text: string): string {
  safeText(where, text)
  if (
    text.length > 250 ||
    !/^<[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+@[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+>$/.test(text)
  )
    throw new UnsafeText(where, 'is not of the form <left@right>')
  return text
}

const days = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat']
const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']

/** RFC 5322 §3.3 in UTC: `Sun, 22 Nov 2026 17:00:00 +0000`. */
export function mailDate(at: Date): string {
  const two = (number: number) => String(number).padStart(2, '0')
  if (Number.isNaN(at.getTime())) throw new UnsafeText('header Date', 'is not a date')
  return (
    `${days[at.getUTCDay()]}, ${at.getUTCDate()} ${months[at.getUTCMonth()]} ${at.getUTCFullYear()} ` +
    `${two(at.getUTCHours())}:${two(at.getUTCMinutes())}:${two(at.getUTCSeconds())} +0000`
  )
}

/**
 * Quoted-printable in UTF-8 (RFC 2045 §6.7), lines of at most 76 with CRLF. Line breaks in `text` (LF or CRLF) stay
 * line breaks; the result ends with one.
 */
export function quotedPrintable(text: string): string {
  const lines: string[] = []
  for (const textLine of text.split(/\r?\n/)) {
    let line = ''
    const octets = Buffer.from(textLine)
    for (const [index, octet] of octets.entries()) {
      const isLast = index === octets.length - 1
      const isPlain =
        (octet >= 0x21 && octet <= 0x7e && octet !== 0x3d) || ((octet === 0x20 || octet === 0x09) && !isLast)
      const encoded = isPlain
        ? String.fromCharCode(octet)
        : `=${octet.toString(16).toUpperCase().padStart(2, '0')}`
      // One column stays free for the soft break, unless this is the end of the line.
      if (line.length + encoded.length > (isLast ? lineOctetsWanted : lineOctetsWanted - 1)) {
        lines.push(`${line}=`)
        line = ''
      }
      line += encoded
    }
    lines.push(line)
  }
  if (lines.at(-1) === '') lines.pop()
  return lines.map((line) => `${line}\r\n`).join('')
}
