import { isAscii, isUtf8 } from 'node:buffer'
import { TextDecoder } from 'node:util'
import { Hl7Unreadable } from './hl7v2-unreadable.ts'

export type CharsetFlag =
  /** High bytes without a word about them in MSH-18; read as UTF-8 where valid, else as windows-1252. */
  | 'charset-undeclared'
  /** The bytes are not what MSH-18 says; read as UTF-8 where valid, else as windows-1252. */
  | 'charset-contradicted'
  /** MSH-18 names a character set that is not in HL7 table 0211; the bytes are valid UTF-8, or what the channel says. */
  | 'charset-unknown'
  /** The sender itself sent U+FFFD: an earlier system has already lost a character. */
  | 'characters-lost'

interface Decoded {
  readonly text: string
  /** The name under which a TextDecoder knows it, or `ascii` or `iso-2022`; of bytes that are all ASCII, what was declared. */
  readonly charset: string
  readonly flags: readonly CharsetFlag[]
}

/**
 * HL7 table 0211, spelled without blanks and punctuation, beside the decoder that reads it. 8859/1 is read as
 * windows-1252: the bytes on which they differ are C1 controls, which nobody sends on purpose.
 */
const decoders = new Map<string, string>([
  ['ASCII', 'ascii'],
  ['USASCII', 'ascii'],
  ['ISOIR6', 'ascii'],
  ['88591', 'windows-1252'],
  ['ISO88591', 'windows-1252'],
  ['LATIN1', 'windows-1252'],
  ['WINDOWS1252', 'windows-1252'],
  ['CP1252', 'windows-1252'],
  ['ISOIR100', 'windows-1252'],
  ...[2, 3, 4, 5, 6, 7, 8, 10, 13, 14, 15, 16].flatMap((part): [string, string][] => [
    [`8859${part}`, `iso-8859-${part}`],
    [`ISO8859${part}`, `iso-8859-${part}`],
  ]),
  ['88599', 'windows-1254'],
  ['ISO88599', 'windows-1254'],
  ['ISOIR14', 'shift_jis'],
  ['ISOIR87', 'iso-2022'],
  ['ISOIR159', 'iso-2022'],
  ['GB180302000', 'gb18030'],
  ['GB18030', 'gb18030'],
  ['KSX1001', 'euc-kr'],
  ['ISOIR149', 'euc-kr'],
  ['BIG5', 'big5'],
  ['UNICODE', 'utf-8'],
  ['UNICODEUTF8', 'utf-8'],
  ['UTF8', 'utf-8'],
])

/** The decoder for a name of table 0211, as MSH-18 or a channel’s `encoding` writes it; undefined where we have none. */
export function charsetNamed(name: string): string | undefined {
  return decoders.get(folded(name))
}

const foldedNames = new Map<string, string>()

function folded(name: string): string {
  const known = foldedNames.get(name)
  if (known !== undefined) return known
  const result = name.toUpperCase().replace(/[^A-Z0-9]/g, '')
  if (foldedNames.size < 200) foldedNames.set(name, result)
  return result
}

const escape = 0x1b

/**
 * Bytes to text, by MSH-18 (repetitions: the default, then alternates reached by ISO 2022 escapes, HL7 v2.5.1 ch. 2.15.9.18).
 * Never yields a U+FFFD that was not sent.
 *
 * @param declared MSH-18, split at its repetition separator
 * @param assumed what the channel says its sender uses where MSH-18 is empty, or names what nobody knows
 * @throws Hl7Unreadable where fields would be split wrongly or names read wrongly: ISO 2022 escapes that cannot be
 *   followed, or an unknown character set whose bytes are not UTF-8 either
 */
export function decodeHl7(bytes: Buffer, declared: readonly string[], assumed?: string): Decoded {
  const names = declared.filter((name) => name.trim() !== '')
  const stated = names.map(charsetNamed).find((name) => name !== undefined && name !== 'iso-2022')
  const wanted = stated === 'ascii' ? undefined : (stated ?? (assumed && charsetNamed(assumed)))
  const isShifted = bytes.includes(escape) && hasIso2022(bytes)
  if (!isShifted && isAscii(bytes))
    return { text: bytes.toString('latin1'), charset: wanted || 'ascii', flags: [] }
  const flags: CharsetFlag[] = []
  const isUnknown = names.some((name) => charsetNamed(name) === undefined)
  if (isUnknown) flags.push('charset-unknown')
  if (isShifted) {
    if (!names.some((name) => charsetNamed(name) === 'iso-2022')) flags.push('charset-undeclared')
    return { text: decodeIso2022(bytes), charset: 'iso-2022', flags }
  }
  if (wanted !== undefined && wanted !== '' && wanted !== 'ascii' && wanted !== 'iso-2022') {
    const text = strictly(bytes, wanted)
    if (text !== undefined) return finished(text, wanted, flags)
    flags.push(stated === undefined ? 'charset-undeclared' : 'charset-contradicted')
  } else flags.push(stated === 'ascii' ? 'charset-contradicted' : 'charset-undeclared')
  if (isUtf8(bytes)) return finished(bytes.toString('utf8'), 'utf-8', flags)
  if (isUnknown && stated === undefined)
    throw new Hl7Unreadable(
      'hl7-charset',
      'MSH-18 names a character set that is not in HL7 table 0211, and the bytes are not UTF-8: set encoding: in the channel file to what the sender means',
    )
  // WHATWG windows-1252 gives every byte a character: it cannot fail.
  return finished(strictly(bytes, 'windows-1252')!, 'windows-1252', flags)
}

