import { once } from 'node:events'
import net from 'node:net'
import { expect, test } from '@jest/globals'
import { listenMllp, type MllpListener } from '../../src/intake/mllp-listener.ts'
import type { MllpLimits } from '../../src/intake/mllp-limits.ts'
import type { Receipt } from '../../src/intake/mllp-receiver.ts'
import { silentLog } from '../../src/lib/log.ts'
import { framed } from './adt.ts'
import { connectSender } from './sender.ts'

/** A listener that answers when the test says so. */
async function aSlowListener(limits: Partial<MllpLimits> = {}) {
  const waiting: (() => void)[] = []
  const contents: string[] = []
  const listener: MllpListener = await listenMllp({
    host: '127.0.0.1',
    port: 0,
    limits,
    receive: ({ bytes }) => {
      contents.push(bytes.toString('latin1'))
      return new Promise<Receipt>((resolve) => waiting.push(() => resolve({ reply: bytes })))
    },
    onFragment: () => Promise.resolve({}),
    log: silentLog,
  })
  return {
    listener,
    contents,
    received: async (count: number) => {
      while (contents.length < count) await new Promise(setImmediate)
    },
    answerAll: () => {
      for (const answer of waiting.splice(0)) answer()
    },
  }
}

test('every answer owed at the close is delivered before the goodbye', async () => {
  const { listener, received, answerAll } = await aSlowListener()
  const senders = await Promise.all(Array.from({ length: 10 }, () => connectSender(listener.address)))
  for (const sender of senders) sender.write(framed('A') + framed('B'))
  await received(20)
  const closed = listener.close(60_000)
  answerAll()
  expect(await Promise.all(senders.map((sender) => sender.ended()))).toEqual(senders.map(() => ['A', 'B']))
  expect(await closed).toBe(0)
})

test('frames that have arrived beyond what may be in flight are still taken and answered', async () => {
  const { listener, received, answerAll, contents } = await aSlowListener({ framesInFlightMax: 2 })
  const sender = await connectSender(listener.address)
  sender.write(['A', 'B', 'C', 'D', 'E'].map(framed).join(''))
  await received(2)
  const closed = listener.close(60_000)
  for (let count = 2; count <= 5; count++) {
    answerAll()
    await received(Math.min(count + 1, 5))
  }
  answerAll()
  expect(await sender.ended()).toEqual(['A', 'B', 'C', 'D', 'E'])
  expect(contents).toHaveLength(5)
  expect(await closed).toBe(0)
})

test('a frame that only lacks its 0x0D at the close is answered, too', async () => {
  const { listener, received, answerAll } = await aSlowListener({ endBlockWaitMsMax: 60_000 })
  const sender = await connectSender(listener.address)
  sender.write(`${framed('A')}\x0bB\x1c`)
  await received(1)
  answerAll()
  expect(await sender.reply()).toBe('A')
  const closed = listener.close(60_000)
  await received(2)
  answerAll()
  expect(await sender.ended()).toEqual(['B'])
  await closed
})

test('what comes after the close has begun is neither taken nor answered, and does not reset the last answers', async () => {
  const { listener, received, answerAll, contents } = await aSlowListener()
  const sender = await connectSender(listener.address)
  sender.write(framed('A'))
  await received(1)
  const closed = listener.close(60_000)
  sender.write(framed('late').repeat(1000))
  answerAll()
  expect(await sender.ended()).toEqual(['A'])
  expect(contents).toEqual(['A'])
  await closed
})

test('nobody is let in any more, and silent connections do not hold up the close', async () => {
  const { listener } = await aSlowListener()
  const idle = await connectSender(listener.address)
  const half = await connectSender(listener.address)
  half.write('\x0bMSH|half')
  await listener.close(60_000)
  await Promise.all([idle.ended(), half.ended()])
  const late = net.connect(listener.address)
  const [error] = (await once(late, 'error')) as [NodeJS.ErrnoException]
  expect(error.code).toBe('ECONNREFUSED')
})

test('a receiver that never ends costs its connection at the deadline, and is counted', async () => {
  const { listener, received } = await aSlowListener()
  const sender = await connectSender(listener.address)
  sender.write(framed('A'))
  await received(1)
  expect(await listener.close(30)).toBe(1)
  expect(await sender.ended()).toEqual([])
})

test('a sender that has said goodbye still gets its answers', async () => {
  const { listener, received, answerAll } = await aSlowListener()
  const sender = await connectSender(listener.address)
  sender.write(framed('A') + framed('B'))
  sender.end()
  await received(2)
  answerAll()
  expect(await sender.ended()).toEqual(['A', 'B'])
  await listener.close(1000)
})

test('a sender that vanishes leaves its frames with the receiver and nothing else', async () => {
  const { listener, received, answerAll } = await aSlowListener()
  const sender = await connectSender(listener.address)
  sender.write(framed('A'))
  await received(1)
  sender.socket.resetAndDestroy()
  while (listener.connections > 0) await new Promise(setImmediate)
  answerAll()
  const next = await connectSender(listener.address)
  next.write(framed('B'))
  await received(2)
  answerAll()
  expect(await next.reply()).toBe('B')
  await listener.close(1000)
})
