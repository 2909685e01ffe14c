import { describe, expect, test } from '@jest/globals'
import { anEdge, aServer, authority, says, send, small, tls } from './an-edge.ts'
import { serverAuth } from '../pki/pki.ts'
import type { Script } from './scripted-smtp.ts'

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

  test('opportunistic keeps a TLS whose certificate nobody vouches for, instead of clear text', async () => {
    const server = await aServer({ tls })
    const route = { domain: '*', url: `smtp://localhost:${server.port}`, starttls: 'opportunistic' as const }
    expect((await send(anEdge({ routes: [route] }))).outcome.outcome).toBe('accepted')
    expect(server.sessions()).toBe(1)
    expect(server.commands.map((line) => line.split(/[ :]/)[0])).toEqual([
      'EHLO',
      'STARTTLS',
      'EHLO',
      'MAIL',
      'RCPT',
      'DATA',
    ])
  })

  test.each([
    ['expired', { notBefore: new Date('2020-01-01'), notAfter: new Date('2021-01-01') }],
    ['not valid yet', { notBefore: new Date('2090-01-01'), notAfter: new Date('2091-01-01') }],
  ])(
    'a certificate that is %s is refused where it must verify, taken where it need not',
    async (_, dates) => {
      const old = authority.issue({
        keyType: 'ec256',
        domains: ['localhost'],
        extendedKeyUsage: [serverAuth],
        ...dates,
      })
      const server = await aServer({ tls: { key: old.privateKeyPem, cert: old.certificatePem } })
      const route = { domain: '*', url: `smtp://localhost:${server.port}`, ca: authority.certificatePem }
      expect((await send(anEdge({ routes: [route] }))).outcome).toMatchObject({ outcome: 'insecure' })
      expect(server.mails).toEqual([])
      expect((await send(anEdge({ routes: [{ ...route, verify: false }] }))).outcome.outcome).toBe('accepted')
    },
  )

  test('answers slipped in before the handshake are not believed', async () => {
    // NO STARTTLS, CVE-2021-33515: what comes in clear text behind 220 must not count inside TLS.
    const server = await aServer({
      tls,
      answer: ({ verb }) =>
        verb === 'STARTTLS' ? '220 go ahead\r\n250-evil.example\r\n250 SIZE 1' : undefined,
    })
    const { outcome } = await send(anEdge({ port: server.port, route: secured }), { content: small })
    expect(outcome).toMatchObject({ outcome: 'accepted' })
    expect(server.mails).toEqual([small])
  })
})
