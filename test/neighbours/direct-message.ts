import { createHash, randomUUID, X509Certificate } from 'node:crypto'
import PostalMime from 'postal-mime'
import type { Cms, KeyPair, KeyTransport } from './cms.ts'
import { contentType, decodedBody, entityOf, header, mailboxes, partsOf, type Entity } from './mail-parts.ts'

/** A Direct message as the receiver sees it after decrypting and verifying. */
export interface OpenedMessage {
  messageId: string
  /** What it answers, where it is an answer. */
  inReplyTo: string
  from: string
  to: string[]
  subject: string
  /** The text the patient reads. */
  text: string
  attachments: { filename: string; contentType: string; bytes: number; sha256: string }[]
  /** The text of request.txt, where there is one. */
  request?: string
  /** Where MDNs go, and whether a dispatched one is asked for. */
  notifyTo: string
  asksForDispatched: boolean
  isNotification: boolean
  /** Names of the outer headers, lower case. */
  outerHeaders: string[]
  /** SHA-256 over the sealed bytes as they came by SMTP. */
  sealedSha256: string
  sealedBytes: number
  signers: string[]
  /** Which implementation opened it. */
  openedBy: string
  milliseconds: { decrypt: number; verify: number }
}

/** The message is not what a Direct message has to be; it is kept with the reason and never answered. */
export class NotAccepted extends Error {
  readonly code: string
  constructor(code: string, because: string) {
    super(because)
    this.code = code
  }
}

