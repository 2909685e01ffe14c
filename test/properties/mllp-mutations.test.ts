import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { silentLog } from '../../src/lib/log.ts'
import { betweenFrames, frameFor, MllpDecoder, type MllpEvent } from '../../src/lib/mllp.ts'
import { makeReceive } from '../../src/pipeline/receive.ts'
import { adt, answer, framed } from '../intake/adt.ts'
import { openIntakeRoom } from '../intake/intake-room.ts'
import { connectSender } from '../intake/sender.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { mutated, mutatedBytesMax, splits } from './mllp-mutations.ts'

const neighbour = Buffer.from(framed(adt('neighbour')), 'latin1')

describe('decoder, header and acknowledgment', () => {
  const kept: Buffer[] = []
  let ids = 0
  const receive = makeReceive({
    channel: 'mutations',
    store: {
      keep({ content }) {
        kept.push(content)
        return Promise.resolve({ fresh: true })
      },
      keepFragment({ content }) {
        kept.push(content)
        return Promise.resolve()
      },
    },
    laneKey: () => undefined,
    clock: () => new Date(0),
    newControlId: () => String(ids++),
    log: silentLog,
  })

  test('after any of 100,000 mutated inputs the next frame comes through, and nothing is lost, said wrongly or hoarded', async () => {
    const property = fc.asyncProperty(mutated, splits, async (input, split) => {
      const wire = Buffer.concat([input, neighbour])
      const decoder = new MllpDecoder(mutatedBytesMax)
      const events: MllpEvent[] = []
      for (const chunk of split(wire)) {
        events.push(...decoder.push(chunk))
        if (decoder.heldBytes > mutatedBytesMax) throw new Error('more is held than a frame may have')
      }
      if (decoder.heldBytes > 0) throw new Error('bytes are held after the last frame')
      same(contents(events), [withoutFraming(wire)], 'a byte is lost or invented')
      same(told(new MllpDecoder(mutatedBytesMax).push(wire)), told(events), 'the split changes the meaning')
      const last = events.at(-1)!
      if (last.what !== 'frame' || !frameFor(last.bytes).equals(neighbour))
        throw new Error('the neighbour is lost')

      kept.length = 0
      for (const event of events) {
        if (event.what === 'junk' || event.bytes.length === 0) continue
        const receipt =
          event.what === 'frame'
            ? await receive.frame(event, { address: 'test' })
            : await receive.fragment(event, { address: 'test' })
        if (receipt.isLost === true) throw new Error('a sender is told that nothing was stored')
        if (receipt.reply !== undefined) checkReply(receipt.reply)
        if (event === last && answer(receipt.reply!.toString('latin1')) !== 'AA neighbour')
          throw new Error('the neighbour is not answered')
      }
      const taken = events.filter(({ what, bytes }) => what !== 'junk' && bytes.length > 0)
      if (kept.length < taken.length) throw new Error('something is neither message nor fragment')
    })
    await fc.assert(property, { numRuns: 100_000 })
  }, 120_000)

  test('a frame over the limit ends the stream there: what came before is whole, nothing is held', () => {
    // The neighbour itself is too large.
    const tight = neighbour.length - 10
    fc.assert(
      fc.property(mutated, splits, (input, split) => {
        const decoder = new MllpDecoder(tight)
        const events: MllpEvent[] = []
        for (const chunk of split(Buffer.concat([input, neighbour]))) {
          events.push(...decoder.push(chunk))
          expect(decoder.heldBytes).toBeLessThanOrEqual(tight)
        }
        const large = events.findIndex(
          (event) => event.what === 'fragment' && event.because === 'frame-too-large',
        )
        expect(large).toBe(events.length - 1)
        expect(events.every(({ what, bytes }) => what === 'junk' || bytes.length <= tight)).toBe(true)
        expect(decoder.heldBytes).toBe(0)
      }),
      { numRuns: 5_000 },
    )
  })
})

