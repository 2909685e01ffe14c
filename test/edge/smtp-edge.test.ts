import { afterEach, describe, expect, test } from '@jest/globals'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { SMTPServer } from 'smtp-server'
import type { Edge, Permission, RecipientSubmission } from '../../src/edge/edge.ts'
import { makeSmtpEdge, type SmtpEdgeSettings } from '../../src/edge/smtp-edge.ts'
import { makeRoot, serverAuth } from '../pki/pki.ts'
import { scriptedSmtp, type Answer, type Script, type ScriptedSmtp, type Verb } from './scripted-smtp.ts'

const sender = 'transmit@direct.ashby.example'
const ellen = 'ellen.ross@direct.somephr.example'
const bob = 'bob.lin@direct.somephr.example'

const authority = makeRoot({ keyType: 'ec256', name: 'Mail Test Root' })
const certificate = authority.issue({
  keyType: 'ec256',
  domains: ['localhost'],
  extendedKeyUsage: [serverAuth],
})
const tls = { key: certificate.privateKeyPem, cert: certificate.certificatePem }

const open: { close(): Promise<unknown> }[] = []
afterEach(async () => {
  for (const thing of open.splice(0).reverse()) await thing.close()
})

async function aServer(script: Script): Promise<ScriptedSmtp> {
  const server = await scriptedSmtp(script)
  open.push(server)
  return server
}

function anEdge(settings: Partial<SmtpEdgeSettings> & { port?: number; route?: object }): Edge {
  const { port, route, ...rest } = settings
  const edge = makeSmtpEdge({
    type: 'sta',
    name: 'direct.ashby.example',
    ...(port === undefined
      ? {}
      : { routes: [{ domain: '*', url: `smtp://127.0.0.1:${port}`, starttls: 'none', ...route }] }),
    ...rest,
  })
  open.push(edge)
  return edge
}

interface Sent {
  readonly recipients: readonly RecipientSubmission[]
  readonly outcome: RecipientSubmission
  readonly asked: number
  readonly opened: number
}

async function send(
  edge: Edge,
  {
    to = [ellen],
    content = small,
    permission = { permitted: true } as Permission,
  }: { to?: string[]; content?: Buffer; permission?: Permission } = {},
): Promise<Sent> {
  let asked = 0
  let opened = 0
  const { recipients } = await edge.submit({
    envelope: { from: sender, to },
    bytes: content.length,
    async *open() {
      opened++
      for (let at = 0; at < content.length; at += 16_384) yield content.subarray(at, at + 16_384)
    },
    async beforeData() {
      asked++
      return permission
    },
  })
  return { recipients, outcome: recipients[0]!, asked, opened }
}

/** Lines that SMTP has to escape, at every place where an escaper may slip. */
const small = Buffer.from(
  ['.', '..', '.leading dot', '...', '', 'plain', 'ends with dot.', '.\tx', '', '.', ''].join('\r\n') +
    '\r\n',
)
const large = Buffer.from(
  `Message-ID: <big@direct.ashby.example>\r\n\r\n${randomBytes(3_000_000)
    .toString('base64')
    .replace(/.{76}/g, '$&\r\n.')}\r\n`,
)
/** More than the kernel buffers of a loopback connection swallow at once. */
const huge = Buffer.concat(Array.from({ length: 6 }, () => large))

const says = (verb: Verb, answer: Answer) => ({
  answer: (step: { verb: Verb }) => (step.verb === verb ? answer : undefined),
})

describe('a mail that goes through', () => {
  test.each([
    ['small, full of dots', small],
    ['4 MB, dots at line starts', large],
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
})

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
    const { outcome } = await send(anEdge({ port: server.port }), { content: huge })
    expect(outcome).toMatchObject({ outcome: 'ambiguous' })
    expect(server.mails).toEqual([])
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
})

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

