import { base64LinesLength } from '../lib/base64-lines.ts'
import {
  address,
  field,
  mailDate,
  messageId,
  parameter,
  quotedPrintable,
  safeText,
  textField,
  UnsafeText,
} from '../lib/mime-writer.ts'
import type { Random } from './envelope.ts'
import { contextSentence, type Addressing, type PlainOrder } from './seal-order.ts'

/** The inner message: octets ready to go, with the number of a document wherever its base64 lines belong. */
export interface Payload {
  readonly pieces: readonly (Buffer | number)[]
  /** Octets of the whole message. */
  readonly bytes: number
}

/** One document may have a long name, and filesystems of receivers stop here. */
const fileNameCharactersMax = 255
const documentsMax = 100

/** Asks for the dispatched notification, too (Delivery Notification IG §1.3); processed is due without asking. */
const deliveryOption =
  'Disposition-Notification-Options: X-DIRECT-FINAL-DESTINATION-DELIVERY=optional,true\r\n'

/**
 * The message a patient's system sees after decrypting (contract: The Direct message; Blue Button+ §F).
 *
 * @throws UnsafeText for a value that cannot stand in a message, without quoting it
 */
export function makePayload(order: PlainOrder, random: Random): Payload {
  if (order.documents.length > documentsMax)
    throw new UnsafeText('the message', `has more than ${documentsMax} documents`)
  // "=_" stands neither in base64 nor in quoted-printable, so no content can look like a delimiter (RFC 2045 §6.7).
  const boundary = `=_payload_${random(12).toString('hex')}`
  const pieces: (Buffer | number)[] = []
  let text =
    commonFields(order, order.to) +
    textField('Subject', subjectOf(order)) +
    field('Disposition-Notification-To', address('the sender', order.from)) +
    (order.asksForDelivery === false ? '' : deliveryOption) +
    field('Content-Type', `multipart/mixed; boundary="${boundary}"`) +
    `\r\n--${boundary}\r\n` +
    textPart(contextText(order), 'Content-Disposition: inline\r\n') +
    `\r\n--${boundary}\r\n`
  for (const [index, document] of order.documents.entries()) {
    text +=
      field(
        'Content-Type',
        `${mediaType(document.mediaType)}${parameter('name', fileName(document.fileName))}`,
      ) +
      'Content-Transfer-Encoding: base64\r\n' +
      field('Content-Disposition', `attachment${parameter('filename', document.fileName)}`) +
      '\r\n'
    pieces.push(Buffer.from(text, 'latin1'), index)
    text = `\r\n--${boundary}\r\n`
  }
  text +=
    textPart(requestText(order), field('Content-Disposition', `attachment; filename="request.txt"`)) +
    `\r\n--${boundary}--\r\n`
  pieces.push(Buffer.from(text, 'latin1'))

  let bytes = 0
  for (const piece of pieces)
    bytes += typeof piece === 'number' ? base64LinesLength(order.documents[piece]!.bytes) : piece.length
  return { pieces, bytes }
}

/**
 * The header fields of the envelope outside. Receivers compare it with the message inside and refuse recipients that are
 * not named there (the reference implementation’s tamper policy).
 */
export function outerFields(order: Addressing): string {
  const to = order.outerTo ?? order.to
  if (to.some((one) => !order.to.includes(one)))
    throw new UnsafeText('the message', 'goes to somebody whom it does not name inside')
  return commonFields(order, to)
}

/** The header fields that stand outside and inside alike. They carry addresses, a date and an identifier, nothing else. */
function commonFields(order: Addressing, to: readonly string[]): string {
  if (to.length === 0) throw new UnsafeText('the message', 'has no recipient')
  const addresses = to.map((one) => address('a recipient', one))
  return (
    field('From', address('the sender', order.from)) +
    field('To', addresses.join(', ')) +
    field('Message-ID', messageId('Message-ID', order.messageId)) +
    field('Date', mailDate(order.date)) +
    'MIME-Version: 1.0\r\n'
  )
}

/** IHE XDM, ITI TF-2 §3.32.4.1.4: receivers know a message with an XDM zip by its subject, and so does ETT. */
const xdmSubject = 'XDM/1.0/DDM'

function subjectOf({ subject, documents }: PlainOrder): string {
  const hasZip = documents.some(
    ({ mediaType: type, fileName: name }) => /^application\/(x-)?zip/i.test(type) || /\.zip$/i.test(name),
  )
  return hasZip && !subject.includes(xdmSubject) ? `${xdmSubject} ${subject}`.trimEnd() : subject
}

function contextText(order: PlainOrder): string {
  if (order.contextText === undefined)
    return contextSentence(
      safeText('the data holder’s name', order.dataHolder),
      safeText('the patient’s name', order.patientName),
    )
  for (const line of order.contextText.split('\n')) safeText('the context text', line)
  return order.contextText
}

/** Blue Button+ §F.4. */
function requestText(order: PlainOrder): string {
  return [
    ...order.to.map((one) => `Destination: ${one}`),
    `Patient: ${safeText('the patient’s name', order.patientName)}`,
    `Data-holder: ${safeText('the data holder’s name', order.dataHolder)}`,
    `Recurring: ${order.recurring ? 'Yes' : 'No'}`,
  ].join('\n')
}

function textPart(text: string, disposition: string): string {
  return (
    'Content-Type: text/plain; charset=utf-8\r\n' +
    'Content-Transfer-Encoding: quoted-printable\r\n' +
    `${disposition}\r\n${quotedPrintable(text)}`
  )
}

function mediaType(text: string): string {
  const [type, subtype, ...more] = text.toLowerCase().split('/')
  const isToken = (part: string | undefined) =>
    part !== undefined && /^[a-z0-9][a-z0-9.+_-]{0,126}$/.test(part)
  if (!isToken(type) || !isToken(subtype) || more.length > 0)
    throw new UnsafeText('a document’s media type', 'is not of the form type/subtype')
  // RFC 2046 §5: these two may not be in base64.
  if (type === 'multipart' || type === 'message')
    throw new UnsafeText('a document’s media type', `must not be ${type}/…`)
  return `${type}/${subtype}`
}

function fileName(text: string): string {
  safeText('a document’s file name', text)
  if (text === '' || text.length > fileNameCharactersMax)
    throw new UnsafeText('a document’s file name', `has not 1 to ${fileNameCharactersMax} characters`)
  if (/[/\\]/.test(text)) throw new UnsafeText('a document’s file name', 'has a slash or backslash')
  return text
}
