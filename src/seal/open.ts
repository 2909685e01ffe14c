import { DerError } from '../lib/der.ts'
import {
  contentType,
  decodedBody,
  readEntity,
  splitMultipart,
  type Entity,
  type Field,
} from '../lib/mime-reader.ts'
import { decryptEnvelope, type DecryptionRefusal } from './decrypt-envelope.ts'
import { directPolicy, type OpeningPolicy } from './opening-policy.ts'
import type { OwnKey } from './own-key.ts'
import { cmsIn } from './read-cms.ts'
import { readSignedData, type SignedData, type SignerReport } from './verify-signed.ts'

export type { OwnKey } from './own-key.ts'
export type { SignerReport } from './verify-signed.ts'

export type Opened = OpenedMessage | Unopened

export interface OpenedMessage {
  readonly opened: true
  /** The message inside, byte for byte as it was signed (its wrapping undone). */
  readonly message: Buffer
  /** Header fields of the message inside. */
  readonly fields: readonly Field[]
  /** Header fields that travelled in the clear; anybody may have written them. */
  readonly outerFields: readonly Field[]
  /** It came as message/rfc822; otherwise only its body and Content-* fields were signed. */
  readonly isWrapped: boolean
  /** Every signer, valid or not, in the order of the message; at least one. */
  readonly signers: readonly SignerReport[]
  /** Every certificate the message carries, DER. */
  readonly certificates: readonly Buffer[]
  /** The certificate of ours it was encrypted to, DER. */
  readonly encryptedTo: Buffer
  /** Such as `aes-256-cbc`. */
  readonly cipher: string
  /** Such as `pkcs1`, `oaep-sha256`, `oaep-sha256-mgf1-sha1`, `ecdh-sha256`. */
  readonly keyTransport: string
  /** To how many certificates it is encrypted, ours included. */
  readonly recipients: number
}

/**
 * Not a Direct message we can open. The refusal and its reason are for our own store and log; towards the sender every
 * one of them is the same silence (Direct answers no untrusted message; RFC 3218).
 */
export interface Unopened {
  readonly opened: false
  readonly refusal: DecryptionRefusal | 'not-encrypted' | 'unsigned'
  readonly because: string
}

/** Base64 text of a message must fit into one string of V8, which ends at 512 MiB. Listeners set lower limits. */
const messageBytesMax = 384 * 1024 * 1024

export interface Opening {
  readonly keys: readonly OwnKey[]
  /** What is accepted; the rules of Direct where nothing else is given. */
  readonly policy?: OpeningPolicy
}

/**
 * Opens a Direct message: decrypts with any of our keys, checks every signature over the raw bytes, takes the message
 * out of its wrapping. Trust in the signers is not judged here.
 *
 * @param raw the message as received; CRLF or LF
 * @throws Failed where a device that holds a key cannot be reached: opening again may help
 */
export async function open(raw: Buffer, opening: Opening): Promise<Opened> {
  try {
    return await opened(raw, opening)
  } catch (error) {
    if (error instanceof DerError) return refused('malformed', error.message)
    throw error
  }
}

async function opened(raw: Buffer, { keys, policy = directPolicy }: Opening): Promise<Opened> {
  if (raw.length > messageBytesMax)
    return refused('malformed', `it has ${raw.length} bytes, more than ${messageBytesMax}`)
  const outer = readEntity(raw)
  const envelope = cmsIn(outer)
  if (!envelope || !['envelopedData', 'authEnvelopedData'].includes(envelope.is))
    return refused('not-encrypted', `it is ${contentType(outer).value}, not an encrypted message`)
  const plain = await decryptEnvelope(envelope, keys, policy)
  if (!plain.decrypted) return refused(plain.refusal, plain.because)

  const signed = signedPartOf(readEntity(plain.content), policy)
  if ('opened' in signed) return signed
  if (signed.data.signers.length === 0) return refused('unsigned', 'its signature has no signer')
  const { message, isWrapped } = unwrapped(readEntity(signed.content))
  return {
    opened: true,
    message,
    fields: readEntity(message).fields,
    outerFields: outer.fields,
    isWrapped,
    signers: signed.data.signers,
    certificates: signed.data.certificates,
    encryptedTo: plain.with.certificate,
    cipher: plain.cipher,
    keyTransport: plain.keyTransport,
    recipients: plain.recipients,
  }
}

function refused(refusal: Unopened['refusal'], because: string): Unopened {
  return { opened: false, refusal, because }
}

/** What was signed and by whom: multipart/signed (RFC 8551 §3.5.3) or opaque signed-data (§3.5.2). */
function signedPartOf(
  entity: Entity,
  policy: OpeningPolicy,
): { readonly content: Buffer; readonly data: SignedData } | Unopened {
  const { value, parameters } = contentType(entity)
  if (value === 'multipart/signed') {
    const split = splitMultipart(entity.body, parameters.get('boundary') ?? '')
    if (!split.split) return refused('malformed', `its multipart/signed cannot be split: ${split.because}`)
    const [content, signature, ...more] = split.parts
    if (!content || !signature || more.length > 0)
      return refused('malformed', `its multipart/signed has ${split.parts.length} parts instead of 2`)
    const cms = cmsIn(readEntity(signature))
    if (cms?.is !== 'signedData')
      return refused('unsigned', 'the second part of its multipart/signed is no signature')
    return { content, data: readSignedData(cms.contentInfo, content, policy) }
  }
  const cms = cmsIn(entity)
  if (cms?.is !== 'signedData') return refused('unsigned', `what it encrypts is ${value}, not signed`)
  const data = readSignedData(cms.contentInfo, undefined, policy)
  return { content: data.content!, data }
}

/** Most send message/rfc822 as it is; some in quoted-printable or base64, against RFC 2046 §5.2.1. */
function unwrapped(entity: Entity): { readonly message: Buffer; readonly isWrapped: boolean } {
  if (contentType(entity).value !== 'message/rfc822') return { message: entity.raw, isWrapped: false }
  return { message: decodedBody(entity), isWrapped: true }
}
