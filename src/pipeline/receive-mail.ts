import { randomUUID } from 'node:crypto'
import type { DataSource } from 'typeorm'
import { schedule } from '../jobs/schedule.ts'
import type { IncomingMail } from '../tracking/inbound-listener.ts'
import { writeBlob } from '../store/blobs.ts'
import { insertMail } from '../store/mail.ts'
import { inTransaction } from '../store/query.ts'

export interface ReceiveMailPorts {
  readonly dataSource: DataSource
  readonly messageBytesMax: number
  readonly now: () => Date
}

/** Inbound Direct mail is stored with the job that will open it; the listener says 250 when this has committed. */
export async function receiveMail(ports: ReceiveMailPorts, mail: IncomingMail): Promise<void> {
  try {
    await inTransaction(ports.dataSource, async (query) => {
      const at = ports.now()
      const id = randomUUID()
      const blob = await writeBlob(query, 'mail', mail.chunks, ports.messageBytesMax, at)
      const isNew = await insertMail(query, { ...mail, id, blobId: blob.id, digest: blob.sha256 }, at)
      // A peer that lost our 250 sends the same bytes again: nothing of the second copy stays.
      if (!isNew) throw new AlreadyStored()
      await schedule(query, [{ task: 'open-mail', mailId: id, dueAt: at }])
    })
  } catch (error) {
    if (!(error instanceof AlreadyStored)) throw error
  }
}

class AlreadyStored extends Error {}
