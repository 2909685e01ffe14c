import type { DataSource } from 'typeorm'
import { schedule } from '../jobs/schedule.ts'
import { open, type OwnKey } from '../seal/open.ts'
import { readBlob } from '../store/blobs.ts'
import { lockMail, markMail, putOffMail, readMail, type InboundMail } from '../store/mail.ts'
import { inTransaction, queryOf, type Query } from '../store/query.ts'
import { readNotification } from '../tracking/read-notification.ts'
import { judgeMessage, keepMessage, type TakeMessagePorts } from './take-message.ts'
import {
  judgeReports,
  takeReport,
  type NotificationEffect,
  type TakeNotificationPorts,
} from './take-notification.ts'

export interface OpenMailPorts extends TakeNotificationPorts, TakeMessagePorts {
  readonly dataSource: DataSource
  /** Every key of ours that may decrypt now. */
  readonly keys: () => readonly OwnKey[]
  readonly onNotification: (effect: NotificationEffect) => void
  readonly now: () => Date
}

/**
 * A stored inbound message is decrypted, verified and read. A notification moves the transmission it speaks of; a message
 * of somebody trusted goes to the inbox and is answered. Whatever is refused is written down here, kept as it came, and
 * answered by silence: nobody learns from us why.
 */
export async function openMail(ports: OpenMailPorts, mailId: string): Promise<void> {
  const query = queryOf(ports.dataSource)
  const mail = await readMail(query, mailId)
  if (mail?.state !== 'received') return
  const chunks: Buffer[] = []
  for await (const chunk of readBlob(query, mail.blobId)) chunks.push(chunk)
  const raw = Buffer.concat(chunks)
  const opened = await open(raw, { keys: ports.keys() })
  const notification = await readNotification(opened.opened ? opened.message : raw)
  if (notification !== undefined) {
    const reports = await judgeReports(ports, opened.opened ? opened : undefined, notification, ports.now())
    if (reports.some(({ undecided }) => undecided !== undefined) && (await isPutOff(ports, mail))) return
    const isInClear = !opened.opened && opened.refusal === 'not-encrypted'
    const effects: NotificationEffect[] = []
    await onceOpened(ports, mailId, async (tx, locked, at) => {
      for (const [ordinal, report] of reports.entries())
        effects.push(
          await takeReport(ports, tx, locked, { kind: notification.kind, isInClear }, report, ordinal, at),
        )
      return { state: 'notification', because: opened.opened ? null : opened.because }
    })
    for (const effect of effects) ports.onNotification(effect)
    return
  }
  const judged = opened.opened
    ? await judgeMessage(ports, opened, mail, ports.now())
    : ({ trusted: false, because: opened.because, isUndecided: false } as const)
  if (!judged.trusted && judged.isUndecided === true && (await isPutOff(ports, mail))) return
  await onceOpened(ports, mailId, async (tx, locked, at) =>
    judged.trusted
      ? { state: 'message', because: await keepMessage(ports, tx, locked, judged, at) }
      : { state: 'ignored', because: judged.because },
  )
}

/** How long a mail waits for whoever says whether its signer is revoked, and how often it asks. */
const undecidedMsMax = 24 * 3_600_000
const askAgainMs = 60_000

/**
 * Silence is for good, so nobody is silenced because a list of revoked certificates could not be had for an hour: such a
 * mail is opened again later.
 *
 * @returns false where it has waited long enough
 */
function isPutOff(ports: OpenMailPorts, { id, receivedAt }: InboundMail): Promise<boolean> {
  return inTransaction(ports.dataSource, async (tx) => {
    const at = ports.now()
    if (at.getTime() - receivedAt.getTime() >= undecidedMsMax) return false
    const dueAt = new Date(at.getTime() + askAgainMs)
    await putOffMail(tx, id, dueAt)
    await schedule(tx, [{ task: 'open-mail', mailId: id, dueAt }])
    return true
  })
}

/** What a mail is found to be, written down together with everything that follows from it; once, whoever comes second. */
function onceOpened(
  ports: OpenMailPorts,
  mailId: string,
  work: (
    query: Query,
    mail: InboundMail,
    at: Date,
  ) => Promise<{ state: 'notification' | 'message' | 'ignored'; because: string | null }>,
): Promise<void> {
  return inTransaction(ports.dataSource, async (tx) => {
    const at = ports.now()
    const mail = await lockMail(tx, mailId)
    if (mail?.state !== 'received') return
    const { state, because } = await work(tx, mail, at)
    await markMail(tx, mailId, state, because, at)
  })
}
