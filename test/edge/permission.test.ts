import { describe, expect, test } from '@jest/globals'
import { anEdge, aServer, ellen, send, sender, small } from './an-edge.ts'

describe('permission refused at the last moment', () => {
  test.each([
    ['pipelined', ['PIPELINING']],
    ['command by command', []],
  ])('sends no octet and no final dot, and the server has nothing (%s)', async (_, extensions) => {
    const server = await aServer({ extensions })
    const edge = anEdge({ port: server.port })
    const { outcome, asked, opened } = await send(edge, {
      permission: { permitted: false, because: 'the patient revoked the authorization' },
    })
    expect(outcome).toEqual({
      recipient: ellen,
      outcome: 'stopped',
      because: 'the patient revoked the authorization',
    })
    expect([asked, opened]).toEqual([1, 0])
    await server.quiet()
    expect(server.contentOctets()).toBe(0)
    expect(server.mails).toEqual([])
  })

  test('the connection is not used again', async () => {
    const server = await aServer({})
    const edge = anEdge({ port: server.port })
    await send(edge, { permission: { permitted: false, because: 'no' } })
    expect((await send(edge)).outcome.outcome).toBe('accepted')
    expect(server.sessions()).toBe(2)
    expect(server.mails).toEqual([small])
  })

  test('a refusal that comes after the connection was lost is still a refusal', async () => {
    const server = await aServer({})
    const edge = anEdge({ port: server.port })
    const { recipients } = await edge.submit({
      envelope: { from: sender, to: [ellen] },
      bytes: small.length,
      async *open() {
        yield small
      },
      async beforeData() {
        server.cut()
        await server.quiet()
        return { permitted: false, because: 'revoked' }
      },
    })
    expect(recipients[0]).toMatchObject({ outcome: 'stopped', because: 'revoked' })
  })
})
