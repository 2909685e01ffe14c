import type { DataSource } from 'typeorm'
import { readDirectAddress } from '../domain/direct-address.ts'
import type { Notification, RecipientReport } from '../domain/notification.ts'
import { schedule } from '../jobs/schedule.ts'
import { open, type OpenedMessage, type OwnKey } from '../seal/open.ts'
import { appendAudit } from '../store/audit.ts'
import { readBlob } from '../store/blobs.ts'
import { insertNotification, lockMail, markMail, transmissionIdFor, type InboundMail } from '../store/mail.ts'
import { inTransaction, queryOf, type Query } from '../store/query.ts'
import { lockTransmission, recordOccurrence, type Transmission } from '../store/transmissions.ts'
import { acceptNotification, voicesFor } from '../tracking/accept-notification.ts'
import { nextDeadline, type NotificationWaits } from '../tracking/deadlines.ts'
import { readNotification } from '../tracking/read-notification.ts'
import { readCertificate, type Certificate } from '../trust/certificate.ts'
import { judgeCertificates } from '../trust/judge-certificates.ts'

export interface OpenMailPorts {
  readonly dataSource: DataSource
  readonly keys: readonly OwnKey[]
  readonly anchors: readonly Certificate[]
  readonly ourAddresses: readonly string[]
  readonly waits: NotificationWaits
  readonly onNotification: (effect: 'moved' | 'late' | 'already-known' | 'ignored') => void
  readonly now: () => Date
}

/**
 * A stored inbound message is decrypted, verified and read; a notification moves the transmission it speaks of. Whatever
 * is refused is written down here and answered by silence: nobody learns from us why.
 */
export async function openMail(ports: OpenMailPorts, mailId: string): Promise<void> {
  const query = queryOf(ports.dataSource)
  const [row] = await query<{ blob_id: string; state: string }>(
    'SELECT blob_id, state FROM inbound_mail WHERE id = $1',
    [mailId],
  )
  if (row === undefined || row.state !== 'received') return
  const chunks: Buffer[] = []
  for await (const chunk of readBlob(query, row.blob_id)) chunks.push(chunk)
  const raw = Buffer.concat(chunks)
  const opened = await open(raw, { keys: ports.keys })
  const notification = await readNotification(opened.opened ? opened.message : raw)
  const effects = await inTransaction(ports.dataSource, async (tx): Promise<Effect[]> => {
    const at = ports.now()
    const mail = await lockMail(tx, mailId)
    if (mail === undefined || mail.state !== 'received') return []
    if (notification === undefined) {
      // Nobody but a trusted sender gets an answer, and messages that are not notifications get none from this version.
      await markMail(
        tx,
        mailId,
        opened.opened ? 'message' : 'ignored',
        opened.opened ? 'it is not a notification' : opened.because,
        at,
      )
      return []
    }
    await markMail(tx, mailId, 'notification', opened.opened ? null : opened.because, at)
    const effects: Effect[] = []
    for (const [ordinal, report] of notification.reports.entries())
      effects.push(
        await apply(ports, tx, mail, opened.opened ? opened : undefined, notification, report, ordinal, at),
      )
    return effects
  })
  for (const effect of effects) ports.onNotification(effect)
}

type Effect = 'moved' | 'late' | 'already-known' | 'ignored'

