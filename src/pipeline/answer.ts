import type { DataSource } from 'typeorm'
import { readDirectAddress } from '../domain/direct-address.ts'
import { Failed, failureOf, nextAttemptAt, type RetryPlan } from '../domain/failure.ts'
import type { Edge, RecipientSubmission } from '../edge/edge.ts'
import { schedule } from '../jobs/schedule.ts'
import type { Signer } from '../seal/seal.ts'
import { sealMessage } from '../seal/sealing.ts'
import { changeAnswer, lockAnswer, nextAnswers, readAnswer, type Answer } from '../store/answers.ts'
import { appendAudit } from '../store/audit.ts'
import { readBlob, writeBlob } from '../store/blobs.ts'
import { certificatesOf } from '../store/inbox.ts'
import { inTransaction, queryOf, type Query } from '../store/query.ts'
import { withStepLock } from '../store/step-lock.ts'
import { writeMdn } from '../tracking/write-mdn.ts'
import { readCertificate, type Certificate } from '../trust/certificate.ts'
import { judgeCertificates } from '../trust/judge-certificates.ts'
import { trustedRecipients, type RecipientPorts } from './recipients.ts'
import type { AlgorithmsFor } from './seal-message.ts'
import { failureFrom } from './send.ts'

export interface AnswerPorts extends RecipientPorts {
  readonly dataSource: DataSource
  readonly edge: Edge
  /** Those that sign at that moment. */
  readonly signers: (at: Date) => readonly Signer[]
  /** What was agreed with the HISP of an address. */
  readonly algorithmsFor: AlgorithmsFor
  readonly retry: RetryPlan
  readonly now: () => Date
  readonly jitter: () => number
}

/** An MDN and what sealing adds to it: a few kilobytes per certificate. */
const answerBytesMax = 1024 * 1024

/**
 * Takes an answer to an inbound message one step further: waiting → sealed → sent. As with transmissions, the bytes are
 * stored before the first of them leaves, every attempt sends the same ones, and running it twice is harmless.
 */
export async function answer(ports: AnswerPorts, answerId: string): Promise<void> {
  const isMine = await withStepLock(ports.dataSource, answerId, async () => {
    const owed = await readAnswer(queryOf(ports.dataSource), answerId)
    if (owed?.state === 'waiting' && owed.dueAt !== null) await sealAnswer(ports, owed)
    if (owed?.state === 'sealed') await sendAnswer(ports, owed)
  })
  if (isMine) return
  const dueAt = new Date(ports.now().getTime() + lookAgainMs)
  await schedule(queryOf(ports.dataSource), [{ task: 'answer', answerId, dueAt }])
}

const lookAgainMs = 1000

async function sealAnswer(ports: AnswerPorts, owed: Answer): Promise<void> {
  try {
    const date = ports.now()
    const signers = ports.signers(date)
    if (signers.length === 0)
      throw new Failed(
        'signing-key-missing',
        `no signing certificate and key are configured for ${owed.sender}`,
      )
    const certificates = await certificatesFor(ports, owed)
    const { sender, recipient, messageId, disposition, originalMessageId } = owed
    const message = writeMdn({
      from: sender,
      to: recipient,
      disposition,
      messageId,
      date,
      ...(originalMessageId === null ? {} : { originalMessageId }),
    })
    const sealed = await sealMessage(
      message,
      {
        from: sender,
        to: [recipient],
        messageId,
        date,
        recipients: certificates.map(({ der }) => der),
        algorithms: ports.algorithmsFor(recipient),
      },
      signers,
    )
    await inTransaction(ports.dataSource, async (query) => {
      const at = ports.now()
      if ((await lockAnswer(query, owed.id))?.state !== 'waiting') return
      const blob = await writeBlob(query, 'sealed', [sealed], answerBytesMax, at)
      const change = { blobId: blob.id, attempts: 0, firstAttemptAt: null, code: null, because: null }
      await changeAnswer(query, owed.id, { state: 'sealed', ...change, dueAt: at }, at)
      await schedule(query, [{ task: 'answer', answerId: owed.id, dueAt: at }])
    })
  } catch (error) {
    if (!(error instanceof Failed)) throw error
    await inTransaction(ports.dataSource, async (query) => {
      const locked = await lockAnswer(query, owed.id)
      if (locked?.state !== 'waiting') return
      const at = ports.now()
      const counted = {
        ...locked,
        attempts: locked.attempts + 1,
        firstAttemptAt: locked.firstAttemptAt ?? at,
      }
      await recordFailure(ports, query, counted, error, at)
    })
  }
}

/**
 * As for any recipient: found, then judged. A sender that publishes nothing is answered under the certificates it signed
 * with, where they are trusted to encrypt to, too: they are bound to its address as much as published ones.
 */
