import type { Authorization } from '../domain/authorization.ts'
import { Failed } from '../domain/failure.ts'
import { lastSentTo, type StoredDocument } from '../store/documents.ts'
import { companionsOf, recordOccurrence, type Transmission } from '../store/transmissions.ts'
import { inTransaction, queryOf } from '../store/query.ts'
import { attemptFailed } from './attempt-failed.ts'
import { judgeAgain, lockJudged } from './judge-again.ts'
import { compareVersions } from '../documents/versions.ts'
import { obtainDocuments, type DocumentPorts } from './obtain-document.ts'
import { trustedRecipients, type RecipientPorts, type Recipients } from './recipients.ts'
import { sealMessage, type SealPorts } from './seal-message.ts'

export interface PreparePorts extends DocumentPorts, RecipientPorts, SealPorts {
  /**
   * `single`: a message for each recipient, so that none learns of the others. `shared`: what one event sends to several
   * destinations of one authorization goes in one envelope; a recipient without a trusted certificate is left out of it.
   */
  readonly envelope: 'single' | 'shared'
  readonly jitter: () => number
}

/**
 * waiting → sealed: the documents are fetched and pass the gate, new to the destination, the recipient’s certificates are found and trusted, the
 * message is built, signed and encrypted, and its bytes are stored. Whatever goes wrong is written down with its reason.
 */
export async function prepare(ports: PreparePorts, transmissionId: string): Promise<void> {
  const first = await start(ports, transmissionId)
  if (first === undefined) return
  const party = [first, ...(ports.envelope === 'shared' ? await startCompanions(ports, first) : [])]
  const { authorization } = first
  await noteFailure(ports, party, async () => {
    const documents = await obtainDocuments(ports, first.transmission, authorization)
    const ready = await withRecipients(ports, await forWhomTheyAreNew(ports, party, documents))
    if (ready.length === 0) return
    const destinations = party.map(({ transmission }) => transmission.destination)
    await noteFailure(ports, ready, () => sealMessage(ports, ready, authorization, documents, destinations))
  })
}

interface Started {
  readonly transmission: Transmission
  readonly authorization: Authorization
}

/** The authorization is judged before anything is asked of anybody: a revoked one fetches no document. */
function start(ports: PreparePorts, transmissionId: string): Promise<Started | undefined> {
  return inTransaction(ports.dataSource, async (query) => {
    const at = ports.now()
    const locked = await lockJudged(query, transmissionId)
    if (locked === undefined) return undefined
    if (!(await judgeAgain(query, locked, at))) return undefined
    const { transmission, authorization } = locked
    const { advance, after } = await recordOccurrence(query, transmission, { what: 'preparing' }, at, {
      dueAt: at,
      attempts: transmission.attempts + 1,
      firstAttemptAt: transmission.firstAttemptAt ?? at,
    })
    return advance.outcome === 'moved' ? { transmission: after, authorization } : undefined
  })
}

async function startCompanions(ports: PreparePorts, { transmission }: Started): Promise<Started[]> {
  const started: Started[] = []
  // One message has one content cipher: whose HISP agreed to another one gets a message of its own.
  const { content } = ports.algorithmsFor(transmission.destination)
  for (const { id, destination } of await companionsOf(
    queryOf(ports.dataSource),
    transmission,
    ports.now(),
  )) {
    if (ports.algorithmsFor(destination).content !== content) continue
    const companion = await start(ports, id)
    if (companion !== undefined) started.push(companion)
  }
  return started
}

/**
 * Nobody gets the same twice, or something older than she has; who asked for a push just now gets what there is.
 */
async function forWhomTheyAreNew(
  ports: PreparePorts,
  party: readonly Started[],
  documents: readonly StoredDocument[],
): Promise<Started[]> {
  const ready: Started[] = []
  for (const member of party)
    await noteFailure(ports, [member], async () => {
      await checkNewness(ports, member, documents)
      ready.push(member)
    })
  return ready
}

async function checkNewness(
  { dataSource }: PreparePorts,
  { transmission: { cause, authorizationId, destination } }: Started,
  documents: readonly StoredDocument[],
): Promise<void> {
  if (cause === 'request') return
  const last = await lastSentTo(queryOf(dataSource), authorizationId, destination)
  const [summary] = documents
  const [lastSummary] = last?.documents ?? []
  if (last === undefined || lastSummary === undefined) return
  const sent = `transmission ${last.transmissionId} of ${last.sentAt.toISOString()}`
  if (documents.every(({ sha256 }) => last.documents.some((one) => one.sha256 === sha256)))
    throw new Failed('document-unchanged', `the document is, byte by byte, that of ${sent}`)
  const version = compareVersions(summary!, lastSummary)
  // Two events at once: what was sent meanwhile is newer, and so says all that this one would.
  if (version.verdict === 'older' && summary!.fetchedAt < last.sentAt)
    throw new Failed('document-unchanged', `a newer document went there meanwhile: that of ${sent}`)
  if (version.verdict === 'older')
    throw new Failed('document-refused', `the document is older than that of ${sent}: ${version.because}`)
}

/** Asked for all at once; who has no trusted certificate fails alone and holds up nobody else. */
async function withRecipients(
  ports: PreparePorts,
  party: readonly Started[],
): Promise<(Started & { readonly recipients: Recipients })[]> {
  const ready = await Promise.all(
    party.map(async (member) => {
      let recipients: Recipients | undefined
      await noteFailure(ports, [member], async () => {
        recipients = await trustedRecipients(ports, member.transmission.destination, ports.now())
      })
      return recipients === undefined ? [] : [{ ...member, recipients }]
    }),
  )
  return ready.flat()
}

/** What goes wrong with work for several is written down for each of them. */
async function noteFailure(
  ports: PreparePorts,
  members: readonly Started[],
  work: () => Promise<void>,
): Promise<void> {
  try {
    await work()
  } catch (error) {
    if (!(error instanceof Failed)) throw error
    for (const { transmission } of members)
      await attemptFailed(ports, transmission.id, error, ports.documents.retry)
  }
}
