import { describe, expect, test } from '@jest/globals'
import { anEdge, aServer, large, send } from './an-edge.ts'

describe('connections', () => {
  test('are used again after a 2xx', async () => {
    const server = await aServer({})
    const edge = anEdge({ port: server.port })
    for (let i = 0; i < 5; i++) expect((await send(edge)).outcome.outcome).toBe('accepted')
    expect(server.sessions()).toBe(1)
    expect(server.mails).toHaveLength(5)
  })

  test('are never more at once than allowed, and everything still goes', async () => {
    const server = await aServer({})
    const edge = anEdge({ port: server.port, pool: { connectionsPerHopMax: 2 } })
    const sent = await Promise.all(Array.from({ length: 20 }, () => send(edge)))
    expect(sent.every(({ outcome }) => outcome.outcome === 'accepted')).toBe(true)
    expect(server.sessions()).toBeLessThanOrEqual(2)
    expect(server.mails).toHaveLength(20)
  })

  test.each([
    ['cut while idle', undefined],
    ['421 to the next MAIL', '421 4.4.2 idle too long'],
    ['cut at the next MAIL', 'close'],
  ])('gone stale (%s) are replaced before anything is decided', async (_, answer) => {
    const server = await aServer({
      answer: ({ verb, mails }) => (verb === 'MAIL' && mails === 1 ? answer : undefined),
    })
    const edge = anEdge({ port: server.port })
    await send(edge)
    if (answer === undefined) {
      server.cut()
      await server.quiet()
    }
    const { outcome, asked } = await send(edge)
    expect(outcome.outcome).toBe('accepted')
    expect(asked).toBe(1)
    expect(server.sessions()).toBe(2)
  })

  test('a reused connection lost after the final dot is ambiguous and nothing is sent twice', async () => {
    const server = await aServer({
      answer: ({ verb, mails }) => (verb === 'DOT' && mails === 1 ? 'close' : undefined),
    })
    const edge = anEdge({ port: server.port })
    await send(edge)
    const { outcome, asked } = await send(edge)
    expect(outcome.outcome).toBe('ambiguous')
    expect(asked).toBe(1)
    expect(server.sessions()).toBe(1)
  })

  test('are replaced after the allowed number of mails', async () => {
    const server = await aServer({})
    const edge = anEdge({ port: server.port, pool: { mailsPerConnectionMax: 2 } })
    for (let i = 0; i < 4; i++) await send(edge)
    expect(server.sessions()).toBe(2)
  })

  test('close lets what is under way finish, takes nothing new, and leaves no connection', async () => {
    const server = await aServer({})
    const edge = anEdge({ port: server.port })
    const sending = send(edge, { content: large })
    const closed = edge.close()
    const late = await send(edge)
    expect((await sending).outcome.outcome).toBe('accepted')
    expect(late.outcome).toMatchObject({ outcome: 'unreachable', because: 'bluepost is stopping' })
    await closed
    await server.quiet()
    expect(server.open()).toBe(0)
    expect(server.mails).toHaveLength(1)
  })
})
