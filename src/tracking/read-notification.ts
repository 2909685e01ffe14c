import PostalMime from 'postal-mime'
import type { Notification, RecipientReport } from '../domain/notification.ts'
import type { Disposition } from '../domain/transmission.ts'

/**
 * Reads an MDN (RFC 8098) or a DSN (RFC 3464) out of a decrypted, unwrapped message, as leniently as peers need it
 * (direct.md 5.2): fields in any case and order, blanks and blank lines anywhere, addresses with or without `rfc822;`,
 * brackets and display names, message ids without brackets, and fields that are missing altogether.
 *
 * A disposition only ever comes from a `Disposition`, `Action` or `Status` field of a report part. A forwarded notification
 * (message/rfc822) is not one.
 *
 * @returns undefined where the message is no notification. Never throws.
 */
export async function readNotification(innerMessage: Buffer): Promise<Notification | undefined> {
  // The report stands before the returned message, which may be megabytes; nothing behind this limit is looked at.
  const head = innerMessage.subarray(0, notificationBytesMax)
  if (partLinesIn(head) > partLinesMax) return undefined
  let mail
  try {
    mail = await PostalMime.parse(head, {
      forceRfc822Attachments: true,
      maxNestingDepth: partDepthMax,
      maxHeadersSize: headerBytesMax,
    })
  } catch {
    return undefined
  }
  const header = (name: string): string | undefined => mail.headers.find(({ key }) => key === name)?.value
  const part = mail.attachments.find(({ mimeType }) => reportTypes.has(mimeType))
  const kind = part === undefined ? undefined : reportTypes.get(part.mimeType)
  if (part === undefined || kind === undefined) return undefined

  let fields = readFields(textOf(part.content))
  // QUIRK: the Java RI’s MDNResponse has no blank line after the part’s Content-Type: its fields are part headers.
  if (fields.length === 0) fields = readFields(partHeaders(head, part.mimeType))

  const threads = [
    messageIdOf(header('in-reply-to')),
    messageIdOf(header('references')?.trim().split(/\s+/).at(-1)),
    kind === 'dsn' ? returnedMessageId(mail.attachments) : undefined,
  ]
  const about = (own: readonly Field[], shared: readonly Field[]): string | undefined =>
    [
      messageIdOf(valueOf(own, 'original-message-id')),
      messageIdOf(valueOf(own, 'x-original-message-id')),
      messageIdOf(valueOf(shared, 'original-message-id')),
      messageIdOf(valueOf(shared, 'x-original-message-id')),
      ...threads,
    ].find((id) => id !== undefined)
  const from = addressOf(header('from'))
  const messageId = messageIdOf(header('message-id'))
  const reports =
    kind === 'mdn'
      ? [mdnReport(fields, from, about(fields, []))]
      : dsnReports(fields, (own, shared) => about(own, shared))
  return { kind, reports, ...(messageId === undefined ? {} : { messageId }) }
}

/** What precedes the returned message: real ones have 1–20 kB. */
const notificationBytesMax = 256 * 1024
/** Lines that begin like a boundary. A report has four; transcripts and signatures bring some more. */
const partLinesMax = 1_000
/** multipart/report › part; a few wrappers of gateways on top. */
const partDepthMax = 16
/** Header fields of all parts together. */
const headerBytesMax = 128 * 1024
/** Fields of one report. */
const fieldsMax = 2_000
/** Recipients of one DSN; relays bounce per transaction, which RFC 5321 §4.5.3.1.8 sets at 100 or more. */
const reportsMax = 200
/** Words kept for people. */
const textCharactersMax = 300
/** RFC 5322 §2.1.1: characters of a line. */
const messageIdCharactersMax = 998

/** RFC 6533 adds the internationalized names of the same two. */
const reportTypes = new Map<string, 'mdn' | 'dsn'>([
  ['message/disposition-notification', 'mdn'],
  ['message/global-disposition-notification', 'mdn'],
  ['message/delivery-status', 'dsn'],
  ['message/global-delivery-status', 'dsn'],
])

interface Field {
  readonly name: string
  readonly value: string
  /** A blank line stands before it: in a DSN, a new recipient may begin here. */
  readonly afterBlank: boolean
}

