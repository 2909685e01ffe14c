import { once } from 'node:events'
import { afterEach, expect, jest, test } from '@jest/globals'
import { mllpLimits } from '../../src/intake/mllp-limits.ts'
import type { MllpLimits } from '../../src/intake/mllp-limits.ts'
import { listenMllp, type MllpListener } from '../../src/intake/mllp-listener.ts'
import type { Fragment, Receipt } from '../../src/intake/mllp-receiver.ts'
import { silentLog } from '../../src/lib/log.ts'
import { frameFor } from '../../src/lib/mllp.ts'
import { framed } from './adt.ts'
import { connectSender } from './sender.ts'

// A busy machine is no failure.
jest.setTimeout(60_000)

/** A listener whose receiver the test holds in its hand. */
interface Desk {
  readonly listener: MllpListener
  readonly fragments: Fragment[]
  /** Contents received and not yet answered, with what answers them. */
  readonly waiting: { content: string; answer(receipt?: Receipt): void }[]
  received: number
}

const desks: Desk[] = []

afterEach(async () => {
  await Promise.all(desks.splice(0).map(({ listener }) => listener.close(0)))
})

async function aDesk(limits: Partial<MllpLimits>, answersAtOnce = true): Promise<Desk> {
  const fragments: Fragment[] = []
  const waiting: Desk['waiting'] = []
  const listener = await listenMllp({
    host: '127.0.0.1',
    port: 0,
    limits,
    receive({ bytes }) {
      desk.received++
      const content = bytes.toString('latin1', 0, 100)
      const echo: Receipt = { reply: Buffer.from(content.slice(0, 20), 'latin1') }
      if (answersAtOnce) return Promise.resolve(echo)
      return new Promise((resolve) =>
        waiting.push({ content, answer: (receipt) => resolve(receipt ?? echo) }),
      )
    },
    onFragment(fragment) {
      fragments.push(fragment)
      return Promise.resolve({})
    },
    log: silentLog,
  })
  const desk: Desk = { listener, fragments, waiting, received: 0 }
  desks.push(desk)
  return desk
}

/** Turns of the event loop until it is so. */
async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise(setImmediate)
}

test('a frame of 16 MB is taken; one byte more is refused, kept in part, and the connection cut', async () => {
  expect(mllpLimits.frameBytesMax).toBe(16 * 1024 * 1024)
  const { listener, fragments } = await aDesk({})
  const sender = await connectSender(listener.address)
  const largest = Buffer.alloc(mllpLimits.frameBytesMax, 'M')
  expect(await sender.ask(largest)).toBe('M'.repeat(20))
  sender.write(frameFor(Buffer.concat([largest, Buffer.from('M')])))
  await sender.ended()
  expect(fragments.map(({ because, bytes }) => [because, bytes.length])).toEqual([
    ['frame-too-large', mllpLimits.frameBytesMax],
  ])
  expect(listener.counts()).toMatchObject({ frames: 1, fragments: 1, cut: { 'frame-too-large': 1 } })
})

test('a frame without end is cut at the limit, whatever more is sent, and no more than the limit is held', async () => {
  const frameBytesMax = 256 * 1024
  const { listener, fragments } = await aDesk({ frameBytesMax })
  const sender = await connectSender(listener.address)
  sender.write('\x0b')
  const piece = Buffer.alloc(64 * 1024, 'M')
  let isOver = false
  void sender.ended().then(() => (isOver = true))
  while (!isOver)
    if (!sender.socket.write(piece)) await Promise.race([once(sender.socket, 'drain'), sender.ended()])
  expect(fragments.map(({ because, bytes }) => [because, bytes.length])).toEqual([
    ['frame-too-large', frameBytesMax],
  ])
})

test('a sender that has nothing to say is cut, one that waits for its answer is not', async () => {
  const desk = await aDesk({ idleMsMax: 40 }, false)
  const idle = await connectSender(desk.listener.address)
  const waits = await connectSender(desk.listener.address)
  const reply = waits.ask('A')
  await idle.ended()
  expect(desk.listener.counts().cut.idle).toBe(1)
  desk.waiting[0]!.answer()
  expect(await reply).toBe('A')
  await waits.ended()
  expect(desk.listener.counts().cut.idle).toBe(2)
})

test('a sender that never completes its frame is cut, however busily it trickles; what came is kept', async () => {
  const { listener, fragments } = await aDesk({ frameMsMax: 60 })
  const sender = await connectSender(listener.address)
  sender.write(framed('A'))
  expect(await sender.reply()).toBe('A')
  sender.write('\x0bMSH')
  let isOver = false
  void sender.ended().then(() => (isOver = true))
  while (!isOver) {
    sender.write('x')
    await new Promise(setImmediate)
  }
  expect(fragments).toHaveLength(1)
  expect(fragments[0]!.because).toBe('frame-too-slow')
  expect(fragments[0]!.bytes.toString('latin1')).toMatch(/^MSHx+$/)
  expect(listener.counts().cut['frame-too-slow']).toBe(1)
})

