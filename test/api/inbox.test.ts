import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { randomBytes, randomUUID } from 'node:crypto'
import { writeBlob } from '../../src/store/blobs.ts'
import { insertAnswer } from '../../src/store/answers.ts'
import { insertInboxMessage } from '../../src/store/inbox.ts'
import { insertMail, markMail } from '../../src/store/mail.ts'
import { inTransaction } from '../../src/store/query.ts'
import { recordOccurrence, lockTransmission } from '../../src/store/transmissions.ts'
import { anAuthorization, aTransmission, ellensPhr, minutesAfter, noon } from '../store/ellen.ts'
import { anApi } from './an-api.ts'

const ours = 'transmit@direct.ashby.example'
const content = Buffer.from('From: x@y.example\r\nSubject: =?utf-8?Q?<script>?=\r\n\r\nhello\r\n')

let api: Awaited<ReturnType<typeof anApi>>
beforeAll(async () => {
  api = await anApi()
})
afterAll(() => api.close())

/** One message in the inbox, as the pipeline keeps it. */
function kept(minute: number, isForgotten = false): Promise<string> {
  return inTransaction(api.database.dataSource, async (query) => {
    const at = minutesAfter(minute)
    const mailId = await mailed(query, minute, 'message')
    const blob = await writeBlob(query, 'inbox', [content], 1_000_000, at)
    if (isForgotten) await query('UPDATE blob SET forgotten_at = $2 WHERE id = $1', [blob.id, noon])
    const id = randomUUID()
    const about = { recipient: ours, sender: ellensPhr, messageId: `<${id}@direct.somephr.example>` }
    await insertInboxMessage(
      query,
      {
        ...about,
        id,
        mailId,
        digest: randomBytes(32),
        blobId: blob.id,
        bytes: content.length,
        signerFingerprints: ['ab12'],
        signerCertificates: [],
        carriedCertificates: [],
      },
      at,
    )
    await insertAnswer(
      query,
      {
        id: randomUUID(),
        inboxId: id,
        disposition: 'processed',
        sender: ours,
        recipient: ellensPhr,
        messageId: `<${randomUUID()}@direct.ashby.example>`,
        originalMessageId: about.messageId,
        dueAt: at,
      },
      at,
    )
    return id
  })
}

async function mailed(
  query: Parameters<typeof insertMail>[0],
  minute: number,
  state: 'message' | 'ignored',
): Promise<string> {
  const at = minutesAfter(minute)
  const id = randomUUID()
  const blob = await writeBlob(query, 'mail', [randomBytes(20)], 1000, at)
  const envelope = { envelopeFrom: ellensPhr, envelopeTo: [ours], peer: '192.0.2.1' }
  await insertMail(query, { id, ...envelope, blobId: blob.id, digest: blob.sha256 }, at)
  await markMail(query, id, state, state === 'ignored' ? 'it is not signed by anyone trusted' : null, at)
  return id
}

const audited = async (subject: string) =>
  (
    await api.database.dataSource.query<{ actor: string }[]>(
      `SELECT actor FROM audit WHERE action = 'inbox-read' AND subject = $1`,
      [subject],
    )
  ).map(({ actor }) => actor)

test('messages are listed page by page, newest first, without their content', async () => {
  const ids = [await kept(1), await kept(2), await kept(3)]
  const first = await api.ask('GET', '/api/v1/inbox?limit=2', 'operator')
  expect(first.body).toMatchObject({ items: [{ id: ids[2] }, { id: ids[1] }], next: ids[1] })
  const second = await api.ask('GET', `/api/v1/inbox?limit=2&before=${ids[1]}`, 'operator')
  expect(second.body).toMatchObject({ items: [{ id: ids[0], sender: ellensPhr, state: 'kept' }] })
  expect(JSON.stringify(first.body)).not.toMatch(/script|hello/)
})

test('one message tells what was answered; its content is given byte for byte, and who read it is audited', async () => {
  const id = await kept(4)
  const { body } = await api.ask('GET', `/api/v1/inbox/${id}`, 'operator')
  expect(body).toMatchObject({
    id,
    answers: [{ disposition: 'processed', state: 'waiting', recipient: ellensPhr }],
  })
  expect(await audited(`inbox:${id}`)).toEqual([])
  const raw = await api.ask('GET', `/api/v1/inbox/${id}/raw`, 'operator')
  expect(raw).toMatchObject({ status: 200, type: 'message/rfc822', body: { text: content.toString() } })
  expect(raw.headers.get('content-disposition')).toMatch(/^attachment/)
  expect(raw.headers.get('x-content-type-options')).toBe('nosniff')
  expect(await audited(`inbox:${id}`)).toEqual(['key:opal'])
})

test('what is past its retention is not given, and says so', async () => {
  const id = await kept(5, true)
  expect((await api.ask('GET', `/api/v1/inbox/${id}`, 'operator')).body).toMatchObject({ isForgotten: true })
  expect(await api.ask('GET', `/api/v1/inbox/${id}/raw`, 'operator')).toMatchObject({
    status: 404,
    body: { detail: expect.stringContaining('retention') },
  })
})

test('ignored mail is listed with its reason and given as it came', async () => {
  const id = await inTransaction(api.database.dataSource, (query) => mailed(query, 6, 'ignored'))
  const { body } = await api.ask('GET', '/api/v1/inbox/ignored', 'auditor')
  expect(body).toMatchObject({
    items: [{ id, because: 'it is not signed by anyone trusted', peer: '192.0.2.1' }],
  })
  expect((await api.ask('GET', `/api/v1/inbox/ignored/${id}/raw`, 'operator')).status).toBe(200)
  expect(await audited(`mail:${id}`)).toEqual(['key:opal'])
  // What is in the inbox is not given by this door.
  const [row] = await api.database.dataSource.query<{ id: string }[]>(
    `SELECT id FROM inbound_mail WHERE state = 'message' LIMIT 1`,
  )
  expect((await api.ask('GET', `/api/v1/inbox/ignored/${row!.id}/raw`, 'operator')).status).toBe(404)
})

test('a failed transmission has three facts, a notice, and the notice as a document', async () => {
  const { id: authorizationId } = await anAuthorization(api.database.dataSource)
  const id = await aTransmission(api.database.dataSource, authorizationId)
  expect((await api.ask('GET', `/api/v1/transmissions/${id}/notice`, 'provider')).status).toBe(404)
  await inTransaction(api.database.dataSource, async (query) =>
    recordOccurrence(
      query,
      (await lockTransmission(query, id))!,
      { what: 'attempt-failed', code: 'recipient-no-certificate', willRetry: false },
      noon,
      { code: 'recipient-no-certificate', because: 'no certificate is published' },
    ),
  )
  const { body } = await api.ask('GET', `/api/v1/transmissions/${id}`, 'provider')
  expect(body).toMatchObject({
    threeFacts: { acceptedByNextHop: { is: 'no' }, processedByHisp: { is: 'no' }, delivered: { is: 'no' } },
    notices: [{ status: '5.7.31', recipient: ellensPhr, because: 'no certificate is published' }],
    explanation: expect.arrayContaining(['The failure notice to the sender’s side says 5.7.31.']),
  })
  const notice = await api.ask('GET', `/api/v1/transmissions/${id}/notice`, 'provider')
  expect(notice.type).toContain('message/rfc822')
  expect(notice.body['text']).toMatch(/Final-Recipient: rfc822; ellen\.ross[^]*Status: 5\.7\.31/)
})