/** One field per line, folded lines joined, blank lines remembered, everything that is no field skipped. */
function readFields(text: string): Field[] {
  const fields: { name: string; value: string; afterBlank: boolean }[] = []
  let afterBlank = false
  let foldable = false
  for (const line of text.split(/\r\n|\r|\n/)) {
    if (line.trim() === '') {
      afterBlank = true
      foldable = false
      continue
    }
    const folded = /^[ \t]/.test(line)
    const field = /^\s*([\x21-\x39\x3b-\x7e]{1,100})\s*:(.*)$/s.exec(line)
    if (folded && foldable && !isKnown(field?.[1])) {
      fields.at(-1)!.value += ` ${line.trim()}`
      continue
    }
    foldable = field !== null
    if (field === null) continue
    if (fields.length >= fieldsMax) break
    fields.push({ name: field[1]!.toLowerCase(), value: field[2]!.trim(), afterBlank })
    afterBlank = false
  }
  return fields
}

/** QUIRK: some indent every field (ETT MDNWhiteSpaces); a folded line that begins with one of these is a field. */
function isKnown(name: string | undefined): boolean {
  return name !== undefined && knownFields.has(name.toLowerCase())
}

const knownFields = new Set([
  'disposition',
  'final-recipient',
  'original-recipient',
  'original-message-id',
  'x-original-message-id',
  'reporting-ua',
  'reporting-mta',
  'action',
  'status',
  'diagnostic-code',
  'failure',
  'error',
  'warning',
  'x-direct-final-destination-delivery',
])

function valueOf(fields: readonly Field[], name: string): string | undefined {
  return fields.find((field) => field.name === name)?.value
}

function mdnReport(
  fields: readonly Field[],
  from: string | undefined,
  originalMessageId: string | undefined,
): RecipientReport {
  const recipient =
    addressOf(valueOf(fields, 'final-recipient')) ?? addressOf(valueOf(fields, 'original-recipient')) ?? from
  const stated = valueOf(fields, 'disposition')
  const disposition = stated === undefined ? undefined : dispositionOf(stated)
  const words = [
    stated === undefined ? 'no Disposition field' : stated,
    valueOf(fields, 'failure'),
    valueOf(fields, 'error'),
  ]
  return report(originalMessageId, recipient, disposition, words)
}

/**
 * `disposition-mode; disposition-type[/modifier,…]` (RFC 8098 §3.2.6), or the type alone.
 *
 * - processed: the recipient’s HISP has it and trusts it
 * - dispatched, displayed → delivered. The Delivery Notification IG asks senders to add
 *   X-DIRECT-FINAL-DESTINATION-DELIVERY to dispatched, but peers leave it out, and a HISP that says dispatched says that it
 *   handed the message on; displayed (RFC 8098) says that a person saw it.
 * - failed, denied, error (RFC 2298), or any type with the modifier error or failure → failed
 * - deleted, and whatever else → says nothing
 */
function dispositionOf(stated: string): Disposition | undefined {
  const plain = withoutComments(stated).toLowerCase()
  const sections = plain
    .split(';')
    .map((section) => section.trim())
    .filter((section) => section !== '')
  const [type = '', ...modifiers] = (sections.at(-1) ?? '').split(/[/,]/).map((word) => word.trim())
  const isFailure = modifiers.some((modifier) => /^(error|failure|failed)$/.test(modifier))
  switch (type) {
    case 'failed':
    case 'denied':
    case 'error':
      return 'failed'
    case 'processed':
      return isFailure ? 'failed' : 'processed'
    case 'dispatched':
    case 'displayed':
      return isFailure ? 'failed' : 'delivered'
    default:
      return isFailure && type === 'deleted' ? 'failed' : undefined
  }
}

/**
 * Per-message fields, then one group per recipient (RFC 3464 §2.1). Blank lines alone do not separate: peers scatter them.
 * A recipient begins where a field repeats that the current one has, or after a blank line once it is complete.
 */
function dsnReports(
  fields: readonly Field[],
  about: (own: readonly Field[], shared: readonly Field[]) => string | undefined,
): RecipientReport[] {
  const shared: Field[] = []
  const groups: Field[][] = []
  let current: Field[] | undefined
  for (const field of fields) {
    const has = (name: string): boolean => current?.some((other) => other.name === name) === true
    const isRecipientField = recipientFields.has(field.name)
    const isComplete = has('final-recipient') && has('action')
    if (isRecipientField && (current === undefined || has(field.name) || (field.afterBlank && isComplete))) {
      current = []
      groups.push(current)
    }
    ;(current ?? shared).push(field)
  }
  return groups
    .map((group) => {
      const recipient =
        addressOf(valueOf(group, 'final-recipient')) ?? addressOf(valueOf(group, 'original-recipient'))
      const action = valueOf(group, 'action')
      const status = valueOf(group, 'status')
      const words = [action ?? 'no Action field', status, valueOf(group, 'diagnostic-code')]
      return report(about(group, shared), recipient, dispositionOfAction(action, status), words)
    })
    .filter(({ recipient, disposition }) => recipient !== undefined || disposition !== undefined)
    .slice(0, reportsMax)
}

