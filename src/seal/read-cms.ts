import { derChildren, derOidText, readDer, type DerValue } from '../lib/der.ts'
import { contentType, decodedBody, fieldValue, readParameterized, type Entity } from '../lib/mime-reader.ts'
import { oid } from './algorithms.ts'

/** A ContentInfo (RFC 5652 §3) that came in a MIME entity. */
export interface Cms {
  readonly is: 'signedData' | 'envelopedData' | 'authEnvelopedData' | 'other'
  readonly contentInfo: DerValue
  /** Its bytes are nobody else’s: what is decrypted may be written over them. */
  readonly isOwn: boolean
}

const kinds = ['signedData', 'envelopedData', 'authEnvelopedData'] as const

/**
 * The CMS in an entity, or nothing. Told by its bytes: names, smime-type and even the media type are spelled in many ways.
 *
 * @throws DerError where it is called CMS and is not BER
 */
export function cmsIn(entity: Entity): Cms | undefined {
  const { value, parameters } = contentType(entity)
  const isCms =
    /^application\/(x-)?pkcs7-(mime|signature)$/.test(value) ||
    // QUIRK: gateways that do not know the type rename it to octet-stream and leave the name.
    (value === 'application/octet-stream' && hasCmsName(entity, parameters.get('name')))
  if (!isCms) return undefined
  const octets = decodedBody(entity)
  const contentInfo = readDer(octets)
  const type = derChildren(contentInfo)[0]
  const dotted = type ? derOidText(type) : ''
  return {
    is: kinds.find((name) => oid[name] === dotted) ?? 'other',
    contentInfo,
    isOwn: octets.buffer !== entity.body.buffer,
  }
}

function hasCmsName(entity: Entity, name: string | undefined): boolean {
  const disposition = readParameterized(fieldValue(entity, 'content-disposition') ?? '')
  return [name, disposition.parameters.get('filename')].some((one) => /\.p7[msz]$/i.test(one ?? ''))
}
