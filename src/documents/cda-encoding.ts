export type EncodingReading =
  | { readonly readable: true; readonly decode: (chunk: Uint8Array, isLast: boolean) => string }
  | { readonly readable: false; readonly because: string }

/** Enough for a byte order mark and an XML declaration. */
export const encodingSniffBytes = 256

/** Declared name → WHATWG label. Nothing else is accepted: what a receiver might read differently must not leave. */
const eightBit = new Map([
  ['utf-8', 'utf-8'],
  ['utf8', 'utf-8'],
  ['us-ascii', 'utf-8'],
  ['ascii', 'utf-8'],
  ['iso-8859-1', 'windows-1252'],
  ['windows-1252', 'windows-1252'],
])
const sixteenBit = new Set(['utf-16', 'utf-16le', 'utf-16be'])

/**
 * How the bytes of an XML document become text: by byte order mark and declaration (XML 1.0 appendix F), which must not
 * disagree. UTF-8 where neither says anything. UTF-7 and UTF-32 are refused, and so is whatever is not known here.
 *
 * `decode` throws a TypeError at bytes that do not belong to the encoding.
 */
export function readEncoding(head: Uint8Array): EncodingReading {
  const starts = (...bytes: number[]) => bytes.every((byte, index) => head[index] === byte)
  if (starts(0, 0, 0xfe, 0xff) || starts(0xff, 0xfe, 0, 0)) return refused('it is UTF-32')
  if (starts(0x2b, 0x2f, 0x76)) return refused('it is UTF-7')
  if (starts(0xfe, 0xff) || starts(0, 0x3c, 0, 0x3f)) return sixteen(head, 'utf-16be', starts(0xfe, 0xff))
  if (starts(0xff, 0xfe) || starts(0x3c, 0, 0x3f, 0)) return sixteen(head, 'utf-16le', starts(0xff, 0xfe))

  const hasUtf8Mark = starts(0xef, 0xbb, 0xbf)
  const start = Buffer.from(head).toString('latin1')
  if (isDeclarationOpen(start)) return refused('its XML declaration does not end')
  const declared = declaredEncoding(start)
  if (declared === undefined) return decoder('utf-8')
  if (sixteenBit.has(declared)) return refused('it declares UTF-16, but its bytes are not')
  const label = eightBit.get(declared)
  if (label === undefined) return refused('it declares an encoding that is not UTF-8 or UTF-16')
  if (hasUtf8Mark && label !== 'utf-8') return refused('byte order mark and declared encoding disagree')
  return decoder(label)
}

function sixteen(head: Uint8Array, label: 'utf-16le' | 'utf-16be', hasMark: boolean): EncodingReading {
  const start = new TextDecoder(label).decode(head)
  if (isDeclarationOpen(start)) return refused('its XML declaration does not end')
  const declared = declaredEncoding(start)
  if (declared === undefined && !hasMark) return refused('it is UTF-16 without saying so')
  if (declared !== undefined && !sixteenBit.has(declared))
    return refused('its bytes are UTF-16, but it declares another encoding')
  return decoder(label)
}

/** A declaration beyond what is looked at could name an encoding that nobody here has seen. */
function isDeclarationOpen(head: string): boolean {
  return /^[^<]{0,3}<\?xml\s/.test(head) && !head.includes('?>')
}

function declaredEncoding(head: string): string | undefined {
  return /^[^<]{0,3}<\?xml\s[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']/
    .exec(head)?.[1]
    ?.toLowerCase()
}

function decoder(label: string): EncodingReading {
  const text = new TextDecoder(label, { fatal: true })
  return { readable: true, decode: (chunk, isLast) => text.decode(chunk, { stream: !isLast }) }
}

function refused(because: string): EncodingReading {
  return { readable: false, because }
}