describe('over a real socket into a real database', () => {
  let database: TestDatabase

  beforeAll(async () => {
    database = await freshDatabase()
  }, 60_000)

  afterAll(() => database.close())

  test('the frame after any of 3,200 mutated inputs is stored once, whole, and acknowledged', async () => {
    const limits = { unreadableInARowMax: 1000, endBlockWaitMsMax: 5 }
    const room = await openIntakeRoom(database.dataSource, { channel: 'wire', limits })
    const neighbours: string[] = []
    const acknowledged = new Set<string>()

    const passes = async (input: Buffer, split: (bytes: Buffer) => Buffer[]): Promise<void> => {
      const id = `neighbour-${neighbours.length}`
      neighbours.push(id)
      const sender = await connectSender(room.listener.address)
      for (const chunk of split(Buffer.concat([input, Buffer.from(framed(adt(id)), 'latin1')]))) {
        sender.write(chunk)
        await new Promise(setImmediate)
      }
      sender.end()
      const answers = (await sender.ended()).map(answer)
      expect(answers.at(-1)).toBe(`AA ${id}`)
      for (const each of answers) if (/^[AC]A /.test(each)) acknowledged.add(each.slice(3))
    }
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(mutated, splits), { minLength: 8, maxLength: 8 }),
        async (inputs) => {
          await Promise.all(inputs.map(([input, split]) => passes(input, split)))
        },
      ),
      { numRuns: 400, endOnFailure: true },
    )

    const messages = await room.messages()
    const stored = new Map(messages.map(({ controlId, content }) => [controlId, content.toString('latin1')]))
    expect(neighbours.filter((id) => stored.get(id) !== adt(id))).toEqual([])
    expect(messages.filter(({ controlId }) => controlId.startsWith('neighbour-')).length).toBe(
      neighbours.length,
    )
    // Control ids of mutated headers may hold any byte; stored they are text.
    const plain = [...acknowledged].filter((id) => /^[\x20-\x7e]+$/.test(id))
    expect(plain.filter((id) => !stored.has(id))).toEqual([])
    expect(room.listener.counts().cut).toMatchObject({
      lost: 0,
      memory: 0,
      unreadable: 0,
      'frame-too-large': 0,
    })
    await room.close()
    expect(room.listener.connections).toBe(0)
  }, 120_000)
})

/** Contents of all events one after the other, without the bytes that may be framing. */
function contents(events: readonly MllpEvent[]): string[] {
  return [withoutFraming(Buffer.concat(events.map(({ bytes }) => bytes)))]
}

function withoutFraming(bytes: Buffer): string {
  return bytes.toString('latin1').replace(/[\x0b\x1c\r\n]/g, '')
}

/** Events as texts; junk in several reads is one. */
function told(events: readonly MllpEvent[]): string[] {
  const texts: string[] = []
  for (const event of events) {
    const text = event.bytes.toString('latin1')
    const previous = texts.at(-1)
    if (event.what !== 'junk')
      texts.push(
        JSON.stringify([event.what, text, 'because' in event ? event.because : event.endBlockComplete]),
      )
    else if (previous?.startsWith('junk ')) texts[texts.length - 1] = previous + text
    else texts.push(`junk ${text}`)
  }
  return texts
}

function same(actual: readonly string[], expected: readonly string[], what: string): void {
  if (actual.length === expected.length && actual.every((text, nth) => text === expected[nth])) return
  throw new Error(`${what}: ${JSON.stringify(actual)} is not ${JSON.stringify(expected)}`)
}

/** One or more acknowledgments that the peer can read, with no framing bytes but those between them. */
function checkReply(reply: Buffer): void {
  for (const text of reply.toString('latin1').split(betweenFrames.toString('latin1'))) {
    const [msh, msa] = text.split('\r')
    const separator = msh!.charAt(3)
    const isWhole =
      msh!.startsWith('MSH') &&
      msa!.startsWith(`MSA${separator}`) &&
      /^[AC][AER]$/.test(msa!.split(separator)[1]!) &&
      text.endsWith('\r') &&
      !/[\x0b\x1c\n]/.test(text)
    if (!isWhole) throw new Error(`no acknowledgment: ${JSON.stringify(text)}`)
  }
}
