import { addressParser } from 'postal-mime'
import { isSameAddress, readDirectAddress, type DirectAddress } from '../domain/direct-address.ts'

/** A message that is no notification, decrypted, as far as anybody may believe it before trust is judged. */
export interface ReceivedMessage {
  /** Its author: the address a trusted signer has to be bound to. */
  readonly sender: DirectAddress
  /** Those of the envelope’s recipients that the message itself names. */
  readonly recipients: readonly string[]
  readonly messageId?: string
  /** Header fields and body, as one RFC 5322 message. */
  readonly content: Buffer
}

export type MessageReading =
  | { readonly acceptable: true; readonly message: ReceivedMessage }
  | { readonly acceptable: false; readonly because: string }

export interface MessageInside {
  /** The message inside its wrapping, or the signed entity where there was none. */
  readonly message: Buffer
  readonly isWrapped: boolean
  /** Header fields of the message inside. */
  readonly fields: readonly HeaderField[]
  /** Header fields that travelled in the clear. */
  readonly outerFields: readonly HeaderField[]
}

interface HeaderField {
  readonly name: string
  readonly value: string
}

/**
 * Compares what SMTP was told and what travelled in the clear with what is signed, as the reference implementation’s tamper
 * policy does: MAIL FROM and the outer From are the author, RCPT TO is among To and Cc. A recipient that is not named is
 * left out; without any the message is not ours.
 *
 * With `ignore` the recipients and the sender of SMTP are taken as they are (relays that rewrite or forward); what travelled
 * in the clear must still be what is signed.
 *
 * Some peers do not wrap (Applicability Statement 1.0 did not ask them to): then the outer fields are the only ones, and the
 * signature, bound to From, is what speaks for them.
 */
export function readMessage(
  inside: MessageInside,
  envelope: { readonly from: string; readonly to: readonly string[] },
  policy: 'compare' | 'ignore' = 'compare',
): MessageReading {
  const no = (because: string) => ({ acceptable: false, because }) as const
  const fields = inside.isWrapped ? inside.fields : inside.outerFields
  const from = addressesIn(fields, 'from')
  const [author] = from
  if (author === undefined || from.length > 1) return no('it does not say who wrote it, or names several')
  const reading = readDirectAddress(author)
  if (!reading.valid) return no(`its author has no Direct address: ${reading.because}`)
  const senders = [author, ...addressesIn(fields, 'sender')]
  const isSender = (address: string) => senders.some((one) => isSameAddress(one, address))
  const isCompared = policy === 'compare'
  if (isCompared && envelope.from !== '' && !isSender(envelope.from))
    return no(`it came from ${envelope.from} by SMTP, and says inside that ${author} wrote it`)
  for (const outer of addressesIn(inside.outerFields, 'from'))
    if (!isSender(outer)) return no(`it says outside that ${outer} wrote it, and inside that ${author} did`)
  const outerId = messageIdIn(inside.outerFields)
  const innerId = messageIdIn(fields)
  if (outerId !== undefined && innerId !== undefined && outerId !== innerId)
    return no('it has one Message-ID outside and another one inside')
  const named = [...addressesIn(fields, 'to'), ...addressesIn(fields, 'cc')]
  const recipients = envelope.to.filter(
    (one) => !isCompared || named.some((other) => isSameAddress(one, other)),
  )
  if (recipients.length === 0) return no('it names none of the recipients that it was brought to')
  const messageId = innerId ?? outerId
  return {
    acceptable: true,
    message: {
      sender: reading.address,
      recipients,
      ...(messageId === undefined ? {} : { messageId }),
      content: inside.isWrapped ? inside.message : withFields(inside.outerFields, inside.message),
    },
  }
}

/** What belongs to the sealed form and not to the message inside. */
const sealingFields = /^(content-|mime-version$)/i

function withFields(fields: readonly HeaderField[], entity: Buffer): Buffer {
  const head = fields
    .filter(({ name }) => !sealingFields.test(name))
    .map(({ name, value }) => `${name}: ${value.trim()}\r\n`)
  return Buffer.concat([Buffer.from(`${head.join('')}MIME-Version: 1.0\r\n`), entity])
}

function messageIdIn(fields: readonly HeaderField[]): string | undefined {
  const value = fields.find(({ name }) => name.toLowerCase() === 'message-id')?.value
  return /^\s*(<[^<>\s]{1,996}>)\s*$/.exec(value ?? '')?.[1]
}

function addressesIn(fields: readonly HeaderField[], wanted: string): string[] {
  return fields
    .filter(({ name }) => name.toLowerCase() === wanted)
    .flatMap(({ value }) => addressParser(value.slice(0, addressFieldCharactersMax), { flatten: true }))
    .flatMap(({ address }) => (address === undefined || address === '' ? [] : [address]))
}

/** A thousand recipients. */
const addressFieldCharactersMax = 64 * 1024