/** Decrypts, verifies and takes apart, strictly (Applicability Statement §3–5; tamper policy of the Java agent). */
export async function open(
  sealed: Buffer,
  envelope: { from: string; to: readonly string[] },
  cms: Cms,
  keys: readonly KeyPair[],
  roots: readonly string[],
  /** A file’s content is wanted: called for each attachment. */
  keep: (sha256: string, content: Buffer) => void = () => {},
): Promise<OpenedMessage> {
  const outer = entityOf(sealed)
  const outerType = contentType(outer)
  if (!/^application\/(x-)?pkcs7-mime$/.test(outerType.type))
    throw new NotAccepted('not-encrypted', `the message is ${outerType.type}, not application/pkcs7-mime`)
  for (const forbidden of ['subject', 'bcc', 'x-direct-context'])
    if (outer.headers.has(forbidden))
      throw new NotAccepted('outer-header', `the outer headers carry ${forbidden}`)
  if (sealed.some((byte) => byte > 0x7f)) throw new NotAccepted('not-7bit', 'the sealed message is not 7-bit')
  if (
    sealed
      .toString('latin1')
      .split('\r\n')
      .some((line) => line.length > lineOctetsMax || line.includes('\n'))
  )
    throw new NotAccepted('line-length', 'a line is too long, or ends without CR')

  let at = performance.now()
  const entity = await cms.decrypt(decodedBody(outer), keys).catch((error: Error) => {
    throw new NotAccepted('not-decryptable', error.message)
  })
  const decrypt = performance.now() - at

  const signed = entityOf(entity)
  const signedType = contentType(signed)
  if (signedType.type !== 'multipart/signed')
    throw new NotAccepted('not-signed', `inside the envelope is ${signedType.type}, not multipart/signed`)
  const micalg = (signedType.parameters.get('micalg') ?? '').replace('-', '').toLowerCase()
  if (!['sha256', 'sha384', 'sha512'].includes(micalg))
    throw new NotAccepted('micalg', `micalg is “${micalg}”`)
  const parts = partsOf(signed.body, signedType.parameters.get('boundary') ?? '')
  const [content, signature] = parts
  if (parts.length !== 2 || content === undefined || signature === undefined)
    throw new NotAccepted('not-signed', `multipart/signed has ${parts.length} parts`)
  const signatureEntity = entityOf(signature)
  if (!/^application\/(x-)?pkcs7-signature$/.test(contentType(signatureEntity).type))
    throw new NotAccepted('not-signed', 'the second part is no signature')

  at = performance.now()
  const signers = await cms.verify(content, decodedBody(signatureEntity), roots).catch((error: Error) => {
    throw new NotAccepted('not-verified', error.message)
  })
  const verify = performance.now() - at

  const wrapper = entityOf(content)
  if (contentType(wrapper).type !== 'message/rfc822')
    throw new NotAccepted('not-wrapped', `what is signed is ${contentType(wrapper).type}, not message/rfc822`)
  const innerBytes = decodedBody(wrapper)
  const inner = entityOf(innerBytes)
  const from = theOnly(inner, 'from')
  const to = [...mailboxes(header(inner, 'to')), ...mailboxes(header(inner, 'cc'))]
  checkSame(outer, inner, envelope, from, to)
  if (!signers.some((pem) => binds(new X509Certificate(pem), from)))
    throw new NotAccepted('signer-not-bound', `no signer’s certificate is for ${from} or its domain`)

  const mail = await PostalMime.parse(innerBytes)
  const attachments = mail.attachments.map((attachment) => {
    const content = Buffer.from(attachment.content as ArrayBuffer)
    const sha256 = createHash('sha256').update(content).digest('hex')
    keep(sha256, content)
    return {
      filename: attachment.filename ?? '',
      contentType: attachment.mimeType,
      bytes: content.length,
      sha256,
      text: attachment.filename === 'request.txt' ? content.toString() : undefined,
    }
  })
  const request = attachments.find(({ filename }) => filename === 'request.txt')?.text
  const options = header(inner, 'disposition-notification-options').replace(/\s/g, '').toLowerCase()
  return {
    messageId: header(inner, 'message-id'),
    inReplyTo: header(inner, 'in-reply-to'),
    from,
    to,
    subject: mail.subject ?? '',
    text: mail.text ?? '',
    attachments: attachments.map(({ text: _, ...attachment }) => attachment),
    ...(request === undefined ? {} : { request }),
    notifyTo: mailboxes(header(inner, 'disposition-notification-to'))[0] ?? from,
    asksForDispatched: options === 'x-direct-final-destination-delivery=optional,true',
    isNotification: contentType(inner).type === 'multipart/report',
    outerHeaders: [...outer.headers.keys()],
    sealedSha256: createHash('sha256').update(sealed).digest('hex'),
    sealedBytes: sealed.length,
    signers: signers.map((pem) => new X509Certificate(pem).subject),
    openedBy: cms.by,
    milliseconds: { decrypt, verify },
  }
}

const lineOctetsMax = 998 // RFC 5322 §2.1.1

function theOnly(entity: Entity, name: string): string {
  const found = mailboxes(header(entity, name))
  if (found.length !== 1 || found[0] === undefined || entity.headers.get(name)?.length !== 1)
    throw new NotAccepted('headers', `there is not exactly one ${name}`)
  return found[0]
}

/** What travels in the clear must say what is signed inside, and SMTP must have been told the same. */
function checkSame(
  outer: Entity,
  inner: Entity,
  envelope: { from: string; to: readonly string[] },
  from: string,
  to: readonly string[],
): void {
  for (const name of ['from', 'message-id', 'date'])
    if (outer.headers.has(name) && header(outer, name) !== header(inner, name))
      throw new NotAccepted('tampered', `outer and inner ${name} differ`)
  // Recipients whose HISP is not trusted are left out of the header outside; nobody may be added to it.
  const named = header(inner, 'to').split(/,\s*/)
  if (
    outer.headers.has('to') &&
    !header(outer, 'to')
      .split(/,\s*/)
      .every((one) => named.includes(one))
  )
    throw new NotAccepted('tampered', 'outer and inner to differ')
  if (!/^<[^<>@\s]+@[^<>@\s]+>$/.test(header(inner, 'message-id')))
    throw new NotAccepted('headers', `the Message-ID is “${header(inner, 'message-id')}”`)
  if (header(outer, 'message-id') === '') throw new NotAccepted('headers', 'the outer Message-ID is missing')
  if (Number.isNaN(Date.parse(header(inner, 'date')))) throw new NotAccepted('headers', 'the Date is not one')
  const isReport = contentType(inner).type === 'multipart/report'
  if (envelope.from.toLowerCase() !== from && !(isReport && envelope.from === ''))
    throw new NotAccepted('tampered', `MAIL FROM is <${envelope.from}>, From inside is ${from}`)
  for (const recipient of envelope.to)
    if (!to.includes(recipient.toLowerCase()))
      throw new NotAccepted('tampered', `RCPT TO <${recipient}> is not among the recipients inside`)
}

