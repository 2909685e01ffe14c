import { describe, expect, test } from '@jest/globals'
import { anEdge, aServer, huge, large, open, says, send, small } from './an-edge.ts'
import type { Verb } from './scripted-smtp.ts'

describe('a connection that goes away', () => {
  const before: Verb[] = ['CONNECT', 'EHLO', 'MAIL', 'RCPT', 'DATA']
  test.each(before)('cut at %s: unreachable, nothing accepted', async (verb) => {
    const server = await aServer(says(verb, 'close'))
    const { outcome, asked } = await send(anEdge({ port: server.port }))
    expect(outcome).toMatchObject({ outcome: 'unreachable' })
    expect(asked).toBe(0)
  })

  test.each(before)('silence at %s: unreachable after the named patience', async (verb) => {
    const server = await aServer(says(verb, 'hang'))
    const edge = anEdge({ port: server.port, patience: { setupMsMax: 50, envelopeMsMax: 50 } })
    const { outcome, asked } = await send(edge)
    expect(outcome).toMatchObject({ outcome: 'unreachable' })
    expect(asked).toBe(0)
  })

  test('cut in the middle of the content: unreachable, because no dot was sent', async () => {
    const server = await aServer({ content: { after: 200_000, then: 'close' } })
    const { outcome, asked } = await send(anEdge({ port: server.port }), { content: huge })
    expect(outcome).toMatchObject({ outcome: 'unreachable' })
    expect(asked).toBe(1)
    expect(server.mails).toEqual([])
  })

  test('no longer read in the middle of the content: unreachable', async () => {
    const server = await aServer({ content: { after: 200_000, then: 'hang' } })
    const { outcome } = await send(anEdge({ port: server.port, patience: { blockMsMax: 100 } }), {
      content: huge,
    })
    expect(outcome).toMatchObject({ outcome: 'unreachable' })
  })

  test('cut after the final dot: ambiguous', async () => {
    for (const content of [small, large]) {
      const server = await aServer(says('DOT', 'close'))
      const { outcome } = await send(anEdge({ port: server.port }), { content })
      expect(outcome).toMatchObject({ outcome: 'ambiguous', nextHop: `127.0.0.1:${server.port}` })
    }
  })

  test('silence after the final dot: ambiguous', async () => {
    const server = await aServer(says('DOT', 'hang'))
    const edge = anEdge({ port: server.port, patience: { finalReplyMsMax: 50 } })
    expect((await send(edge)).outcome).toMatchObject({ outcome: 'ambiguous' })
  })

  test('nobody listens: unreachable', async () => {
    const server = await aServer({})
    await server.close()
    open.pop()
    expect((await send(anEdge({ port: server.port }))).outcome).toMatchObject({ outcome: 'unreachable' })
  })
})
