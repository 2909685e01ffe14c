import { describe, expect, test } from '@jest/globals'
import { once } from 'node:events'
import { SMTPServer } from 'smtp-server'
import { anEdge, aServer, authority, ellen, large, open, send, sender, small, tls } from './an-edge.ts'

describe('a mail that goes through', () => {
  test.each([
    ['small, full of dots', small],
    ['4 MB, dots at line starts', large],
    ['25 MB of document, as base64', Buffer.alloc(78 * 460_000, `${'QUJD'.repeat(19)}\r\n`)],
    ['nothing but a line end', Buffer.from('\r\n')],
  ])('arrives byte-identical: %s', async (_, content) => {
    const received: Buffer[] = []
    const server = new SMTPServer({
      ...tls,
      logger: false,
      authOptional: true,
      onData(stream, _session, done) {
        const chunks: Buffer[] = []
        stream.on('data', (chunk: Buffer) => chunks.push(chunk))
        stream.on('end', () => {
          received.push(Buffer.concat(chunks))
          done()
        })
      },
    })
    server.on('error', () => {})
    server.listen(0, '127.0.0.1')
    await once(server.server, 'listening')
    open.push({ close: () => new Promise<void>((resolve) => server.close(resolve)) })
    const { port } = server.server.address() as { port: number }
    const edge = anEdge({ port, route: { starttls: 'required' } })

    const { outcome, asked } = await send(edge, { content })
    expect(outcome).toEqual({
      recipient: ellen,
      outcome: 'accepted',
      reply: expect.stringMatching(/^250 /),
      nextHop: `127.0.0.1:${port}`,
    })
    expect(asked).toBe(1)
    expect(received[0]!.equals(content)).toBe(true)
    await edge.close()
  })

  test('is asked for permission after RCPT and before the first octet of content', async () => {
    const server = await aServer({ extensions: [] })
    const edge = anEdge({ port: server.port })
    let seen: { commands: string[]; octets: number } | undefined
    await edge.submit({
      envelope: { from: sender, to: [ellen] },
      bytes: small.length,
      async *open() {
        yield small
      },
      async beforeData() {
        seen = { commands: [...server.commands], octets: server.contentOctets() }
        return { permitted: true }
      },
    })
    expect(seen!.commands).toEqual([
      'EHLO direct.ashby.example',
      `MAIL FROM:<${sender}>`,
      `RCPT TO:<${ellen}>`,
      'DATA',
    ])
    expect(seen!.octets).toBe(0)
    expect(server.mails).toEqual([small])
  })

  test('uses STARTTLS, then logs in, and repeats EHLO in between', async () => {
    const server = await aServer({ tls, login: true })
    const edge = anEdge({
      routes: [
        {
          domain: '*',
          url: `smtp://localhost:${server.port}`,
          ca: authority.certificatePem,
          user: 'ashby',
          password: 'secret',
        },
      ],
    })
    expect((await send(edge)).outcome.outcome).toBe('accepted')
    expect(server.commands.map((line) => line.split(/[ :]/)[0])).toEqual([
      'EHLO',
      'STARTTLS',
      'EHLO',
      'AUTH',
      'MAIL',
      'RCPT',
      'DATA',
    ])
  })

  test('goes over TLS from the first octet with smtps://', async () => {
    const server = await aServer({ tls, implicitTls: true })
    const edge = anEdge({
      routes: [{ domain: '*', url: `smtps://localhost:${server.port}`, ca: authority.certificatePem }],
    })
    expect((await send(edge)).outcome.outcome).toBe('accepted')
  })

  test('asks for nothing that a relay on the way might not have: no 8BITMIME, no SMTPUTF8, no DSN', async () => {
    const server = await aServer({ extensions: ['8BITMIME', 'SMTPUTF8', 'DSN', 'CHUNKING', 'PIPELINING'] })
    expect((await send(anEdge({ port: server.port }))).outcome.outcome).toBe('accepted')
    expect(server.commands).toEqual([
      'EHLO direct.ashby.example',
      `MAIL FROM:<${sender}>`,
      `RCPT TO:<${ellen}>`,
      'DATA',
    ])
    expect(server.mails).toEqual([small])
  })
})