async function certificatesFor(ports: AnswerPorts, owed: Answer): Promise<readonly Certificate[]> {
  const at = ports.now()
  try {
    return (await trustedRecipients(ports, owed.recipient, at)).certificates
  } catch (error) {
    if (!(error instanceof Failed) || error.code !== 'recipient-no-certificate') throw error
    const reading = readDirectAddress(owed.recipient)
    if (!reading.valid) throw error
    const { signers, carried } = await certificatesOf(queryOf(ports.dataSource), owed.inboxId)
    const pool = carried.flatMap((der) => {
      const one = readCertificate(der)
      return one.readable ? [one.certificate] : []
    })
    const judged = await judgeCertificates(signers, pool, ports.trust, {
      address: reading.address,
      localDomain: ports.localDomain,
      direction: 'outgoing',
      purpose: 'encrypt',
      at,
    })
    if (judged.trusted.length === 0) throw error
    return judged.trusted.map(({ certificate }) => certificate)
  }
}

async function sendAnswer(ports: AnswerPorts, { id }: Answer): Promise<void> {
  const owed = await settle(ports, id)
  const query = queryOf(ports.dataSource)
  if (owed === undefined || owed.blobId === null) return
  const { blobId } = owed
  const [blob] = await query<{ bytes: number }>('SELECT bytes::float8 AS bytes FROM blob WHERE id = $1', [
    blobId,
  ])
  const submission = await ports.edge.submit({
    envelope: { from: owed.sender, to: [owed.recipient] },
    bytes: blob!.bytes,
    open: () => readBlob(query, blobId),
    beforeData: () =>
      inTransaction(ports.dataSource, async (tx) => {
        const at = ports.now()
        const locked = await lockAnswer(tx, id)
        if (locked?.state !== 'sealed' || locked.onWire)
          return { permitted: false, because: `the answer is ${locked?.state ?? 'gone'}` }
        const counted = { attempts: locked.attempts + 1, firstAttemptAt: locked.firstAttemptAt ?? at }
        await changeAnswer(tx, id, { onWire: true, ...counted }, at)
        return { permitted: true }
      }),
  })
  await settleSubmission(ports, id, submission.recipients[0]!)
}

/** A hand-over that a crash cut short may have arrived; the same bytes follow. */
function settle(ports: AnswerPorts, id: string): Promise<Answer | undefined> {
  return inTransaction(ports.dataSource, async (query) => {
    const owed = await lockAnswer(query, id)
    if (owed?.state !== 'sealed') return undefined
    if (owed.onWire) await changeAnswer(query, id, { onWire: false, ambiguous: true }, ports.now())
    return owed
  })
}

function settleSubmission(ports: AnswerPorts, id: string, result: RecipientSubmission): Promise<void> {
  return inTransaction(ports.dataSource, async (query) => {
    const at = ports.now()
    const owed = await lockAnswer(query, id)
    if (owed?.state !== 'sealed') return
    if (result.outcome === 'stopped') {
      if (owed.onWire)
        await recordFailure(ports, query, owed, new Failed('edge-unreachable', result.because), at)
      return
    }
    if (result.outcome !== 'accepted') {
      // Attempts are counted at the hand-over; those that never came so far count here.
      const counted = owed.onWire
        ? owed
        : { ...owed, attempts: owed.attempts + 1, firstAttemptAt: owed.firstAttemptAt ?? at }
      return recordFailure(ports, query, counted, failureFrom(result), at)
    }
    await end(query, owed, 'sent', { code: null, because: `accepted by ${result.nextHop}` }, at)
  })
}

/** Tried again as the failure table says; what needs a person is tried again, too, until the deadline: a key may come. */
async function recordFailure(
  ports: AnswerPorts,
  query: Query,
  owed: Answer,
  failed: Failed,
  at: Date,
): Promise<void> {
  const { code, because } = failed
  const dueAt =
    failureOf(code).class === 'permanent'
      ? undefined
      : nextAttemptAt(ports.retry, Math.max(1, owed.attempts), owed.firstAttemptAt ?? at, at, ports.jitter())
  if (dueAt === undefined) return end(query, owed, 'failed', { code, because }, at)
  const ambiguous = owed.ambiguous || failureOf(code).class === 'ambiguous'
  const counted = { attempts: owed.attempts, firstAttemptAt: owed.firstAttemptAt ?? at }
  await changeAnswer(query, owed.id, { ...counted, ambiguous, onWire: false, code, because, dueAt }, at)
  await schedule(query, [{ task: 'answer', answerId: owed.id, dueAt }])
}

/** Whatever came of it, the answer after it may go now. */
async function end(
  query: Query,
  owed: Answer,
  state: 'sent' | 'failed',
  why: { code: string | null; because: string },
  at: Date,
): Promise<void> {
  await changeAnswer(query, owed.id, { state, onWire: false, dueAt: null, ...why }, at)
  const next = await nextAnswers(query, owed.inboxId, at)
  await schedule(
    query,
    next.map((answerId) => ({ task: 'answer', answerId, dueAt: at })),
  )
  await appendAudit(query, [
    {
      at,
      actor: 'engine',
      action: 'inbox-answered',
      subject: `inbox:${owed.inboxId}`,
      detail: { disposition: owed.disposition, to: owed.recipient, messageId: owed.messageId, state, ...why },
    },
  ])
}
