import { setImmediate } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { Failed, failureOf } from '../../src/domain/failure.ts'
import { open } from '../../src/seal/open.ts'
import type { SealedStream } from '../../src/seal/running-order.ts'
import { makeSealer, ordersMax, type Sealer } from '../../src/seal/seal.ts'
import { aDocument, anOrder, aTown, type Town } from './an-order.ts'
import { ownKey } from './own-keys.ts'

let town: Town
let sealer: Sealer
beforeAll(() => {
  town = aTown()
  sealer = makeSealer({ threads: 2, signers: [town.ashby] })
})
afterAll(() => sealer.close())

async function whole(stream: SealedStream): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of stream.chunks) chunks.push(chunk)
  return Buffer.concat(chunks)
}

async function documentIn(sealed: Buffer, town: Town): Promise<Buffer> {
  const read = await open(sealed, { keys: [ownKey(town.phr)] })
  if (!read.opened) throw new Error(read.because)
  expect(read.signers.map((one) => one.valid)).toEqual([true])
  const text = read.message.toString('latin1')
  return Buffer.from(/filename=ccd\.xml\r\n\r\n([A-Za-z0-9+/=\r\n]*?)\r\n--/.exec(text)![1]!, 'base64')
}

/** A document without end, and how much of it has been asked for. */
function endless() {
  const asked = { chunks: 0, isOver: false }
  const document = {
    fileName: 'ccd.xml',
    mediaType: 'application/xml',
    bytes: 2 ** 40,
    chunks: async function* () {
      try {
        for (;;) {
          asked.chunks++
          yield Buffer.alloc(65_536)
        }
      } finally {
        asked.isOver = true
      }
    },
  }
  return { asked, document }
}

/** Gives other work its turns until it is so. */
async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await setImmediate()
}

describe('sealing in threads', () => {
  test.each([0, 1, 56, 57, 58, 50_000, 65_663, 65_664, 65_665, 3_000_000])(
    'a document of %d bytes arrives byte for byte, in the length announced',
    async (bytes) => {
      const content = Buffer.alloc(bytes, 'ClinicalDocument ')
      const stream = sealer.seal(anOrder(town, { documents: [aDocument(content)] }))
      const announced = await stream.bytes
      const sealed = await whole(stream)
      expect(sealed.length).toBe(announced)
      expect(await stream.done).toBe(announced)
      expect((await documentIn(sealed, town)).equals(content)).toBe(true)
    },
  )

  test('many orders at once each give their own message', async () => {
    const contents = Array.from({ length: 20 }, (_, index) => Buffer.alloc(index * 20_000, String(index)))
    const sealed = await Promise.all(
      contents.map((content) => whole(sealer.seal(anOrder(town, { documents: [aDocument(content)] })))),
    )
    for (const [index, content] of contents.entries())
      expect((await documentIn(sealed[index]!, town)).equals(content)).toBe(true)
  })

  test('memory of the source stays with the source', async () => {
    const content = Buffer.alloc(200_000, 'x')
    await whole(sealer.seal(anOrder(town, { documents: [aDocument(content)] })))
    expect(content.toString('latin1')).toBe('x'.repeat(200_000))
  })

  test('a taker that asks for it has the memory of each chunk given back when it takes the next', async () => {
    const content = Buffer.alloc(1_000_000, 'ClinicalDocument ')
    const order = anOrder(town, { documents: [aDocument(content)] })
    const taken: Buffer[] = []
    const copies: Buffer[] = []
    for await (const chunk of sealer.seal(order, { freesTaken: true }).chunks) {
      taken.push(chunk)
      copies.push(Buffer.from(chunk))
    }
    expect((await documentIn(Buffer.concat(copies), town)).equals(content)).toBe(true)
    expect(taken.reduce((sum, chunk) => sum + chunk.length, 0)).toBeLessThan(50_000)
  })

  test('an order nobody takes from stops asking for its document, and holds up no other', async () => {
    const { asked, document } = endless()
    const stalled = sealer.seal(anOrder(town, { documents: [document] }))
    await stalled.bytes
    for (let round = 0; round < 4; round++)
      await whole(sealer.seal(anOrder(town, { documents: [aDocument(Buffer.alloc(500_000))] })))
    const before = asked.chunks
    await whole(sealer.seal(anOrder(town, { documents: [aDocument(Buffer.alloc(500_000))] })))
    expect(asked.chunks).toBe(before)
    expect(asked.chunks).toBeLessThan(60)
    stalled.cancel()
    await expect(stalled.done).rejects.toThrow(/cancelled/)
  })

  test('leaving the loop over the chunks cancels the order and lets go of the source', async () => {
    const { asked, document } = endless()
    const stream = sealer.seal(anOrder(town, { documents: [document] }))
    let taken = 0
    for await (const chunk of stream.chunks) {
      expect(chunk.length).toBeGreaterThan(0)
      if (++taken === 20) break
    }
    await expect(stream.done).rejects.toThrow(/cancelled/)
    await until(() => asked.isOver)
  })

  test('an abort signal cancels, before and while it runs', async () => {
    const { asked, document } = endless()
    const abort = new AbortController()
    const stream = sealer.seal(anOrder(town, { documents: [document] }), { signal: abort.signal })
    await stream.bytes
    abort.abort()
    await expect(whole(stream)).rejects.toThrow(/cancelled/)
    await until(() => asked.isOver)
    expect(() => sealer.seal(anOrder(town), { signal: abort.signal })).toThrow()
  })

  test('an error of the source is the error of the order', async () => {
    const broken = {
      ...aDocument(Buffer.alloc(10)),
      chunks: async function* () {
        yield Buffer.alloc(5)
        throw new RangeError('the disk is gone')
      },
    }
    const stream = sealer.seal(anOrder(town, { documents: [broken] }))
    await expect(whole(stream)).rejects.toThrow(new RangeError('the disk is gone'))
    await expect(stream.done).rejects.toThrow('the disk is gone')
  })

  test('a document that lies about its length fails, with or without end', async () => {
    const short = { ...aDocument(Buffer.alloc(10)), bytes: 11 }
    await expect(whole(sealer.seal(anOrder(town, { documents: [short] })))).rejects.toThrow(
      /does not have the 11/,
    )
    const { asked, document } = endless()
    const long = { ...document, bytes: 100 }
    await expect(whole(sealer.seal(anOrder(town, { documents: [long] })))).rejects.toThrow(
      /does not have the 100/,
    )
    await until(() => asked.isOver)
  })

  test('a document that is one byte too long is never sealed in part, and many small ones go through', async () => {
    const long = { ...aDocument(Buffer.alloc(1001, 'x')), bytes: 1000 }
    await expect(whole(sealer.seal(anOrder(town, { documents: [long] })))).rejects.toThrow(
      /does not have the 1000/,
    )
    const documents = Array.from({ length: 100 }, () => aDocument(Buffer.from('small'), 'ccd.xml'))
    expect((await documentIn(await whole(sealer.seal(anOrder(town, { documents }))), town)).toString()).toBe(
      'small',
    )
  })

  test('a certificate nobody can encrypt to is the recipient’s failure', async () => {
    const stream = sealer.seal(anOrder(town, { recipients: [Buffer.from('not a certificate')] }))
    await expect(whole(stream)).rejects.toMatchObject({ code: 'recipient-untrusted' })
  })

  test('text that cannot stand in a message is refused by name and without being quoted', async () => {
    const stream = sealer.seal(anOrder(town, { patientName: 'Ellen\r\nRecurring: Yes' }))
    const error: unknown = await whole(stream).catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(Failed)
    expect(error).toMatchObject({ code: 'message-refused' })
    expect(String(error)).not.toContain('Ellen')
    await expect(stream.bytes).rejects.toBe(error)
  })
})

