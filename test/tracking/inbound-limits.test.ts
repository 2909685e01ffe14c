import { describe, expect, test } from '@jest/globals'
import { aGate, aListener } from './a-listener.ts'
import { ellen, ours, type MailPeer } from './mail-peer.ts'

const line = `${'x'.repeat(76)}\r\n`
/** More than is read before a mail counts as large. */
const muchText = line.repeat(5_000)

/** Goes on until the other side has had enough. */
async function untilClosed(peer: MailPeer, command: string): Promise<string[]> {
  const replies: string[] = []
  for (let reply = await peer.say(command); reply !== 'closed'; reply = await peer.say(command))
    replies.push(reply)
  return replies
}

describe('size', () => {
  const messageBytesMax = 20_000

  test('announced too large: refused before anything is sent', async () => {
    const { peer, begun } = await aListener({ messageBytesMax })
    const one = await peer()
    expect(await one.say('EHLO x.example')).toContain('SIZE 20000')
    expect(await one.say(`MAIL FROM:<${ellen}> SIZE=20001`)).toMatch(/^552 /)
    expect(await one.say(`MAIL FROM:<${ellen}> SIZE=20000`)).toMatch(/^250 /)
    expect(begun()).toBe(0)
  })

  test('exactly the limit is stored, an octet more is 552 and is not', async () => {
    const { peer, stored } = await aListener({ messageBytesMax })
    for (const [octets, answer] of [
      [messageBytesMax, /^250 /],
      [messageBytesMax + 1, /^552 /],
    ] as const) {
      const one = await peer()
      await one.begin()
      expect(await one.say(`${'x'.repeat(octets - 2)}\r\n.`)).toMatch(answer)
    }
    expect(stored.map(({ content }) => content.length)).toEqual([messageBytesMax])
  })

  test('far too large is refused, and the connection is good for the next', async () => {
    const { peer, stored } = await aListener({ messageBytesMax: 400_000 })
    const one = await peer()
    await one.begin()
    expect(await one.say(`${muchText.repeat(2)}.`)).toMatch(/^552 /)
    await one.begin()
    expect(await one.say('small\r\n.')).toMatch(/^250 /)
    expect(stored).toHaveLength(1)
  })

  test('without end: cut', async () => {
    const { peer, stored } = await aListener({ messageBytesMax, mailMsMax: 300 })
    const one = await peer()
    await one.begin()
    let ended = false
    const end = (async () => {
      while ((await one.reply()) !== 'closed');
      ended = true
    })()
    while (!ended) {
      one.write(line.repeat(100))
      await new Promise(setImmediate)
    }
    await end
    expect(stored).toEqual([])
  })

  test('a command line without end is cut', async () => {
    const { peer } = await aListener()
    const one = await peer()
    one.write('MAIL FROM:<'.padEnd(100_000, 'x'))
    expect(await one.reply()).toMatch(/^421 /)
    expect(await one.reply()).toBe('closed')
  })
})

describe('connections', () => {
  test('are limited altogether: one more is asked to come again', async () => {
    const { peer } = await aListener({ connectionsMax: 2 })
    const [first] = [await peer(), await peer()]
    expect(await (await peer()).reply()).toMatch(/^421 /)
    expect(await first.say('QUIT')).toMatch(/^221 /)
    expect(await first.reply()).toBe('closed')
    expect(await (await peer()).say('NOOP')).toMatch(/^250 /)
  })

  test('are limited for one address, and the place of one that left is free again', async () => {
    const { peer } = await aListener({ connectionsPerPeerMax: 2 })
    const [first, second] = [await peer(), await peer()]
    expect(await (await peer()).reply()).toMatch(/^421 .*address/)
    first.hangUp()
    second.hangUp()
    for (;;) {
      const next = await peer()
      if ((await next.say('NOOP')).startsWith('250')) break
    }
  })

  test('are not limited for the mail server in front', async () => {
    const { peer } = await aListener({ protocol: 'lmtp', connectionsPerPeerMax: 1 })
    await peer()
    expect(await (await peer()).say('NOOP')).toMatch(/^250 /)
  })

  test('that talk nonsense are cut', async () => {
    const { peer } = await aListener()
    const replies = await untilClosed(await peer(), 'BLAH')
    expect(replies.length).toBeLessThanOrEqual(10)
    expect(replies.at(-1)).toMatch(/^421 /)
  })
})