test('no more frames of a connection are taken than may be in flight; the others wait their turn', async () => {
  const desk = await aDesk({ framesInFlightMax: 4 }, false)
  const sender = await connectSender(desk.listener.address)
  const other = await connectSender(desk.listener.address)
  const ids = Array.from({ length: 5000 }, (_, n) => `frame ${n} ${'x'.repeat(500)}`)
  sender.write(ids.map(framed).join(''))
  const replies: Promise<string>[] = ids.map(() => sender.reply())
  await until(() => desk.waiting.length === 4)
  // Another connection is not held up by it, and proves that the listener had its turn meanwhile.
  const neighbour = other.ask('neighbour')
  await until(() => desk.waiting.length === 5)
  desk.waiting.splice(4, 1)[0]!.answer()
  expect(await neighbour).toBe('neighbour')
  expect(desk.received).toBe(5)
  expect(desk.listener.counts().pauses).toBeGreaterThan(0)
  let most = 0
  for (let answered = 0; answered < ids.length;) {
    await until(() => desk.waiting.length > 0)
    most = Math.max(most, desk.waiting.length)
    for (const { answer } of desk.waiting.splice(0)) {
      answer()
      answered++
    }
  }
  expect(await Promise.all(replies)).toEqual(ids.map((id) => id.slice(0, 20)))
  expect(most).toBeLessThanOrEqual(4)
})

test('answers given out of order go out in the order of the frames', async () => {
  const desk = await aDesk({}, false)
  const sender = await connectSender(desk.listener.address)
  sender.write(['A', 'B', 'C'].map(framed).join(''))
  await until(() => desk.waiting.length === 3)
  desk.waiting[2]!.answer()
  desk.waiting[1]!.answer()
  await new Promise(setImmediate)
  desk.waiting[0]!.answer()
  expect([await sender.reply(), await sender.reply(), await sender.reply()]).toEqual(['A', 'B', 'C'])
})

test('a sender that reads no answers is not read from either, and is cut in the end', async () => {
  const desk = await aDesk({ unreadReplyBytesMax: 4096, idleMsMax: 300, lingerMsMax: 50 })
  const sender = await connectSender(desk.listener.address)
  sender.socket.pause()
  const flood = Buffer.from(framed('x'.repeat(40)).repeat(20_000), 'latin1')
  const pour = (): void => {
    while (!sender.socket.destroyed && sender.socket.write(flood));
  }
  sender.socket.on('drain', pour)
  pour()
  await until(() => desk.listener.counts().cut['replies-unread'] === 1)
  const { pauses } = desk.listener.counts()
  expect(pauses).toBeGreaterThan(0)
  sender.socket.destroy()
})

test('all connections together hold no more than allowed: whoever holds an unfinished frame then is cut', async () => {
  const desk = await aDesk({ frameBytesMax: 1 << 20, heldBytesMax: 3 << 20 })
  const senders = await Promise.all(Array.from({ length: 8 }, () => connectSender(desk.listener.address)))
  for (const sender of senders) sender.write(`\x0b${'M'.repeat(700_000)}`)
  await until(() => desk.listener.counts().cut.memory > 0)
  const good = await connectSender(desk.listener.address)
  expect(await good.ask('good')).toBe('good')
})

test('a peer that speaks no MLLP at all is cut', async () => {
  const junk = await aDesk({ junkBytesMax: 10_000 })
  const web = await connectSender(junk.listener.address)
  web.write('GET / HTTP/1.1\r\n'.repeat(2000))
  await web.ended()
  expect(junk.listener.counts().cut['not-mllp']).toBe(1)
  expect(junk.fragments[0]!.bytes.toString('latin1')).toMatch(/^GET \/ HTTP/)

  const unreadable = await aDesk({ unreadableInARowMax: 5 })
  const broken = await connectSender(unreadable.listener.address)
  broken.write('\x0bA'.repeat(10_000))
  await broken.ended()
  expect(unreadable.listener.counts().cut.unreadable).toBe(1)
  // Not ten thousand: it was cut before the rest was looked at.
  expect(unreadable.fragments.length).toBeLessThan(10)
})

test('more connections than allowed are refused, and a place that becomes free is given again', async () => {
  const { listener } = await aDesk({ connectionsMax: 2 })
  const [first] = await Promise.all([connectSender(listener.address), connectSender(listener.address)])
  await until(() => listener.connections === 2)
  const third = await connectSender(listener.address)
  await third.ended()
  expect(listener.connections).toBe(2)
  first.end()
  await until(() => listener.connections === 1)
  expect(await (await connectSender(listener.address)).ask('A')).toBe('A')
})

test('a receiver that fails costs the connection, never the listener', async () => {
  const listener = await listenMllp({
    host: '127.0.0.1',
    port: 0,
    receive: ({ bytes }) => {
      if (bytes.toString() === 'bug') throw new Error('a bug')
      return Promise.resolve({ reply: bytes })
    },
    onFragment: () => Promise.resolve({}),
    log: silentLog,
  })
  const unlucky = await connectSender(listener.address)
  unlucky.write(framed('A') + framed('bug') + framed('B'))
  expect(await unlucky.ended()).toEqual(['A'])
  expect(await (await connectSender(listener.address)).ask('C')).toBe('C')
  await listener.close(0)
})

test('an address that is taken is named, with what to do', async () => {
  const { listener } = await aDesk({})
  await expect(
    listenMllp({
      host: '127.0.0.1',
      port: listener.address.port,
      receive: () => Promise.resolve({}),
      onFragment: () => Promise.resolve({}),
      log: silentLog,
    }),
  ).rejects.toThrow(/cannot listen on 127\.0\.0\.1:\d+ \(EADDRINUSE\): another program has the port/)
})