describe('the threads', () => {
  const program = new URL('./breaking-worker.ts', import.meta.url)

  test('one that breaks fails its orders with a transient failure and is replaced', async () => {
    const fragile = makeSealer({ threads: 1, signers: [town.ashby], program })
    for (const subject of ['throw', 'exit']) {
      const stream = fragile.seal(anOrder(town, { subject }))
      await expect(whole(stream)).rejects.toThrow(/sealing thread (broke|ended)/)
      const error: unknown = await stream.done.catch((reason: unknown) => reason)
      expect(error).toBeInstanceOf(Failed)
      expect(failureOf((error as Failed).code).class).toBe('transient')
      const sealed = await whole(fragile.seal(anOrder(town)))
      expect((await open(sealed, { keys: [ownKey(town.phr)] })).opened).toBe(true)
    }
    await fragile.close()
  })

  test('closing lets what is under way finish and refuses what comes', async () => {
    const closing = makeSealer({ threads: 1, signers: [town.ashby] })
    const content = Buffer.alloc(3_000_000, 'ClinicalDocument ')
    const sealed = whole(closing.seal(anOrder(town, { documents: [aDocument(content)] })))
    const closed = closing.close()
    expect(() => closing.seal(anOrder(town))).toThrow(/closed/)
    expect((await documentIn(await sealed, town)).equals(content)).toBe(true)
    await closed
  })

  test('closing waits no longer than it is told: what hangs fails and can be tried again', async () => {
    const closing = makeSealer({ threads: 1, signers: [town.ashby] })
    const stream = closing.seal(anOrder(town, { documents: [endless().document] }))
    await stream.bytes
    await closing.close(1)
    await expect(whole(stream)).rejects.toMatchObject({ code: 'sealing-interrupted' })
  })

  test('a thread takes a bounded number of orders; the next one waits until another ends', async () => {
    const narrow = makeSealer({ threads: 1, signers: [town.ashby] })
    const stalled = Array.from({ length: ordersMax }, () =>
      narrow.seal(anOrder(town, { documents: [endless().document] })),
    )
    await Promise.all(stalled.map((one) => one.bytes))
    const { asked, document } = endless()
    const waits = narrow.seal(anOrder(town, { documents: [document] }))
    await setImmediate()
    expect(asked.chunks).toBe(0)
    stalled[3]!.cancel()
    await waits.bytes
    expect(asked.chunks).toBeGreaterThan(0)
    await narrow.close(1)
    await expect(waits.done).rejects.toMatchObject({ code: 'sealing-interrupted' })
  })

  test('without a signer nothing is sealed', async () => {
    const keyless = makeSealer({ threads: 1, signers: [] })
    expect(() => keyless.seal(anOrder(town))).toThrow(Failed)
    await keyless.close()
  })

  test('a key that is another certificate’s is refused before any thread starts', () => {
    const signers = [{ certificate: town.phr.certificate, privateKey: town.ashby.privateKey }]
    expect(() => makeSealer({ threads: 1, signers })).toThrow(/does not belong/)
  })
})
