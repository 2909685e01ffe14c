import { toDer } from '../lib/ber.ts'
import {
  der,
  derChildren,
  derContent,
  DerError,
  derOidText,
  derRaw,
  derSetOf,
  expectDer,
  type DerValue,
} from '../lib/der.ts'

/** Attributes in one SignerInfo; writers use four to eight. */
const attributesMax = 100

/** The signed attributes of a SignerInfo (RFC 5652 §5.3). */
export interface SignedAttributes {
  /** The single value of an attribute; two values or two attributes of one type are none (RFC 5652 §5.3, §11). */
  value(type: string): DerValue | undefined
  /** What the signature may be over, likeliest first. */
  readonly signed: readonly Buffer[]
}

/**
 * @param attributes the [0] of the SignerInfo
 * @throws DerError where they are not attributes
 */
export function readSignedAttributes(attributes: DerValue): SignedAttributes {
  const members = derChildren(attributes)
  if (members.length > attributesMax) throw new DerError('too many signed attributes', attributes.start)
  const types = members.map((one) =>
    derOidText(expectDer(derChildren(expectDer(one, 0x30, 'a signed attribute'))[0], 0x06, 'its type')),
  )
  return {
    value(type) {
      const index = types.indexOf(type)
      if (index < 0 || types.lastIndexOf(type) !== index) return undefined
      const values = derChildren(expectDer(derChildren(members[index]!)[1], 0x31, 'an attribute’s values'))
      return values.length === 1 ? values[0] : undefined
    },
    signed: distinct([
      // RFC 5652 §5.4 signs the DER of the SET OF, however the message writes it.
      derSetOf(
        0x31,
        members.map((one) => toDer(derRaw(one))),
      ),
      // QUIRK: some writers sign their own order, which then stands in the message.
      der(0x31, derContent(attributes)),
      derSetOf(0x31, members.map(derRaw)),
    ]),
  }
}

function distinct(candidates: readonly Buffer[]): Buffer[] {
  return candidates.filter((one, index) => candidates.findIndex((other) => other.equals(one)) === index)
}
