import { randomUUID } from 'node:crypto'
import { schedule } from '../jobs/schedule.ts'
import { appendAudit } from '../store/audit.ts'
import {
  insertRelease,
  lockRelease,
  recordBatch,
  releaseOf,
  reopenBatch,
  type QuarantineRelease,
} from '../store/quarantine-releases.ts'
import { newestIn, readQuarantine } from '../store/quarantine.ts'
import { inTransaction } from '../store/query.ts'
import type { OperatePorts } from './operate.ts'

/** Messages of one batch: the transaction stays short, and those who decide are not kept from their work for long. */
const batchRowsMax = 500

/**
 * Asks for the release of a whole group: every message that waits in it now goes back to be decided again, by the channel
 * and the authorizations as they are then. A job does it, batch by batch, whoever dies meanwhile; one that is under way
 * already is the answer, too.
 *
 * @returns undefined where nothing waits in such a group
 */
export function askForRelease(
  { dataSource, now }: OperatePorts,
  groupId: string,
  because: string | undefined,
  actor: string,
): Promise<QuarantineRelease | undefined> {
  return inTransaction(dataSource, async (query) => {
    const group = await readQuarantine(query, groupId)
    const { channel, cause } = group ?? {}
    if (group !== undefined && channel !== undefined && cause !== undefined) {
      const at = now()
      const release = {
        ...{ id: randomUUID(), groupId, channel, cause, actor, startedAt: at },
        untilId: await newestIn(query, { channel, cause }),
        wanted: group.count,
        because: because ?? null,
      }
      if (await insertRelease(query, release))
        await schedule(query, [{ task: 'release-quarantine', releaseId: release.id, dueAt: at }])
    }
    const release = await releaseOf(query, groupId)
    return release?.endedAt === null ? release : undefined
  })
}

/**
 * Takes a release one batch further. The batch, the progress and, at the end, the line of the audit are one transaction:
 * no message is released twice, and who comes later goes on where it stopped.
 *
 * @returns how it stands now; undefined where there is no such release
 */
export function continueRelease(
  { dataSource, now }: OperatePorts,
  releaseId: string,
): Promise<QuarantineRelease | undefined> {
  return inTransaction(dataSource, async (query) => {
    const release = await lockRelease(query, releaseId)
    if (release === undefined || release.endedAt !== null) return release
    const batch = await reopenBatch(query, release, batchRowsMax)
    const isOver = batch.released + batch.withoutContent < batchRowsMax
    const at = now()
    const after = await recordBatch(query, releaseId, batch, isOver ? at : null)
    if (isOver)
      await appendAudit(query, [
        {
          at,
          actor: after.actor,
          action: 'quarantine-released',
          subject: `quarantine:${after.groupId}`,
          detail: {
            channel: after.channel,
            cause: after.cause,
            released: after.released,
            withoutContent: after.withoutContent,
            because: after.because,
          },
        },
      ])
    return after
  })
}

/** Takes a release to its end. @param onProgress after each batch */
export async function finishRelease(
  ports: OperatePorts,
  releaseId: string,
  onProgress: (release: QuarantineRelease) => void = () => {},
): Promise<QuarantineRelease | undefined> {
  for (;;) {
    const release = await continueRelease(ports, releaseId)
    if (release !== undefined) onProgress(release)
    if (release === undefined || release.endedAt !== null) return release
  }
}
