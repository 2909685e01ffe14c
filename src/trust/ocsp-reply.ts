import { derContent, derOidText, DerError, derRaw, expectDer, readDer, type DerValue } from '../lib/der.ts'
import { readReasonCode, type RevocationReason } from './crl-entries.ts'
import { extensionValue, readTaggedExtensions } from './extension-list.ts'
import { readName, type Name } from './name.ts'
import { nonceOid, type CertId } from './ocsp-request.ts'
import { readSignatureAlgorithm, type SignatureAlgorithm } from './signature-algorithm.ts'
import { readBitString, readTime, strictly, strictMembers } from './strict-der.ts'

/** A BasicOCSPResponse (RFC 6960 §4.2.1), read; nothing in it is judged. */
export interface OcspReply {
  readonly responder:
    { readonly by: 'name'; readonly name: Name } | { readonly by: 'key'; readonly keyHash: Buffer }
  readonly producedAt: Date
  readonly statuses: readonly OcspStatus[]
  readonly nonce?: Buffer
  /** Object identifiers of critical extensions that nobody here understands. */
  readonly unknownCritical: readonly string[]
  /** The bytes that are signed. */
  readonly tbs: Buffer
  readonly signatureAlgorithm: SignatureAlgorithm
  readonly signature: Buffer
  /** DER of the certificates that came along. */
  readonly certificates: readonly Buffer[]
}

/** A SingleResponse. */
export interface OcspStatus {
  readonly certId: CertId
  readonly status:
    | { readonly is: 'good' }
    | { readonly is: 'revoked'; readonly since: Date; readonly reason?: RevocationReason }
    | { readonly is: 'unknown' }
  readonly thisUpdate: Date
  readonly nextUpdate?: Date
}

export type OcspReading =
  | { readonly readable: true; readonly reply: OcspReply }
  | { readonly readable: false; readonly because: string }

/** A reply with a chain of four certificates has 8 kB. */
export const ocspReplyOctetsMax = 100_000
const statusesMax = 100
const certificatesMax = 10

/** RFC 6960 §4.2.1, by their numbers; 4 is not used. */
const failures: Readonly<Record<number, string>> = {
  1: 'that the request is malformed',
  2: 'that it has an internal error',
  3: 'to try later',
  5: 'that requests have to be signed',
  6: 'that it may not answer for this authority',
}

/** Archive cutoff, CRL reference and extended revoke only tell more (RFC 6960 §4.4). */
const harmless = new Set(['1.3.6.1.5.5.7.48.1.3', '1.3.6.1.5.5.7.48.1.6', '1.3.6.1.5.5.7.48.1.9'])

/** Reads an OCSPResponse. One that says why there is no answer is `readable: false`, with its words. */
export function readOcspReply(bytes: Buffer): OcspReading {
  if (bytes.length > ocspReplyOctetsMax) return unreadable(`longer than ${ocspReplyOctetsMax} octets`)
  try {
    return parse(bytes)
  } catch (error) {
    if (!(error instanceof DerError)) throw error
    return unreadable(`its reply cannot be read: ${error.message}`)
  }
}

function unreadable(because: string): OcspReading {
  return { readable: false, because }
}

function parse(bytes: Buffer): OcspReading {
  const whole = strictly(readDer(bytes))
  if (whole.end !== bytes.length) throw new DerError('something follows the reply', whole.end)
  const [status, tagged, beyond] = strictMembers(expectDer(whole, 0x30, 'the reply'))
  if (beyond !== undefined) throw new DerError('the reply is malformed', beyond.start)
  const code = derContent(expectDer(status, 0x0a, 'responseStatus'))
  if (code.length !== 1) throw new DerError('responseStatus is malformed', whole.start)
  if (code[0] !== 0)
    return unreadable(`the responder says ${failures[code[0]!] ?? `${code[0]}, which means nothing`}`)
  const [typed, more] = strictMembers(expectDer(tagged, 0xa0, 'responseBytes'))
  const [type, held, rest] = strictMembers(expectDer(typed, 0x30, 'responseBytes'))
  if (type === undefined || more !== undefined || rest !== undefined)
    throw new DerError('responseBytes are malformed', whole.start)
  if (derOidText(type) !== '1.3.6.1.5.5.7.48.1.1')
    return unreadable('its reply is of a type other than BasicOCSPResponse')
  const octets = expectDer(held, 0x04, 'response')
  const basic = strictly(readDer(octets.source, octets.contentStart, octets.contentEnd))
  if (basic.end !== octets.contentEnd) throw new DerError('something follows the reply', basic.end)
  return { readable: true, reply: readBasic(expectDer(basic, 0x30, 'BasicOCSPResponse')) }
}

function readBasic(basic: DerValue): OcspReply {
  const [tbs, algorithm, signature, enclosed, beyond] = strictMembers(basic)
  if (beyond !== undefined) throw new DerError('BasicOCSPResponse is malformed', beyond.start)
  const { octets, unusedBits } = readBitString(expectDer(signature, 0x03, 'signature'))
  if (unusedBits !== 0) throw new DerError('a signature of odd bits', basic.start)
  const certificates = enclosed === undefined ? [] : readEnclosed(expectDer(enclosed, 0xa0, 'certs'))
  return {
    ...readResponseData(expectDer(tbs, 0x30, 'tbsResponseData')),
    tbs: derRaw(tbs!),
    signatureAlgorithm: readSignatureAlgorithm(expectDer(algorithm, 0x30, 'signatureAlgorithm')),
    signature: octets,
    certificates,
  }
}

