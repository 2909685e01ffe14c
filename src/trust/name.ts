import { derContent, derOidText, DerError, derRaw, expectDer, type DerValue } from '../lib/der.ts'
import { strictMembers } from './strict-der.ts'

/** A distinguished name (RFC 5280 §4.1.2.4). */
export interface Name {
  /** As it was written: what hashes of names are made of. */
  readonly der: Buffer
  /** For people: `CN=Ashby, O=Ashby Medical Center`. */
  readonly text: string
  /** One string per RDN, equal for equal RDNs however they are written (RFC 5280 §7.1). */
  readonly rdns: readonly string[]
  /** All RDNs in one, to compare whole names. */
  readonly comparable: string
  /** Values of emailAddress attributes (PKCS #9). */
  readonly emails: readonly string[]
}

const emailAddress = '1.2.840.113549.1.9.1'

const shortNames: Readonly<Record<string, string>> = {
  '2.5.4.3': 'CN',
  '2.5.4.6': 'C',
  '2.5.4.7': 'L',
  '2.5.4.8': 'ST',
  '2.5.4.10': 'O',
  '2.5.4.11': 'OU',
  '0.9.2342.19200300.100.1.25': 'DC',
  [emailAddress]: 'emailAddress',
}

/** Characters of a name shown to people; a name may be as long as the certificate. */
const shownCharactersMax = 300

export function readName(value: DerValue): Name {
  const rdns: string[] = []
  const shown: string[] = []
  const emails: string[] = []
  for (const rdn of strictMembers(expectDer(value, 0x30, 'a name'))) {
    const attributes = strictMembers(expectDer(rdn, 0x31, 'a relative distinguished name')).map(
      (attribute) => {
        const [type, held, beyond] = strictMembers(expectDer(attribute, 0x30, 'an attribute of a name'))
        if (type === undefined || held === undefined || beyond !== undefined)
          throw new DerError('an attribute of a name is malformed', attribute.start)
        const oid = derOidText(type)
        const text = textOf(held)
        if (oid === emailAddress && text !== undefined) emails.push(text)
        shown.push(`${shortNames[oid] ?? oid}=${text ?? '(not text)'}`)
        // An identifier has neither = nor #, so what is text and what is not never meet.
        return text === undefined
          ? `${oid}#${held.tag}:${derContent(held).toString('hex')}`
          : `${oid}=${folded(text)}`
      },
    )
    if (attributes.length === 0) throw new DerError('an empty relative distinguished name', rdn.start)
    rdns.push(JSON.stringify(attributes.sort()))
  }
  return {
    der: derRaw(value),
    text: printable(shown.reverse().join(', ')),
    rdns,
    comparable: rdns.join(''),
    emails,
  }
}

/** The text of a DirectoryString and its relatives; undefined for types that are no text. */
function textOf(value: DerValue): string | undefined {
  const content = derContent(value)
  switch (value.tag) {
    case 0x0c: // UTF8String
      return content.toString('utf8')
    case 0x13: // PrintableString
    case 0x14: // TeletexString, written as Latin-1 by everybody
    case 0x16: // IA5String
    case 0x1a: // VisibleString
      return content.toString('latin1')
    case 0x1e: // BMPString
      return content.length % 2 === 0 ? Buffer.from(content).swap16().toString('utf16le') : undefined
    default:
      return undefined
  }
}

/** RFC 5280 §7.1 as everybody practises it: ASCII case folded, outer space dropped, inner space one. */
function folded(text: string): string {
  return text
    .replace(/[A-Z]/g, (letter) => letter.toLowerCase())
    .trim()
    .replace(/\s+/g, ' ')
}

function printable(text: string): string {
  const clean = text.replace(/[^\p{L}\p{N}\p{P}\p{S} ]/gu, '?')
  return clean.length > shownCharactersMax ? `${clean.slice(0, shownCharactersMax)}…` : clean
}
