import { der, derContent, DerError, derMembers, derSetOf, readDer, type DerValue } from './der.ts'

export interface BerLimits {
  /** Octets of the input. */
  readonly octetsMax: number
  /** Values in it, nested ones included; each costs some hundred octets while it is converted. */
  readonly valuesMax: number
  /** Values in values. */
  readonly depthMax: number
}

/** Signed attributes and the like have a hundred values and eight levels. */
export const berLimitsUsual: BerLimits = { octetsMax: 1024 * 1024, valuesMax: 20_000, depthMax: 32 }

const octetString = 0x04
const set = 0x31

/**
 * The DER of one BER value (X.690 §10, §11.6): lengths definite and shortest, octet strings in one piece, members of SETs
 * in order. For what is signed as DER but may travel as BER, such as the signed attributes of CMS (RFC 5652 §5.4).
 *
 * What needs the ASN.1 module to be known stays as it is: a SET under an implicit context tag is not put in order (give it
 * its universal tag first), a context-tagged octet string in pieces keeps them, defaults are not left out, times and booleans
 * are not spelled anew. Certificates need not be converted: take theirs with `derRaw`, so that their fingerprint stays that
 * of what was published.
 *
 * ```ts
 * toDer(Buffer.from('30800403616263' + '0000', 'hex')) // 30 05 04 03 61 62 63
 * ```
 *
 * @throws DerError where it is not one BER value, or exceeds a limit
 */
export function toDer(ber: Uint8Array, limits: BerLimits = berLimitsUsual): Buffer {
  const source = Buffer.isBuffer(ber) ? ber : Buffer.from(ber.buffer, ber.byteOffset, ber.byteLength)
  if (source.length > limits.octetsMax) throw new DerError(`longer than ${limits.octetsMax} octets`, 0)
  const whole = readDer(source)
  if (whole.end !== source.length) throw new DerError('something follows the value', whole.end)
  return converted(whole, limits, { values: 0 }, 0)
}

function converted(value: DerValue, limits: BerLimits, seen: { values: number }, depth: number): Buffer {
  if (depth > limits.depthMax) throw new DerError(`nested deeper than ${limits.depthMax} levels`, value.start)
  if (++seen.values > limits.valuesMax)
    throw new DerError(`more than ${limits.valuesMax} values`, value.start)
  if (!value.constructed) return der(value.tag, derContent(value))
  if ((value.tag & ~0x20) === octetString)
    return der(octetString, ...pieces(value, limits, seen, depth).flat())
  const members: Buffer[] = []
  for (const member of derMembers(value)) members.push(converted(member, limits, seen, depth + 1))
  return value.tag === set ? derSetOf(set, members) : der(value.tag, ...members)
}

/** X.690 §8.7.3: the pieces of an octet string are octet strings, which may be in pieces again. */
function pieces(value: DerValue, limits: BerLimits, seen: { values: number }, depth: number): Buffer[] {
  if (depth > limits.depthMax) throw new DerError(`nested deeper than ${limits.depthMax} levels`, value.start)
  const found: Buffer[] = []
  for (const piece of derMembers(value)) {
    if (++seen.values > limits.valuesMax)
      throw new DerError(`more than ${limits.valuesMax} values`, value.start)
    if ((piece.tag & ~0x20) !== octetString)
      throw new DerError('a piece that is not an OCTET STRING', piece.start)
    if (!piece.constructed) found.push(derContent(piece))
    else for (const one of pieces(piece, limits, seen, depth + 1)) found.push(one)
  }
  return found
}