/** rfc822Name equal to the address, or dNSName equal to its domain; without case. */
function binds(certificate: X509Certificate, address: string): boolean {
  const domain = address.slice(address.lastIndexOf('@') + 1)
  return (certificate.subjectAltName ?? '')
    .split(', ')
    .some((name) => [`email:${address}`, `DNS:${domain}`].includes(sameCase(name)))
}

function sameCase(name: string): string {
  const colon = name.indexOf(':')
  return name.slice(0, colon + 1) + name.slice(colon + 1).toLowerCase()
}

export type ReportedDisposition = 'processed' | 'dispatched' | 'failed' | 'denied' | 'error'

/** Shapes seen in the wild; all but the last three still say what they say. */
export type NotificationShape =
  | 'usual'
  | 'different-case'
  | 'extra-spaces'
  | 'extra-line-breaks'
  | 'only-in-reply-to'
  | 'no-final-recipient'
  | 'no-disposition'
  | 'dsn'

/** The inner message of an MDN (RFC 8098 §3), or of a DSN (RFC 3464) for `dsn`. */
export function notification(about: {
  of: string
  from: string
  to: string
  disposition: ReportedDisposition
  at: Date
  shape?: NotificationShape
  /** For whom it speaks, where that is not who signs it. */
  finalRecipient?: string
  failure?: string
}): { messageId: string; bytes: Buffer } {
  const shape = about.shape ?? 'usual'
  const domain = about.from.slice(about.from.lastIndexOf('@') + 1)
  const messageId = `<${randomUUID()}@${domain}>`
  const boundary = `report-${randomUUID()}`
  const recipient = about.finalRecipient ?? about.from
  const dispatchedExtension =
    about.disposition === 'dispatched' ? ['X-DIRECT-FINAL-DESTINATION-DELIVERY: true'] : []
  let fields = [
    `Reporting-UA: ${domain}; Neighbour HISP 1.0`,
    ...(shape === 'no-final-recipient' ? [] : [`Final-Recipient: rfc822; ${recipient}`]),
    ...(shape === 'only-in-reply-to' ? [] : [`Original-Message-ID: ${about.of}`]),
    ...(shape === 'no-disposition'
      ? []
      : [`Disposition: automatic-action/MDN-sent-automatically; ${about.disposition}`]),
    ...dispatchedExtension,
    ...(about.failure === undefined ? [] : [`Failure: ${about.failure}`]),
  ]
  if (shape === 'different-case')
    fields = fields.map((field) => {
      const colon = field.indexOf(':')
      const name = field.slice(0, colon)
      return name === 'Disposition' ? field.toUpperCase() : name.toUpperCase() + field.slice(colon)
    })
  if (shape === 'extra-spaces')
    fields = fields.map((field) => field.replace(': ', ':   ').replace('; ', ' ;   ').concat('  '))
  if (shape === 'extra-line-breaks') fields = ['', ...fields, '', '']
  const report =
    shape === 'dsn'
      ? [
          'Content-Type: message/delivery-status',
          '',
          `Reporting-MTA: dns;${domain}`,
          `X-Original-Message-ID: ${about.of}`,
          '',
          `Final-Recipient: rfc822;${recipient}`,
          `Action: ${about.disposition === 'failed' ? 'failed' : 'delivered'}`,
          `Status: ${about.disposition === 'failed' ? '5.5.0' : '2.0.0'}`,
        ]
      : ['Content-Type: message/disposition-notification', '', ...fields]
  const lines = [
    `From: ${about.from}`,
    `To: ${about.to}`,
    `Subject: ${about.disposition}: notification`,
    `Date: ${mailDate(about.at)}`,
    `Message-ID: ${messageId}`,
    `In-Reply-To: ${about.of}`,
    'MIME-Version: 1.0',
    `Content-Type: multipart/report; report-type=${shape === 'dsn' ? 'delivery-status' : 'disposition-notification'}; boundary="${boundary}"`,
    '',
    `--${boundary}`,
    'Content-Type: text/plain; charset=us-ascii',
    '',
    about.disposition === 'processed'
      ? 'The message was received and trusted.'
      : `The message was ${about.disposition}.`,
    `--${boundary}`,
    ...report,
    `--${boundary}--`,
    '',
  ]
  return { messageId, bytes: Buffer.from(lines.join('\r\n')) }
}

