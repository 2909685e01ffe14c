import { randomUUID } from 'node:crypto'
import { openMail, type OpenMailPorts } from '../../src/pipeline/open-mail.ts'
import { receiveMail } from '../../src/pipeline/receive-mail.ts'
import { fileKeyHolder } from '../../src/seal/own-key.ts'
import { queryOf } from '../../src/store/query.ts'
import { fixedAnchors } from '../../src/trust/anchors.ts'
import { readCertificate } from '../../src/trust/certificate.ts'
import { anyCms, type KeyPair } from '../neighbours/cms.ts'
import { mailDate, seal } from '../neighbours/direct-message.ts'
import { issueFor, makeRoot, type Authority, type Issued } from '../pki/pki.ts'
import { freshDatabase } from '../support/database.ts'

export const ours = 'transmit@direct.ashby.example'
export const ellensPhr = 'ellen.ross@direct.somephr.example'

export const pairOf = (issued: Issued): KeyPair => ({
  certificate: issued.certificatePem,
  privateKey: issued.privateKeyPem,
})

function certificateOf(issued: Issued | Authority) {
  const reading = readCertificate(issued.certificate)
  if (!reading.readable) throw new Error(reading.because)
  return reading.certificate
}

export interface LetterWishes {
  readonly from?: string
  readonly to?: string
  readonly messageId?: string
  /** Further header fields. */
  readonly fields?: readonly string[]
  readonly text?: string
}

/** A message of a person, as it is before sealing. */
export function letter({ from, to, messageId, fields = [], text = 'Good morning.' }: LetterWishes = {}): {
  readonly messageId: string
  readonly bytes: Buffer
} {
  const id = messageId ?? `<${randomUUID()}@direct.somephr.example>`
  const lines = [
    `From: ${from ?? ellensPhr}`,
    `To: ${to ?? ours}`,
    'Subject: A question',
    `Date: ${mailDate(new Date())}`,
    `Message-ID: ${id}`,
    ...fields,
    'MIME-Version: 1.0',
    'Content-Type: text/plain; charset=us-ascii',
    '',
    text,
    '',
  ]
  return { messageId: id, bytes: Buffer.from(lines.join('\r\n')) }
}

/** Our mailbox over a database of its own; what is sealed for it is sealed by software that is not ours. */
export async function aMailbox() {
  const database = await freshDatabase()
  const root = makeRoot({ name: 'Mailbox Root' })
  const own = issueFor(root, 'direct.ashby.example')
  const ellen = issueFor(root, ellensPhr)
  const cms = anyCms()
  const query = queryOf(database.dataSource)
  const ports: OpenMailPorts = {
    dataSource: database.dataSource,
    keys: () => [{ certificate: own.certificate, key: fileKeyHolder(own.privateKey) }],
    trust: { anchors: fixedAnchors([certificateOf(root)]) },
    localDomain: 'direct.ashby.example',
    ourAddresses: [ours],
    waits: { processedWithinMs: 3_600_000, deliveredWithinMs: 3_600_000 },
    isOwnRelay: (peer) => peer === '192.0.2.25',
    inbox: 'keep',
    onNotification: () => {},
    now: () => new Date(),
  }

  /** Stored as the listener stores it. */
  async function receives(
    raw: Buffer,
    envelope: { readonly from?: string; readonly to?: readonly string[]; readonly peer?: string } = {},
  ): Promise<string> {
    await receiveMail(
      { dataSource: database.dataSource, messageBytesMax: 10_000_000, now: () => new Date() },
      {
        envelopeFrom: envelope.from ?? ellensPhr,
        envelopeTo: envelope.to ?? [ours],
        peer: envelope.peer ?? '127.0.0.1',
        chunks: (async function* () {
          yield raw
        })(),
      },
    )
    const [row] = await query<{ id: string }>(
      'SELECT id FROM inbound_mail ORDER BY received_at DESC, id LIMIT 1',
    )
    return row!.id
  }

  return {
    database,
    query,
    root,
    own,
    ellen,
    cms,
    ports,
    receives,
    sealed: (bytes: Buffer, signer: Issued | undefined = ellen) =>
      seal(bytes, cms, signer === undefined ? undefined : pairOf(signer), [own.certificatePem]),
    /** Received and opened; what was made of it. */
    async takes(
      raw: Buffer,
      envelope: Parameters<typeof receives>[1] = {},
      changes: Partial<OpenMailPorts> = {},
    ) {
      const id = await receives(raw, envelope)
      await openMail({ ...ports, ...changes }, id)
      const [row] = await query<{ state: string; because: string | null }>(
        'SELECT state, because FROM inbound_mail WHERE id = $1',
        [id],
      )
      return { id, ...row! }
    },
    /** What is owed, about the message with this Message-ID. */
    answers: (messageId: string) =>
      query<{ disposition: string; recipient: string; state: string; inbox_id: string; id: string }>(
        `SELECT disposition, recipient, state, inbox_id, id FROM answer WHERE original_message_id = $1
         ORDER BY disposition = 'processed' DESC`,
        [messageId],
      ),
    inbox: (messageId: string) =>
      query<{ id: string; state: string; blob_id: string | null; sender: string }>(
        'SELECT id, state, blob_id, sender FROM inbox_message WHERE message_id = $1',
        [messageId],
      ),
  }
}