async function apply(
  ports: OpenMailPorts,
  query: Query,
  mail: InboundMail,
  opened: OpenedMessage | undefined,
  notification: Notification,
  report: RecipientReport,
  ordinal: number,
  at: Date,
): Promise<Effect> {
  const transmission = await transmissionFor(query, report)
  const speakers = opened === undefined ? [] : speakersFor(ports, opened, report, notification, at)
  const acceptance = acceptNotification(report, {
    kind: notification.kind,
    signers: speakers.map(({ address }) => address),
    envelopeFrom: mail.envelopeFrom,
    ourAddresses: ports.ourAddresses,
    ...(transmission?.messageId === undefined
      ? {}
      : { transmission: { messageId: transmission.messageId, destination: transmission.destination } }),
  })
  const outcome =
    acceptance.effect === 'apply' && transmission !== undefined
      ? await move(ports, query, transmission, acceptance.disposition, report, at)
      : {
          effect: 'ignored' as const,
          because: acceptance.effect === 'ignore' ? acceptance.because : 'no such transmission',
        }
  await insertNotification(
    query,
    {
      mailId: mail.id,
      ordinal,
      kind: notification.kind,
      originalMessageId: report.originalMessageId ?? null,
      recipient: report.recipient ?? null,
      disposition: report.disposition ?? null,
      report: report.text,
      signerFingerprint: speakers[0]?.fingerprint ?? null,
      bound: acceptance.effect === 'apply',
      transmissionId: transmission?.id ?? null,
      ...outcome,
    },
    at,
  )
  return outcome.effect
}

async function transmissionFor(query: Query, report: RecipientReport): Promise<Transmission | undefined> {
  if (report.originalMessageId === undefined) return undefined
  const id = await transmissionIdFor(query, report.originalMessageId, report.recipient)
  return id === undefined ? undefined : lockTransmission(query, id)
}

interface Speaker {
  readonly address: string
  readonly fingerprint: string
}

/**
 * The trusted signers and whom they may speak for: each valid signer whose certificate chains to an anchor and covers the
 * recipient of the report, or for a DSN the mail server of its domain.
 */
function speakersFor(
  ports: OpenMailPorts,
  opened: OpenedMessage,
  report: RecipientReport,
  notification: Notification,
  at: Date,
): Speaker[] {
  if (report.recipient === undefined) return []
  const voices = voicesFor(notification.kind, report.recipient).flatMap((text) => {
    const reading = readDirectAddress(text)
    return reading.valid ? [reading.address] : []
  })
  const valid = opened.signers
    .filter((signer) => signer.valid && signer.certificate !== undefined)
    .map((signer) => signer.certificate!)
  const pool = opened.certificates.flatMap((der) => {
    const reading = readCertificate(der)
    return reading.readable ? [reading.certificate] : []
  })
  return voices.flatMap((voice) =>
    judgeCertificates(valid, pool, ports.anchors, voice, 'sign', at).trusted.map(({ certificate }) => ({
      address: voice.text,
      fingerprint: certificate.fingerprint,
    })),
  )
}

async function move(
  ports: OpenMailPorts,
  query: Query,
  transmission: Transmission,
  disposition: 'processed' | 'delivered' | 'failed',
  report: RecipientReport,
  at: Date,
): Promise<{ effect: Effect; because: string }> {
  const firstSentAt = transmission.firstSentAt ?? at
  const next = nextDeadline(
    {
      state: disposition === 'processed' ? 'processed' : 'delivered',
      deliveryRequested: transmission.deliveryRequested,
    },
    firstSentAt,
    ports.waits,
  )
  const { advance, after } = await recordOccurrence(
    query,
    transmission,
    { what: 'notified', disposition },
    at,
    {
      ...(disposition === 'failed'
        ? { code: 'notified-failed', because: `the recipient’s side reported: ${report.text}` }
        : {}),
      dueAt: next?.dueAt ?? null,
      detail: { report: report.text },
    },
  )
  if (advance.outcome === 'refused') return { effect: 'ignored', because: advance.because }
  if (advance.outcome === 'recorded')
    return {
      effect: advance.because,
      because:
        advance.because === 'late'
          ? `it came when the transmission was ${transmission.state}`
          : 'it was known already',
    }
  if (next !== undefined && after.state === 'processed')
    await schedule(query, [{ task: 'step', transmissionId: transmission.id, dueAt: next.dueAt }])
  await appendAudit(query, [
    {
      at,
      actor: 'engine',
      action: 'notification',
      subject: `transmission:${transmission.id}`,
      authorizationId: transmission.authorizationId,
      detail: { disposition, state: after.state },
    },
  ])
  return { effect: 'moved', because: `the transmission is ${after.state}` }
}