describe('slow peers', () => {
  test('that say nothing are cut', async () => {
    const { peer } = await aListener({ idleMsMax: 50 })
    const one = await peer()
    expect(await one.reply()).toMatch(/^421 /)
    expect(await one.reply()).toBe('closed')
  })

  test('that drip commands and never send a mail are cut', async () => {
    const { peer } = await aListener({ mailMsMax: 200 })
    const replies = await untilClosed(await peer(), 'NOOP')
    expect(replies.length).toBeGreaterThan(0)
  })

  test('that drip content are cut, and nothing is stored', async () => {
    const { peer, stored, begun } = await aListener({ mailMsMax: 200 })
    const one = await peer()
    await one.begin()
    let ended = false
    const end = one.reply().then((reply) => ((ended = true), reply))
    while (!ended) {
      one.write('x')
      await new Promise(setImmediate)
    }
    expect(await end).toBe('closed')
    expect([stored.length, begun()]).toEqual([0, 0])
  })

  test('have as long again for every further mail', async () => {
    const { peer, stored } = await aListener({ mailMsMax: 2_000 })
    const one = await peer()
    const start = performance.now()
    while (performance.now() - start < 2_500) {
      await one.begin()
      expect(await one.say('a\r\n.')).toMatch(/^250 /)
    }
    expect(stored.length).toBeGreaterThan(1)
  })

  test('keep nobody waiting: a mail is stored from when it is there, and few large ones at a time', async () => {
    const gate = aGate()
    const { peer, stored, begun } = await aListener({}, () => gate.opens)
    const drippers = await Promise.all(Array.from({ length: 8 }, peer))
    for (const dripper of drippers) {
      await dripper.begin()
      dripper.write('half a notification\r\n')
    }
    const large = await Promise.all(Array.from({ length: 8 }, peer))
    for (const one of large) {
      await one.begin()
      one.write(muchText)
    }
    const small = await peer()
    await small.begin()
    const answer = small.say('a whole notification\r\n.')
    while (begun() < 5) await new Promise(setImmediate)
    gate.open()
    expect(await answer).toMatch(/^250 /)
    expect(begun()).toBe(5)
    expect(await Promise.all(large.map((one) => one.say('.')))).toEqual(
      Array.from({ length: 8 }, () => expect.stringMatching(/^250 /)),
    )
    expect(stored).toHaveLength(9)
  })
})

describe('closing', () => {
  test('answers the mail under way, sends idle peers away and takes nothing new', async () => {
    const gate = aGate()
    const reached = aGate()
    const { listener, peer, stored } = await aListener({}, () => (reached.open(), gate.opens))
    const idle = await peer()
    const sending = await peer()
    await sending.begin([ours])
    const answer = sending.say('hello\r\n.')
    await reached.opens
    const closed = listener.close()
    expect(await idle.reply()).toMatch(/^421 /)
    gate.open()
    expect(await answer).toMatch(/^250 /)
    await closed
    expect(stored).toHaveLength(1)
    expect(await sending.reply()).toBe('closed')
    const { port } = listener.at as { port: number }
    await expect(fetch(`http://127.0.0.1:${port}`)).rejects.toThrow()
  })

  test('does not wait for ever for a mail that does not come', async () => {
    const { listener, peer, stored } = await aListener({ drainMsMax: 100 })
    const sending = await peer()
    await sending.begin()
    sending.write('half\r\n')
    await listener.close()
    expect(stored).toEqual([])
  })
})