/** Wraps, signs and encrypts a message; with no signer it is left unsigned, with no recipients unencrypted. */
export async function seal(
  inner: Buffer,
  cms: Cms,
  signer: KeyPair | undefined,
  recipients: readonly string[],
  transport: KeyTransport = 'pkcs1',
): Promise<Buffer> {
  const headers = entityOf(inner)
  const wrapped = Buffer.concat([Buffer.from('Content-Type: message/rfc822\r\n\r\n'), inner])
  const entity = signer === undefined ? wrapped : await signedEntity(wrapped, cms, signer)
  const outer = ['MIME-Version', 'From', 'To', 'Date', 'Message-ID', 'In-Reply-To']
    .filter((name) => headers.headers.has(name.toLowerCase()))
    .map((name) => `${name}: ${header(headers, name)}`)
  if (recipients.length === 0)
    return Buffer.concat([
      Buffer.from(
        outer
          .filter((line) => !line.startsWith('MIME-Version'))
          .concat('MIME-Version: 1.0', '')
          .join('\r\n'),
      ),
      entity,
    ])
  const enveloped = await cms.encrypt(entity, recipients, transport)
  return Buffer.from(
    [
      ...outer,
      'Content-Type: application/pkcs7-mime; smime-type=enveloped-data; name="smime.p7m"',
      'Content-Transfer-Encoding: base64',
      'Content-Disposition: attachment; filename="smime.p7m"',
      '',
      folded(enveloped),
      '',
    ].join('\r\n'),
  )
}

async function signedEntity(wrapped: Buffer, cms: Cms, signer: KeyPair): Promise<Buffer> {
  const boundary = `signed-${randomUUID()}`
  return Buffer.concat([
    Buffer.from(
      `Content-Type: multipart/signed; protocol="application/pkcs7-signature"; micalg=sha-256; boundary="${boundary}"\r\n\r\n--${boundary}\r\n`,
    ),
    wrapped,
    Buffer.from(
      [
        '',
        `--${boundary}`,
        'Content-Type: application/pkcs7-signature; name="smime.p7s"',
        'Content-Transfer-Encoding: base64',
        'Content-Disposition: attachment; filename="smime.p7s"',
        '',
        folded(await cms.sign(wrapped, signer)),
        `--${boundary}--`,
        '',
      ].join('\r\n'),
    ),
  ])
}

function folded(bytes: Buffer): string {
  return bytes.toString('base64').replace(/.{76}(?=.)/g, '$&\r\n')
}

/** RFC 5322 date in UTC: Sun, 22 Nov 2026 21:45:00 +0000 */
export function mailDate(at: Date): string {
  return at.toUTCString().replace('GMT', '+0000')
}
