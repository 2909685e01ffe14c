import {
  context,
  contextPrimitive,
  ia5String,
  oid,
  printableString,
  sequence,
  set,
  utf8String,
} from './der.ts'

/** Attributes in the order they shall stand in the name. */
export type NameWish = Readonly<Partial<Record<keyof typeof nameAttributes, string>>>

/** A GeneralName (RFC 5280 §4.2.1.6); `raw` is its DER. */
export type GeneralNameWish =
  | { readonly email: string }
  | { readonly domain: string }
  | { readonly uri: string }
  | { readonly directory: NameWish | Buffer }
  | { readonly ip: Buffer }
  | { readonly raw: Buffer }

/** DER of a Name (RFC 5280 §4.1.2.4). */
export function directoryName(wish: NameWish): Buffer {
  return sequence(
    ...Object.entries(wish).map(([short, text]) => {
      const attribute = nameAttributes[short as keyof typeof nameAttributes]
      return set(sequence(oid(attribute.oid), attribute.encode(text)))
    }),
  )
}

/** DER of a GeneralName. */
export function generalName(wish: GeneralNameWish): Buffer {
  if ('raw' in wish) return wish.raw
  if ('email' in wish) return contextPrimitive(1, Buffer.from(wish.email, 'latin1'))
  if ('domain' in wish) return contextPrimitive(2, Buffer.from(wish.domain, 'latin1'))
  if ('uri' in wish) return contextPrimitive(6, Buffer.from(wish.uri, 'latin1'))
  if ('ip' in wish) return contextPrimitive(7, wish.ip)
  return context(4, Buffer.isBuffer(wish.directory) ? wish.directory : directoryName(wish.directory))
}

const nameAttributes = {
  C: { oid: '2.5.4.6', encode: printableString },
  ST: { oid: '2.5.4.8', encode: utf8String },
  L: { oid: '2.5.4.7', encode: utf8String },
  DC: { oid: '0.9.2342.19200300.100.1.25', encode: ia5String },
  O: { oid: '2.5.4.10', encode: utf8String },
  OU: { oid: '2.5.4.11', encode: utf8String },
  CN: { oid: '2.5.4.3', encode: utf8String },
  E: { oid: '1.2.840.113549.1.9.1', encode: ia5String },
} as const

/** The name as wished, or one with this common name. */
export function nameOf(wish: NameWish | Buffer | undefined, commonName: string): Buffer {
  if (Buffer.isBuffer(wish)) return wish
  return directoryName(wish ?? { O: 'bluepost tests', CN: commonName })
}