function readEnclosed(tagged: DerValue): Buffer[] {
  const [list, beyond] = strictMembers(tagged)
  if (beyond !== undefined) throw new DerError('certs is malformed', beyond.start)
  const certificates = strictMembers(expectDer(list, 0x30, 'certs'))
  if (certificates.length > certificatesMax)
    throw new DerError(`more than ${certificatesMax} certificates`, tagged.start)
  return certificates.map(derRaw)
}

function readResponseData(data: DerValue) {
  const parts = strictMembers(data)
  let next = 0
  // Version 1 is the default; DER leaves it out, some responders do not.
  if (parts[0]?.tag === 0xa0) {
    const [version] = strictMembers(parts[next++]!)
    if (!derContent(expectDer(version, 0x02, 'version')).equals(Buffer.from([0])))
      throw new DerError('a version of replies that does not exist', data.start)
  }
  const responder = readResponder(parts[next++], data.start)
  const producedAt = readTime(expectDer(parts[next++], 0x18, 'producedAt'))
  const statuses = strictMembers(expectDer(parts[next++], 0x30, 'responses'))
  if (statuses.length > statusesMax) throw new DerError(`more than ${statusesMax} responses`, data.start)
  const extensionsAt = parts[next]?.tag === 0xa1 ? parts[next++] : undefined
  if (parts[next] !== undefined)
    throw new DerError('an unknown member of tbsResponseData', parts[next]!.start)
  const unknownCritical: string[] = []
  let nonce: Buffer | undefined
  for (const extension of readTaggedExtensions(extensionsAt)) {
    if (extension.oid === nonceOid) nonce = derContent(expectDer(extensionValue(extension), 0x04, 'nonce'))
    else if (extension.critical && !harmless.has(extension.oid)) unknownCritical.push(extension.oid)
  }
  return {
    responder,
    producedAt,
    statuses: statuses.map((status) => readStatus(status, unknownCritical)),
    ...(nonce === undefined ? {} : { nonce }),
    unknownCritical,
  }
}

function readResponder(value: DerValue | undefined, at: number): OcspReply['responder'] {
  const [held, beyond] = value?.constructed === true ? strictMembers(value) : []
  if (value === undefined || held === undefined || beyond !== undefined)
    throw new DerError('responderID is malformed', value?.start ?? at)
  if (value.tag === 0xa1) return { by: 'name', name: readName(held) }
  if (value.tag === 0xa2) return { by: 'key', keyHash: derContent(expectDer(held, 0x04, 'KeyHash')) }
  throw new DerError('responderID is malformed', value.start)
}

function readStatus(value: DerValue, unknownCritical: string[]): OcspStatus {
  const parts = strictMembers(expectDer(value, 0x30, 'a SingleResponse'))
  const certId = readCertId(expectDer(parts[0], 0x30, 'certID'))
  if (parts[1] === undefined || parts[2] === undefined)
    throw new DerError('a SingleResponse is cut short', value.start)
  const status = readCertStatus(parts[1])
  const thisUpdate = readTime(expectDer(parts[2], 0x18, 'thisUpdate'))
  let next = 3
  const [nextUpdate] = parts[next]?.tag === 0xa0 ? strictMembers(parts[next++]!) : []
  const extensionsAt = parts[next]?.tag === 0xa1 ? parts[next++] : undefined
  if (parts[next] !== undefined)
    throw new DerError('an unknown member of a SingleResponse', parts[next]!.start)
  for (const { oid, critical } of readTaggedExtensions(extensionsAt))
    if (critical && !harmless.has(oid)) unknownCritical.push(oid)
  return {
    certId,
    status,
    thisUpdate,
    ...(nextUpdate === undefined ? {} : { nextUpdate: readTime(expectDer(nextUpdate, 0x18, 'nextUpdate')) }),
  }
}

function readCertId(value: DerValue): CertId {
  const [algorithm, nameHash, keyHash, serial, beyond] = strictMembers(value)
  const [hash] = strictMembers(expectDer(algorithm, 0x30, 'hashAlgorithm'))
  if (hash === undefined || beyond !== undefined) throw new DerError('certID is malformed', value.start)
  return {
    hashOid: derOidText(hash),
    nameHash: derContent(expectDer(nameHash, 0x04, 'issuerNameHash')),
    keyHash: derContent(expectDer(keyHash, 0x04, 'issuerKeyHash')),
    serialNumber: derContent(expectDer(serial, 0x02, 'serialNumber')).toString('hex'),
  }
}

function readCertStatus(value: DerValue): OcspStatus['status'] {
  if (value.tag === 0x80 && value.contentStart === value.contentEnd) return { is: 'good' }
  if (value.tag === 0x82 && value.contentStart === value.contentEnd) return { is: 'unknown' }
  const [since, tagged, beyond] = value.tag === 0xa1 ? strictMembers(value) : []
  if (since === undefined || beyond !== undefined) throw new DerError('certStatus is malformed', value.start)
  const [reason] = tagged === undefined ? [] : strictMembers(expectDer(tagged, 0xa0, 'revocationReason'))
  return {
    is: 'revoked',
    since: readTime(since),
    ...(reason === undefined ? {} : { reason: readReasonCode(reason) }),
  }
}