describe('TLS', () => {
  const secured = { starttls: 'required' as const }
  test('is required: a server without STARTTLS gets nothing', async () => {
    const server = await aServer({})
    const { outcome, asked } = await send(anEdge({ port: server.port, route: secured }))
    expect(outcome).toMatchObject({ outcome: 'insecure' })
    expect(asked).toBe(0)
    expect(server.commands.some((line) => /^MAIL/.test(line))).toBe(false)
  })

  test.each(['454 4.7.0 not now', '502 5.5.1 never', '220 but then noise'])(
    'a server that answers STARTTLS with %s gets nothing',
    async (reply) => {
      const server = await aServer({
        extensions: ['STARTTLS'],
        answer: ({ verb }) => (verb === 'STARTTLS' ? (/^220/.test(reply) ? 'close' : reply) : undefined),
      })
      const { outcome } = await send(anEdge({ port: server.port, route: secured }))
      expect(outcome.outcome).toMatch(/insecure|unreachable/)
      expect(server.commands.some((line) => /^MAIL/.test(line))).toBe(false)
    },
  )

  test('a server that does not know EHLO has no STARTTLS', async () => {
    const server = await aServer(says('EHLO', '502 5.5.1 not implemented'))
    const { outcome } = await send(anEdge({ port: server.port, route: secured }))
    expect(outcome).toMatchObject({ outcome: 'insecure' })
  })

  test('a certificate that does not verify is refused where the route has a host name', async () => {
    const server = await aServer({ tls })
    const { outcome } = await send(
      anEdge({ routes: [{ domain: '*', url: `smtp://localhost:${server.port}` }] }),
    )
    expect(outcome).toMatchObject({ outcome: 'insecure', because: expect.stringContaining('certificate') })
    expect(server.commands.some((line) => /^MAIL/.test(line))).toBe(false)
  })

  test('a certificate for another name is refused', async () => {
    const other = authority.issue({
      keyType: 'ec256',
      domains: ['elsewhere.example'],
      extendedKeyUsage: [serverAuth],
    })
    const server = await aServer({ tls: { key: other.privateKeyPem, cert: other.certificatePem } })
    const { outcome } = await send(
      anEdge({
        routes: [{ domain: '*', url: `smtp://localhost:${server.port}`, ca: authority.certificatePem }],
      }),
    )
    expect(outcome).toMatchObject({ outcome: 'insecure', because: expect.stringContaining('ALTNAME') })
  })

  test('a bad certificate on smtps:// is insecure, not unreachable', async () => {
    const server = await aServer({ tls, implicitTls: true })
    const { outcome } = await send(
      anEdge({ routes: [{ domain: '*', url: `smtps://localhost:${server.port}` }] }),
    )
    expect(outcome).toMatchObject({ outcome: 'insecure' })
  })

  test('TLS 1.1 is refused', async () => {
    const server = await aServer({ tls: { ...tls, maxVersion: 'TLSv1.1' } })
    const { outcome } = await send(anEdge({ port: server.port, route: secured }))
    expect(outcome).toMatchObject({ outcome: 'insecure' })
  })

  test('opportunistic takes TLS where offered, and clear text where refused, absent or broken', async () => {
    const route = { starttls: 'opportunistic' as const }
    for (const script of [
      { tls },
      {},
      { extensions: ['STARTTLS'] },
      { tls: { ...tls, maxVersion: 'TLSv1.1' as const } },
    ] satisfies Script[]) {
      const server = await aServer(script)
      expect((await send(anEdge({ port: server.port, route }))).outcome).toMatchObject({
        outcome: 'accepted',
      })
      expect(server.mails).toEqual([small])
    }
  })
})

describe('our own side', () => {
  test.each([
    ['shorter than announced', small.subarray(0, 10), small.length],
    ['longer than announced', small, 10],
    ['with a bare LF', Buffer.from('a\nb\r\n'), 5],
    ['with a bare CR', Buffer.from('a\rb\r\n'), 5],
    ['without a final CRLF', Buffer.from('ab'), 2],
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
})

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
      answer: ({ verb, mails }) => (verb === 'MAIL' && mails === 1 ? (answer as Answer) : undefined),
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