/** Bytes of a `\Xhh..\` escape, in the message’s character set; undefined where they are none. */
export function decodeBytes(bytes: Buffer, charset: string): string | undefined {
  if (isAscii(bytes)) return bytes.toString('latin1')
  return strictly(bytes, charset === 'ascii' || charset === 'iso-2022' ? 'utf-8' : charset)
}

/** Text to bytes for the character sets a sample file may have; undefined where it cannot be written. */
export function encodeHl7(text: string, charset: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'utf8')
  if (charset === 'utf-8' || charset === 'ascii' || isAscii(bytes)) return bytes

  if (charset === 'windows-1252' && /^[\x00-\x7f\xa0-\xff]*$/.test(text)) return Buffer.from(text, 'latin1')
  return undefined
}

function finished(text: string, charset: string, flags: CharsetFlag[]): Decoded {
  if (text.includes('\ufffd')) flags.push('characters-lost')
  return { text, charset, flags }
}

const textDecoders = new Map<string, TextDecoder>()

function strictly(bytes: Buffer, charset: string): string | undefined {
  if (charset === 'utf-8') return isUtf8(bytes) ? bytes.toString('utf8') : undefined
  let decoder = textDecoders.get(charset)
  if (decoder === undefined) {
    decoder = new TextDecoder(charset, { fatal: true, ignoreBOM: true })
    textDecoders.set(charset, decoder)
  }
  try {
    return decoder.decode(bytes)
  } catch {
    return undefined
  }
}

/** An escape that designates a character set: ESC $ … or ESC ( … or ESC ) …, not just a stray 0x1B. */
function hasIso2022(bytes: Buffer): boolean {
  for (let at = bytes.indexOf(escape); at !== -1; at = bytes.indexOf(escape, at + 1)) {
    const next = bytes[at + 1]
    if (next === 0x24 || next === 0x28 || next === 0x29) return true
  }
  return false
}

/** Escape after ESC → how many bytes make a character and what turns them into EUC-JP. */
const shifts: readonly (readonly [text: string, set: 'ascii' | 'katakana' | 'kanji' | 'supplement'])[] = [
  ['(B', 'ascii'],
  ['(J', 'ascii'], // JIS X 0201 roman: yen and overline in place of \ and ~, which HL7 needs as separators
  ['(I', 'katakana'],
  [')I', 'katakana'],
  ['$B', 'kanji'], // ISO IR87, JIS X 0208
  ['$@', 'kanji'],
  ['$(D', 'supplement'], // ISO IR159, JIS X 0212
]

/** ISO 2022 as HL7 uses it in Japan, by way of EUC-JP, which holds the same tables without shifts. */
function decodeIso2022(bytes: Buffer): string {
  const euc: number[] = []
  let set = 'ascii'
  for (let at = 0; at < bytes.length;) {
    const byte = bytes[at]!
    if (byte === escape) {
      const text = bytes.toString('latin1', at + 1, at + 4)
      const shift = shifts.find(([start]) => text.startsWith(start))
      if (shift === undefined) throw unfollowed()
      set = shift[1]
      at += 1 + shift[0].length
      continue
    }
    // A line end returns to ASCII (ISO 2022-JP); control characters are the same in all sets.
    if (byte === 0x0d || byte === 0x0a) set = 'ascii'
    if (set === 'ascii' || byte <= 0x20) {
      if (byte > 0x7f) euc.push(0x8e)
      euc.push(byte)
      at += 1
    } else if (set === 'katakana') {
      euc.push(0x8e, byte | 0x80)
      at += 1
    } else {
      const second = bytes[at + 1]
      if (second === undefined || second < 0x21 || second > 0x7e) throw unfollowed()
      if (set === 'supplement') euc.push(0x8f)
      euc.push(byte | 0x80, second | 0x80)
      at += 2
    }
  }
  const text = strictly(Buffer.from(euc), 'euc-jp')
  if (text === undefined) throw unfollowed()
  return text
}

function unfollowed(): Hl7Unreadable {
  return new Hl7Unreadable(
    'hl7-charset',
    'the character set is switched inside the message in a way that cannot be followed: declare it in MSH-18',
  )
}
