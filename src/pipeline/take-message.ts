import { createHash, randomUUID } from 'node:crypto'
import { isSameAddress, type DirectAddress } from '../domain/direct-address.ts'
import { schedule } from '../jobs/schedule.ts'
import type { OpenedMessage } from '../seal/open.ts'
import { insertAnswer, type Answer } from '../store/answers.ts'
import { appendAudit } from '../store/audit.ts'
import { deleteBlob, writeBlob } from '../store/blobs.ts'
import { insertInboxMessage } from '../store/inbox.ts'
import type { InboundMail } from '../store/mail.ts'
import type { Query } from '../store/query.ts'
import { readNotificationRequest } from '../tracking/notification-request.ts'
import { readMessage, type ReceivedMessage } from '../tracking/read-message.ts'
import { speakersOf, type Speaker, type SpeakerPorts } from './speakers.ts'

export interface TakeMessagePorts extends SpeakerPorts {
  readonly ourAddresses: readonly string[]
  /** `refuse`: nobody reads this mailbox, and whoever writes to it is told that nothing was delivered. */
  readonly inbox: 'keep' | 'refuse'
  /** `ignore`: MAIL FROM and RCPT TO need not be in the message; for HISPs whose relays rewrite them. */
  readonly envelope?: 'compare' | 'ignore'
}

/** A message that is no notification, judged before anything is written: a trusted one, or the reason for silence. */
export type JudgedMessage =
  | {
      readonly trusted: true
      readonly message: ReceivedMessage
      readonly recipients: readonly string[]
      readonly speakers: readonly Speaker[]
      readonly carried: readonly Buffer[]
      readonly answer: Awaited<ReturnType<typeof readNotificationRequest>>
    }
  | { readonly trusted: false; readonly because: string; readonly isUndecided?: boolean }

/** Compared with its envelope, then judged: a trusted signer has to be bound to its author. */
export async function judgeMessage(
  ports: TakeMessagePorts,
  opened: OpenedMessage,
  mail: Pick<InboundMail, 'envelopeFrom' | 'envelopeTo'>,
  at: Date,
): Promise<JudgedMessage> {
  const reading = readMessage(opened, { from: mail.envelopeFrom, to: mail.envelopeTo }, ports.envelope)
  if (!reading.acceptable) return { trusted: false, because: reading.because }
  const { message } = reading
  const { sender } = message
  const recipients = message.recipients.filter((one) =>
    ports.ourAddresses.some((own) => isSameAddress(own, one)),
  )
  if (recipients.length === 0) return { trusted: false, because: 'none of its recipients is here' }
  const { trusted: signers, undecided } = await speakersOf(ports, opened, [sender.text], at)
  if (undecided !== undefined) return { trusted: false, because: undecided, isUndecided: true }
  const speakers = signers.filter(({ name }) => isBoundTo(name, sender))
  if (speakers.length === 0) return { trusted: false, because: whyUntrusted(opened, signers, sender) }
  const isSpokenFor = (address: DirectAddress) => speakers.some(({ name }) => isBoundTo(name, address))
  const answer =
    mail.envelopeFrom === ''
      ? ({ answer: false, because: 'it came from the null sender, which takes no answer' } as const)
      : await readNotificationRequest(message.content, sender, isSpokenFor)
  return { trusted: true, message, recipients, speakers, carried: opened.certificates, answer }
}

/**
 * Keeps a trusted message for each local recipient, with the answers that are due for it: neither exists without the other.
 * One that is there already is not kept, and not answered, a second time.
 *
 * @returns why it stands where it stands
 */
export async function keepMessage(
  ports: TakeMessagePorts,
  query: Query,
  mail: InboundMail,
  judged: JudgedMessage & { trusted: true },
  at: Date,
): Promise<string> {
  const { message, speakers, answer } = judged
  const digest = createHash('sha256').update(message.content).digest()
  const isKept = ports.inbox === 'keep'
  const blob = isKept
    ? await writeBlob(query, 'inbox', [message.content], message.content.length, at)
    : undefined
  let isNew = false
  for (const recipient of judged.recipients) {
    const id = randomUUID()
    const inserted = await insertInboxMessage(
      query,
      {
        id,
        mailId: mail.id,
        recipient,
        sender: message.sender.text,
        messageId: message.messageId ?? null,
        digest,
        blobId: blob?.id ?? null,
        bytes: message.content.length,
        signerFingerprints: speakers.map(({ certificate }) => certificate.fingerprint),
        signerCertificates: speakers.map(({ certificate }) => certificate.der),
        carriedCertificates: judged.carried,
      },
      at,
    )
    if (!inserted) continue
    isNew = true
    if (answer.answer) await owe(query, id, recipient, answer.request, isKept, at)
    await appendAudit(query, [
      {
        at,
        actor: 'engine',
        action: isKept ? 'inbox-kept' : 'inbox-refused',
        subject: `inbox:${id}`,
        detail: {
          sender: message.sender.text,
          recipient,
          signers: speakers.map(({ certificate }) => certificate.fingerprint),
          ...(answer.answer ? {} : { unanswered: answer.because }),
        },
      },
    ])
  }
  if (!isNew && blob !== undefined) await deleteBlob(query, blob.id)
  if (!isNew) return 'the same message came before'
  return isKept ? 'it lies in the inbox' : 'this mailbox takes no messages (tracking.inbox: refuse)'
}

/**
 * Processed is due for every trusted message, asked for or not. Lying in the inbox is delivery, so dispatched follows at
 * once where it was asked for; failed follows where the mailbox takes nothing (accreditation case MT 41). Both wait for
 * processed to be gone.
 */
async function owe(
  query: Query,
  inboxId: string,
  sender: string,
  request: { to: string; originalMessageId?: string; isDeliveryRequested: boolean },
  isKept: boolean,
  at: Date,
): Promise<void> {
  const dispositions: Answer['disposition'][] = ['processed']
  if (!isKept) dispositions.push('failed')
  else if (request.isDeliveryRequested) dispositions.push('dispatched')
  const domain = sender.slice(sender.lastIndexOf('@') + 1)
  for (const disposition of dispositions) {
    const id = randomUUID()
    const dueAt = disposition === 'processed' ? at : null
    await insertAnswer(
      query,
      {
        id,
        inboxId,
        disposition,
        sender,
        recipient: request.to,
        messageId: `<${randomUUID()}@${domain}>`,
        originalMessageId: request.originalMessageId ?? null,
        dueAt,
      },
      at,
    )
    if (dueAt !== null) await schedule(query, [{ task: 'answer', answerId: id, dueAt }])
  }
}

function isBoundTo(name: string, address: DirectAddress): boolean {
  return name.includes('@') ? isSameAddress(name, address.text) : isSameAddress(name, address.domain)
}

function whyUntrusted(opened: OpenedMessage, signers: readonly Speaker[], sender: DirectAddress): string {
  const [one] = signers
  if (one !== undefined) return `signed for ${one.name}, which does not speak for ${sender.text}`
  const broken = opened.signers.find(({ valid }) => !valid)
  return broken?.because === undefined || opened.signers.some(({ valid }) => valid)
    ? 'it is not signed by anyone trusted'
    : `its signature does not hold: ${broken.because}`
}
