import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals'
import { makeSmtpEdge } from '../../src/edge/smtp-edge.ts'
import { answer, type AnswerPorts } from '../../src/pipeline/answer.ts'
import { scriptedSmtp, type Script } from '../edge/scripted-smtp.ts'
import { open } from '../neighbours/direct-message.ts'
import { issueFor, makeRoot, type Issued } from '../pki/pki.ts'
import { aMailbox, ellensPhr, letter, ours, pairOf } from './a-mailbox.ts'

const option = 'Disposition-Notification-Options: X-DIRECT-FINAL-DESTINATION-DELIVERY=optional,true'
const hourMs = 3_600_000

let box: Awaited<ReturnType<typeof aMailbox>>
beforeAll(async () => {
  box = await aMailbox()
})
afterAll(() => box.database.close())

const closing: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

type Published = readonly Issued[] | 'dns is silent'

/** Ellen’s mail server, and what is published for her. */
async function aHisp(published: Published, script: Script = {}) {
  const server = await scriptedSmtp(script)
  const routes = [{ domain: '*', url: `smtp://127.0.0.1:${server.port}`, starttls: 'none' as const }]
  const edge = makeSmtpEdge({ type: 'sta', name: 'direct.ashby.example', routes })
  closing.push(
    () => server.close(),
    () => edge.close(),
  )
  const from = { ttlSeconds: 60, server: '127.0.0.1' }
  const ports: AnswerPorts = {
    dataSource: box.database.dataSource,
    edge,
    discovery: {
      resolveCert: async () => {
        if (published === 'dns is silent') return { outcome: 'failed', because: 'no answer' }
        if (published.length === 0) return { outcome: 'absent', kind: 'nxdomain', ...from }
        const records = published.map(({ certificate }) => ({
          type: 1,
          keyTag: 0,
          algorithm: 0,
          data: certificate,
        }))
        return { outcome: 'answer', records, via: 'udp', ...from }
      },
    },
    trust: box.ports.trust,
    localDomain: 'direct.ashby.example',
    signers: () => [box.own],
    algorithmsFor: () => ({ content: 'aes-256-cbc', keyTransport: 'pkcs1' }),
    retry: { firstDelayMs: 1000, factor: 2, delayMsMax: 60_000, deadlineMs: 48 * hourMs },
    now: () => new Date(),
    jitter: () => 0,
  }
  return { server, ports }
}

/** Ellen writes and wants to know of delivery: two answers are owed. */
async function owed() {
  const { messageId, bytes } = letter({ fields: [option] })
  await box.takes(await box.sealed(bytes))
  const [processed, dispatched] = await box.answers(messageId)
  return {
    messageId,
    processed: processed!.id,
    dispatched: dispatched!.id,
    states: async () => (await box.answers(messageId)).map(({ state }) => state),
  }
}

async function standing(id: string) {
  const [row] = await box.query<{
    state: string
    code: string | null
    due_at: Date | null
    attempts: number
  }>('SELECT state, code, due_at, attempts FROM answer WHERE id = $1', [id])
  return row!
}

const read = (mail: Buffer, recipient: Issued) =>
  open(mail, { from: ours, to: [ellensPhr] }, box.cms, [pairOf(recipient)], [box.root.certificatePem])

test('an answer is sealed to what is published, then sent; the second goes when the first is gone', async () => {
  const published = issueFor(box.root, ellensPhr)
  const { server, ports } = await aHisp([published])
  const one = await owed()
  await answer(ports, one.dispatched)
  expect(await one.states()).toEqual(['waiting', 'waiting'])
  await answer(ports, one.processed)
  expect(await one.states()).toEqual(['sealed', 'waiting'])
  await answer(ports, one.processed)
  expect(await one.states()).toEqual(['sent', 'waiting'])
  await answer(ports, one.dispatched)
  await answer(ports, one.dispatched)
  expect(await one.states()).toEqual(['sent', 'sent'])
  // Once more than needed changes nothing.
  await answer(ports, one.processed)
  expect(server.mails).toHaveLength(2)
  expect(server.commands.filter((line) => line.startsWith(`MAIL FROM:<${ours}>`))).toHaveLength(2)
  const [first, second] = [await read(server.mails[0]!, published), await read(server.mails[1]!, published)]
  expect([first.subject, second.subject]).toEqual(['Processed', 'Dispatched'])
  expect(first).toMatchObject({ from: ours, to: [ellensPhr], inReplyTo: one.messageId, isNotification: true })
})

test('to a sender that publishes nothing it is sealed under the certificate it signed with', async () => {
  const { server, ports } = await aHisp([])
  const one = await owed()
  await answer(ports, one.processed)
  await answer(ports, one.processed)
  expect(await read(server.mails[0]!, box.ellen)).toMatchObject({ subject: 'Processed' })
})

test('to a sender that publishes something untrusted nothing is sent, and that is the end of it', async () => {
  const { server, ports } = await aHisp([issueFor(makeRoot({ name: 'Elsewhere' }), ellensPhr)])
  const one = await owed()
  await answer(ports, one.processed)
  expect(await standing(one.processed)).toMatchObject({
    state: 'failed',
    code: 'recipient-untrusted',
    due_at: null,
  })
  await answer(ports, one.dispatched)
  expect(await one.states()).toEqual(['failed', 'failed'])
  expect(server.sessions()).toBe(0)
})

test('while DNS is silent it waits, longer each time, and ends after two days', async () => {
  const { ports } = await aHisp('dns is silent')
  const one = await owed()
  await answer(ports, one.processed)
  const first = await standing(one.processed)
  expect(first).toMatchObject({ state: 'waiting', code: 'discovery-unavailable', attempts: 1 })
  await answer(ports, one.processed)
  const second = await standing(one.processed)
  expect(second.attempts).toBe(2)
  expect(second.due_at!.getTime()).toBeGreaterThan(first.due_at!.getTime())
  await answer({ ...ports, now: () => new Date(Date.now() + 49 * hourMs) }, one.processed)
  expect(await standing(one.processed)).toMatchObject({ state: 'failed', code: 'discovery-unavailable' })
})

test('a next hop that defers gets it again, one that refuses does not', async () => {
  let attempts = 0
  const refusing = ({ verb }: { verb: string }) => {
    if (verb !== 'DOT') return undefined
    return ++attempts === 1 ? '451 4.3.0 later' : '554 5.7.1 never'
  }
  const { server, ports } = await aHisp([box.ellen], { answer: refusing })
  const one = await owed()
  await answer(ports, one.processed)
  await answer(ports, one.processed)
  expect(await standing(one.processed)).toMatchObject({ state: 'sealed', code: 'edge-deferred', attempts: 1 })
  await answer(ports, one.processed)
  expect(await standing(one.processed)).toMatchObject({ state: 'failed', code: 'edge-refused', attempts: 2 })
  expect(server.mails).toHaveLength(0)
})

test('without a key that signs nothing is sent, and it is tried again', async () => {
  const { server, ports } = await aHisp([box.ellen])
  const one = await owed()
  await answer({ ...ports, signers: () => [] }, one.processed)
  expect(await standing(one.processed)).toMatchObject({ state: 'waiting', code: 'signing-key-missing' })
  await answer(ports, one.processed)
  await answer(ports, one.processed)
  expect(server.mails).toHaveLength(1)
})
