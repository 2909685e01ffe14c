import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { exactContent } from '../../src/edge/content.ts'
import { anEdge, aServer, ellen, send, sender, small } from './an-edge.ts'

describe('our own side', () => {
  test.each([
    ['shorter than announced', small.subarray(0, 10), small.length],
    ['longer than announced', small, 10],
    ['with a bare LF', Buffer.from('a\nb\r\n'), 5],
    ['with a bare CR', Buffer.from('a\rb\r\n'), 5],
    ['without a final CRLF', Buffer.from('ab'), 2],
    ['with an octet above 127', Buffer.from('caf\xe9\r\n', 'latin1'), 6],
    ['with a line that relays may break', Buffer.from(`${'x'.repeat(999)}\r\n`), 1_001],
  ])('never finishes a message that is %s', async (_, content, bytes) => {
    const server = await aServer({})
    const edge = anEdge({ port: server.port })
    const { recipients } = await edge.submit({
      envelope: { from: sender, to: [ellen] },
      bytes,
      async *open() {
        yield content
      },
      beforeData: async () => ({ permitted: true }),
    })
    expect(recipients[0]).toMatchObject({ outcome: 'unreachable', cause: expect.any(Error) })
    await server.quiet()
    expect(server.mails).toEqual([])
  })

  test.each(['beforeData', 'open'] as const)('an error in %s leaves nothing behind', async (where) => {
    const server = await aServer({})
    const broken = new Error('database gone')
    const { recipients } = await anEdge({ port: server.port }).submit({
      envelope: { from: sender, to: [ellen] },
      bytes: small.length,
      async *open() {
        if (where === 'open') throw broken
        yield small
      },
      async beforeData() {
        if (where === 'beforeData') throw broken
        return { permitted: true }
      },
    })
    expect(recipients[0]).toMatchObject({ outcome: 'unreachable', cause: broken })
    await server.quiet()
    expect(server.mails).toEqual([])
  })

  test('an address that would be a command of its own is a bug, not a mail', async () => {
    const server = await aServer({})
    await expect(send(anEdge({ port: server.port }), { to: ['a@b.example>\r\nRSET'] })).rejects.toThrow(
      'address',
    )
    expect(server.sessions()).toBe(0)
  })

  test.each([
    ['to', sender, 'ellen@direct.somephr.example>\nDATA'],
    ['to', sender, 'élan@direct.somephr.example'],
    ['to', sender, 'ellen ross@direct.somephr.example'],
    ['to', sender, 'ellen@direct.somephr.example> SIZE=0'],
    ['from', 'a@direct.ashby.example>\r\nRCPT TO:<eve@elsewhere.example', ellen],
  ])('no address in %s can say a command: %j → %j', async (_, from, to) => {
    const server = await aServer({})
    const submission = anEdge({ port: server.port }).submit({
      envelope: { from, to: [to] },
      bytes: small.length,
      async *open() {
        yield small
      },
      beforeData: async () => ({ permitted: true }),
    })
    await expect(submission).rejects.toThrow('address')
    expect(server.sessions()).toBe(0)
  })
})

test('what SMTP can carry does not depend on how it is cut into chunks', async () => {
  const piece = fc.constantFrom('a', '.', '\r\n', '\r', '\n', 'é', 'x'.repeat(997), 'y'.repeat(998))
  await fc.assert(
    fc.asyncProperty(
      fc.array(piece, { maxLength: 12 }),
      fc.boolean(),
      fc.array(fc.nat(60), { maxLength: 40 }),
      async (pieces, isEnded, cuts) => {
        const content = Buffer.from(pieces.join('') + (isEnded ? '\r\n' : ''), 'latin1')
        const lines = content.toString('latin1').split('\r\n')
        const isFit =
          content.every((octet) => octet < 128) &&
          lines.length > 1 &&
          lines.pop() === '' &&
          lines.every((line) => /^[^\r\n]{0,998}$/.test(line))
        const chunks: Buffer[] = []
        let at = 0
        for (const cut of cuts) chunks.push(content.subarray(at, (at += cut)))
        chunks.push(content.subarray(at))
        const source = async function* () {
          yield* chunks
        }
        const passed = passes(exactContent(source(), content.length), content)
        expect(await passed).toBe(isFit)
      },
    ),
    { numRuns: 2_000 },
  )
})

async function passes(chunks: AsyncIterable<Buffer>, content: Buffer): Promise<boolean> {
  const out: Buffer[] = []
  try {
    for await (const chunk of chunks) out.push(chunk)
    return Buffer.concat(out).equals(content)
  } catch {
    return false
  }
}
