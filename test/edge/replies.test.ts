import { describe, expect, test } from '@jest/globals'
import { anEdge, aServer, bob, ellen, huge, large, says, send, sender, small, tls } from './an-edge.ts'
import type { Verb } from './scripted-smtp.ts'

describe('what the next hop answers', () => {
  const verbs: Verb[] = ['CONNECT', 'EHLO', 'MAIL', 'RCPT', 'DATA', 'DOT']
  test.each(verbs.filter((verb) => verb !== 'EHLO'))(
    '4xx at %s is deferred, with its words',
    async (verb) => {
      const server = await aServer(says(verb, '451 4.7.1 later, please'))
      const { outcome } = await send(anEdge({ port: server.port }))
      expect(outcome).toEqual({
        recipient: ellen,
        outcome: 'deferred',
        code: 451,
        reply: '451 4.7.1 later, please',
        nextHop: `127.0.0.1:${server.port}`,
      })
    },
  )

  test.each(verbs.filter((verb) => verb !== 'EHLO'))('5xx at %s is refused, with its words', async (verb) => {
    const server = await aServer(says(verb, '550 5.7.1 never'))
    const { outcome } = await send(anEdge({ port: server.port }))
    expect(outcome).toEqual({
      recipient: ellen,
      outcome: 'refused',
      code: 550,
      reply: '550 5.7.1 never',
      nextHop: `127.0.0.1:${server.port}`,
    })
  })

  test('4xx at EHLO is deferred where TLS is required, else HELO is tried', async () => {
    const server = await aServer(says('EHLO', '451 4.7.1 later'))
    const route = { starttls: 'required' as const }
    const { outcome } = await send(anEdge({ port: server.port, route }))
    expect(outcome).toMatchObject({ outcome: 'deferred', code: 451 })
    expect((await send(anEdge({ port: server.port }))).outcome).toMatchObject({ outcome: 'accepted' })
  })

  test.each([
    ['pipelined', ['PIPELINING']],
    ['command by command', []],
  ])('4xx and 5xx at MAIL speak for every recipient (%s)', async (_, extensions) => {
    for (const [reply, outcome] of [
      ['450 4.1.8 later', 'deferred'],
      ['553 5.1.8 never', 'refused'],
    ] as const) {
      const server = await aServer({
        extensions,
        answer: ({ verb }) =>
          verb === 'MAIL' ? reply : verb === 'RCPT' || verb === 'DATA' ? '503 5.5.1 need MAIL' : undefined,
      })
      const { recipients } = await send(anEdge({ port: server.port }), { to: [ellen, bob] })
      expect(recipients).toEqual([
        expect.objectContaining({ recipient: ellen, outcome, reply }),
        expect.objectContaining({ recipient: bob, outcome, reply }),
      ])
    }
  })

  test('each recipient has an outcome of its own', async () => {
    const server = await aServer({
      answer: ({ verb, line }) =>
        verb !== 'RCPT'
          ? undefined
          : line.includes('bob')
            ? '550 5.1.1 no such mailbox'
            : line.includes('cat')
              ? '452 4.2.2 mailbox full'
              : undefined,
    })
    const cat = 'cat@direct.somephr.example'
    const { recipients } = await send(anEdge({ port: server.port }), { to: [bob, ellen, cat] })
    expect(recipients).toEqual([
      expect.objectContaining({ recipient: bob, outcome: 'refused', code: 550 }),
      expect.objectContaining({ recipient: ellen, outcome: 'accepted' }),
      expect.objectContaining({ recipient: cat, outcome: 'deferred', code: 452 }),
    ])
    expect(server.mails).toEqual([small])
  })

  test('recipients refused at RCPT stay refused when the final dot is deferred or unanswered', async () => {
    for (const [atDot, outcome] of [
      ['451 4.3.0 disk', 'deferred'],
      ['close', 'ambiguous'],
    ] as const) {
      const server = await aServer({
        answer: ({ verb, line }) =>
          verb === 'RCPT' && line.includes('bob') ? '550 no' : verb === 'DOT' ? atDot : undefined,
      })
      const { recipients } = await send(anEdge({ port: server.port }), { to: [ellen, bob] })
      expect(recipients).toEqual([
        expect.objectContaining({ recipient: ellen, outcome }),
        expect.objectContaining({ recipient: bob, outcome: 'refused' }),
      ])
    }
  })

  test('a greylisted mail is accepted when it comes again', async () => {
    let rcpt = 0
    const server = await aServer({
      answer: ({ verb }) => (verb === 'RCPT' && ++rcpt === 1 ? '450 4.7.1 greylisted' : undefined),
    })
    const edge = anEdge({ port: server.port })
    expect((await send(edge)).outcome).toMatchObject({ outcome: 'deferred', code: 450 })
    expect((await send(edge)).outcome).toMatchObject({ outcome: 'accepted' })
    expect(server.mails).toEqual([small])
  })

  test('a server that wants content for nobody gets none', async () => {
    const server = await aServer({
      answer: ({ verb }) => (verb === 'RCPT' ? '550 no' : verb === 'DATA' ? '354 go ahead' : undefined),
    })
    const { outcome, asked } = await send(anEdge({ port: server.port }))
    expect(outcome).toMatchObject({ outcome: 'refused', reply: '550 no' })
    expect(asked).toBe(0)
  })

  test('421 at any verb is deferred', async () => {
    for (const verb of verbs) {
      const server = await aServer(says(verb, '421 4.3.2 shutting down'))
      const { outcome } = await send(anEdge({ port: server.port }))
      expect(outcome).toMatchObject({ outcome: 'deferred', code: 421 })
    }
  })

  test('a mail larger than the announced SIZE is refused without being sent', async () => {
    const server = await aServer({ extensions: ['SIZE 100', 'PIPELINING'] })
    const { outcome, asked } = await send(anEdge({ port: server.port }))
    expect(outcome).toMatchObject({ outcome: 'accepted' })
    const again = await send(anEdge({ port: server.port }), { content: large })
    expect(again.outcome).toMatchObject({ outcome: 'refused', code: 552 })
    expect([asked, again.asked]).toEqual([1, 0])
    expect(server.commands.filter((line) => line.startsWith('MAIL'))).toEqual([
      `MAIL FROM:<${sender}> SIZE=${small.length}`,
    ])
  })

  test('refused credentials defer: they are the configuration’s fault', async () => {
    const server = await aServer({ tls, login: true, ...says('AUTH', '535 5.7.8 bad credentials') })
    const { outcome } = await send(
      anEdge({
        port: server.port,
        route: { starttls: 'required', user: 'ashby', password: 'wrong', verify: false },
      }),
    )
    expect(outcome).toMatchObject({ outcome: 'deferred', code: 535 })
    expect(JSON.stringify(outcome)).not.toContain('wrong')
  })

  test('an early 552 inside the content decides', async () => {
    const server = await aServer({ content: { after: 100_000, then: '552 5.3.4 too big' } })
    const { outcome } = await send(anEdge({ port: server.port }), { content: huge })
    expect(outcome).toMatchObject({ outcome: 'refused', code: 552 })
  })

  test('an early 250 inside the content is not believed', async () => {
    const server = await aServer({ content: { after: 100_000, then: '250 2.0.0 queued' } })
    const edge = anEdge({ port: server.port })
    const { outcome } = await send(edge, { content: huge })
    expect(outcome).toMatchObject({ outcome: 'ambiguous' })
    expect(server.mails).toEqual([])
    // The rest of the first mail must never end up in front of the next one.
    await send(edge, { content: huge })
    expect(server.sessions()).toBe(2)
  })

  test.each(['250garbage', 'hello', '354 go on', '999 x'])(
    'an answer to the final dot that is none (%s) is ambiguous',
    async (reply) => {
      const server = await aServer(says('DOT', reply))
      const { outcome } = await send(anEdge({ port: server.port }))
      // nodemailer reads the first digit, as RFC 5321 §4.2.1 lets a client do.
      expect(outcome.outcome).toBe(reply.startsWith('2') ? 'accepted' : 'ambiguous')
    },
  )

  test('an answer to RCPT that is none never counts as accepted', async () => {
    const server = await aServer({
      answer: ({ verb, line }) => (verb === 'RCPT' && line.includes('bob') ? '354 what' : undefined),
    })
    const { recipients } = await send(anEdge({ port: server.port }), { to: [ellen, bob] })
    expect(recipients.map(({ outcome }) => outcome)).toEqual(['accepted', 'unreachable'])
  })

  test.each([
    ['several lines', '550-5.7.1 first\r\n550 5.7.1 second', /^550[- ]5\.7\.1 first.*second$/],
    ['control characters', '550 5.7.1 a\u0000b\tc\u001b[31m', /^550 5\.7\.1 a b c \[31m$/],
    ['far too many words', `550 ${'x'.repeat(3_000)}`, /^550 x{496}$/],
  ])('its words are kept on one line, without control characters, shortened: %s', async (_, answer, kept) => {
    const server = await aServer(says('DOT', answer))
    const { outcome } = await send(anEdge({ port: server.port }))
    expect(outcome).toMatchObject({ outcome: 'refused', code: 550, reply: expect.stringMatching(kept) })
  })

  test('an answer without end is cut off', async () => {
    const server = await aServer(says('RCPT', '550-more\r\n'.repeat(20_000)))
    const { outcome, asked } = await send(anEdge({ port: server.port }))
    expect(outcome).toMatchObject({ outcome: 'unreachable' })
    expect(asked).toBe(0)
  })
})