const recipientFields = new Set(['original-recipient', 'final-recipient', 'action', 'status'])

/** RFC 3464 §2.3.3; delayed, relayed and expanded say nothing final. A 5.x.x status without any action is a failure, too. */
function dispositionOfAction(
  action: string | undefined,
  status: string | undefined,
): Disposition | undefined {
  if (action === undefined) return /^\s*5\.\d+\.\d+/.test(status ?? '') ? 'failed' : undefined
  switch (withoutComments(action).trim().toLowerCase()) {
    case 'failed':
      return 'failed'
    case 'delivered':
      return 'delivered'
    default:
      return undefined
  }
}

function report(
  originalMessageId: string | undefined,
  recipient: string | undefined,
  disposition: Disposition | undefined,
  words: readonly (string | undefined)[],
): RecipientReport {
  const text = words
    .filter((word) => word !== undefined && word !== '')
    .join('; ')
    .replace(/[\p{Cc}\s]+/gu, ' ')
    .slice(0, textCharactersMax)
  return {
    ...(originalMessageId === undefined ? {} : { originalMessageId }),
    ...(recipient === undefined ? {} : { recipient }),
    ...(disposition === undefined ? {} : { disposition }),
    text,
  }
}

/** `rfc822;Ellen Ross <Ellen.Ross@…>` → `ellen.ross@…`. */
function addressOf(text: string | undefined): string | undefined {
  if (text === undefined || text.length > addressCharactersMax) return undefined
  const bare = text.replace(/^\s*[A-Za-z0-9-]{1,20}\s*;/, '')
  const bracketed = /<([^<>]*)>[^<>]*$/.exec(bare)?.[1]
  const address = withoutComments(bracketed ?? bare)
    .replace(/\s+/g, '')
    .toLowerCase()
  return /^[^@<>;,:"()]+@[^@<>;,:"()]+$/.test(address) ? address : undefined
}

/** A display name, a type and an address (RFC 5321 §4.5.3.1.3 allows 256 for the path). */
const addressCharactersMax = 1_000

/** The first id, in angle brackets, without the blanks that folding and careless software put inside. */
function messageIdOf(text: string | undefined): string | undefined {
  if (text === undefined) return undefined
  const id = (/<([^<>]*)>/.exec(text)?.[1] ?? withoutComments(text)).replace(/[\p{Cc}\s<>]+/gu, '')
  return id === '' || id.length > messageIdCharactersMax ? undefined : `<${id}>`
}

function withoutComments(text: string): string {
  return text.replace(/\([^()]*\)/g, ' ')
}

/** Message-ID of the returned message or header fields (RFC 3464 §1, RFC 6522 §3): how plain mail servers say it. */
function returnedMessageId(
  parts: readonly { mimeType: string; content: string | ArrayBuffer | Uint8Array }[],
): string | undefined {
  const returned = parts.find(({ mimeType }) =>
    /^(message\/(rfc822|global)|text\/rfc822-headers)/.test(mimeType),
  )
  if (returned === undefined) return undefined
  const head = textOf(returned.content).split(/\r?\n\r?\n/, 1)[0]!
  return messageIdOf(valueOf(readFields(head), 'message-id'))
}

function partLinesIn(message: Buffer): number {
  let count = 0
  for (let at = message.indexOf('\n--'); at !== -1; at = message.indexOf('\n--', at + 1)) count++
  return count
}

function partHeaders(message: Buffer, mimeType: string): string {
  const text = message.toString('latin1')
  const start = new RegExp(`^content-type:[ \\t]*${mimeType}[^\\r\\n]*\\r?\\n`, 'im').exec(text)
  if (start === null) return ''
  const lines = text.slice(start.index + start[0].length).split(/\r?\n/)
  const end = lines.findIndex((line) => line === '' || line.startsWith('--'))
  return lines.slice(0, end === -1 ? undefined : end).join('\n')
}

function textOf(content: string | ArrayBuffer | Uint8Array): string {
  return typeof content === 'string' ? content : Buffer.from(content as Uint8Array).toString('utf8')
}
