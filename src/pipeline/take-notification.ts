import type { Notification, RecipientReport } from '../domain/notification.ts'
import { schedule } from '../jobs/schedule.ts'
import type { OpenedMessage } from '../seal/open.ts'
import { appendAudit } from '../store/audit.ts'
import { insertNotification, transmissionIdFor, type InboundMail } from '../store/mail.ts'
import type { Query } from '../store/query.ts'
import { lockTransmission, recordOccurrence, type Transmission } from '../store/transmissions.ts'
import { acceptNotification, voicesFor, type Acceptance } from '../tracking/accept-notification.ts'
import { nextDeadline, type NotificationWaits } from '../tracking/deadlines.ts'
import { speakersOf, type Speaker, type SpeakerPorts } from './speakers.ts'

export interface TakeNotificationPorts extends SpeakerPorts {
  readonly ourAddresses: readonly string[]
  readonly waits: NotificationWaits
  /** Whether mail from this peer came from a relay of our own (tracking.relays). */
  readonly isOwnRelay: (peer: string) => boolean
}

export type NotificationEffect = 'moved' | 'late' | 'already-known' | 'ignored'

/** One report of a notification with those who are trusted to have signed it. */
export interface JudgedReport {
  readonly report: RecipientReport
  readonly speakers: readonly Speaker[]
  /** Why trust in its signer could not be decided now. */
  readonly undecided?: string
}

/** Trust is judged before anything is locked: it may ask other machines. */
export async function judgeReports(
  ports: TakeNotificationPorts,
  opened: OpenedMessage | undefined,
  notification: Notification,
  at: Date,
): Promise<JudgedReport[]> {
  const judged: JudgedReport[] = []
  for (const report of notification.reports) {
    const voices = report.recipient === undefined ? [] : voicesFor(notification.kind, report.recipient)
    const { trusted, ...open } =
      opened === undefined ? { trusted: [] } : await speakersOf(ports, opened, voices, at)
    judged.push({ report, speakers: trusted, ...open })
  }
  return judged
}

/** Stores what one report says, and moves the transmission that it speaks of where it may. */
export async function takeReport(
  ports: TakeNotificationPorts,
  query: Query,
  mail: InboundMail,
  { kind, isInClear }: { readonly kind: Notification['kind']; readonly isInClear: boolean },
  { report, speakers }: JudgedReport,
  ordinal: number,
  at: Date,
): Promise<NotificationEffect> {
  const transmission = await transmissionFor(query, report)
  const acceptance = acceptNotification(report, {
    kind,
    signers: speakers.map(({ name }) => name),
    envelopeFrom: mail.envelopeFrom,
    isFromOwnRelay: isInClear && ports.isOwnRelay(mail.peer),
    ourAddresses: ports.ourAddresses,
    ...(transmission?.messageId === undefined
      ? {}
      : {
          transmission: {
            messageId: transmission.messageId,
            destination: transmission.destination,
            isAwaitingNextHop:
              transmission.state === 'submitted' ||
              (transmission.state === 'sealed' && (transmission.onWire || transmission.ambiguous)),
          },
        }),
  })
  const outcome =
    acceptance.effect === 'apply' && transmission !== undefined
      ? await move(ports, query, transmission, acceptance, report, at)
      : {
          effect: 'ignored' as const,
          because: acceptance.effect === 'ignore' ? acceptance.because : 'no such transmission',
        }
  await insertNotification(
    query,
    {
      mailId: mail.id,
      ordinal,
      kind,
      originalMessageId: report.originalMessageId ?? null,
      recipient: report.recipient ?? null,
      disposition: report.disposition ?? null,
      report: report.text,
      signerFingerprint: speakers[0]?.certificate.fingerprint ?? null,
      bound: acceptance.effect === 'apply' && acceptance.voice === 'signer',
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

async function move(
  ports: TakeNotificationPorts,
  query: Query,
  transmission: Transmission,
  { disposition, voice }: Acceptance & { effect: 'apply' },
  report: RecipientReport,
  at: Date,
): Promise<{ effect: NotificationEffect; because: string }> {
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
      ...(disposition === 'failed' ? failureSaid(voice, report) : {}),
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
      detail: { disposition, voice, state: after.state },
    },
  ])
  return { effect: 'moved', because: `the transmission is ${after.state}` }
}

function failureSaid(voice: 'signer' | 'relay', report: RecipientReport): { code: string; because: string } {
  return voice === 'signer'
    ? { code: 'notified-failed', because: `the recipient’s side reported: ${report.text}` }
    : { code: 'relay-returned', because: `a relay of ours gave it back: ${report.text}` }
}
