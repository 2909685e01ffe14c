import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals'
import type { Edge, Permission, RecipientSubmission } from '../../src/edge/edge.ts'
import { makeSmtpEdge } from '../../src/edge/smtp-edge.ts'
import { silentLog } from '../../src/lib/log.ts'
import { open } from '../../src/seal/open.ts'
import { listenForMail } from '../../src/tracking/inbound-listener.ts'
import { readNotification } from '../../src/tracking/read-notification.ts'
import { makeRoot, serverAuth } from '../pki/pki.ts'
import { aDocument, anOrder, aTown, ellensPhr, sealedHere, sender, type Town } from '../seal/an-order.ts'
import { ownKey } from '../seal/own-keys.ts'
import { startPostfix, type Postfix } from './postfix-server.ts'

const town: Town = aTown()
const authority = makeRoot({ keyType: 'ec256', name: 'Mail Root' })
const server = authority.issue({
  keyType: 'ec256',
  domains: ['localhost'],
  extendedKeyUsage: [serverAuth],
})

const elsewhere = authority.issue({
  keyType: 'ec256',
  domains: ['mx.elsewhere.example'],
  extendedKeyUsage: [serverAuth],
})
const stranger = makeRoot({ keyType: 'ec256', name: 'Another Root' }).issue({
  keyType: 'ec256',
  domains: ['localhost'],
  extendedKeyUsage: [serverAuth],
})

interface Arrival {
  readonly envelopeFrom: string
  readonly envelopeTo: readonly string[]
  readonly content: Buffer
}

/** What Postfix delivered to us: by LMTP for Ellen’s domain, by SMTP with TLS for our own. */
const arrivals: Arrival[] = []
let wake = (): void => {}
let failuresLeft = 0
const stops: (() => Promise<void>)[] = []
let postfix: Postfix
let edges: Edge[] = []

beforeAll(async () => {
  const listen = async (protocol: 'smtp' | 'lmtp', address: string) => {
    const listener = await listenForMail(
      {
        protocol,
        at: { host: '127.0.0.1', port: 0 },
        recipients: { addresses: [address] },
        name: 'direct.ashby.example',
        ...(protocol === 'lmtp'
          ? {}
          : { tls: { certificate: server.certificatePem, privateKey: server.privateKeyPem } }),
      },
      async ({ envelopeFrom, envelopeTo, chunks }) => {
        const content: Buffer[] = []
        for await (const chunk of chunks) content.push(chunk)
        if (failuresLeft-- > 0) throw new Error('the database is away')
        arrivals.push({ envelopeFrom, envelopeTo, content: Buffer.concat(content) })
        wake()
      },
      silentLog,
    )
    stops.push(() => listener.close())
    return (listener.at as { port: number }).port
  }
  const lmtp = await listen('lmtp', ellensPhr)
  const smtp = await listen('smtp', sender)
  postfix = await startPostfix({
    files: {
      'server.pem': server.privateKeyPem + server.certificatePem,
      'authority.pem': authority.certificatePem,
      'elsewhere.pem': elsewhere.privateKeyPem + elsewhere.certificatePem,
      'stranger.pem': stranger.privateKeyPem + stranger.certificatePem,
      transport: `direct.somephr.example lmtp:inet:127.0.0.1:${lmtp}\ndirect.ashby.example smtp:[127.0.0.1]:${smtp}\n`,
      recipients: [
        'closed@direct.somephr.example 550 5.1.1 no such mailbox',
        'full@direct.somephr.example 452 4.2.2 mailbox full',
        '',
      ].join('\n'),
    },
    main: {
      relay_domains: 'direct.somephr.example, direct.ashby.example',
      transport_maps: 'texthash:$folder/transport',
      smtpd_recipient_restrictions:
        'check_recipient_access texthash:$folder/recipients, reject_unauth_destination',
      smtpd_tls_security_level: 'encrypt',
      smtpd_tls_chain_files: '$folder/server.pem',
      smtp_tls_security_level: 'encrypt',
      message_size_limit: '60000000',
      delay_warning_time: '1s',
    },
    ports: [
      {},
      { smtpd_tls_security_level: 'none' },
      { message_size_limit: '10000' },
      { smtpd_tls_chain_files: '$folder/elsewhere.pem' },
      { smtpd_tls_chain_files: '$folder/stranger.pem' },
    ],
  })
  stops.push(() => postfix.stop())
}, 60_000)
afterEach(async () => {
  for (const edge of edges) await edge.close()
  edges = []
  arrivals.length = 0
  failuresLeft = 0
})
afterAll(async () => {
  for (const stop of stops) await stop()
}, 60_000)

async function arrival(isIt: (arrival: Arrival) => boolean = () => true): Promise<Arrival> {
  for (;;) {
    const found = arrivals.find(isIt)
    if (found !== undefined) return found
    await new Promise<void>((resolve) => (wake = resolve))
  }
}

interface Wishes {
  readonly to?: readonly string[]
  /** Which of the ports of Postfix. */
  readonly port?: number
  readonly permission?: Permission
}

async function send(
  sealed: Buffer,
  { to = [ellensPhr], port = 0, permission = { permitted: true } }: Wishes = {},
): Promise<readonly RecipientSubmission[]> {
  const edge = makeSmtpEdge({
    type: 'smtp',
    name: 'direct.ashby.example',
    routes: [{ domain: '*', url: `smtp://localhost:${postfix.ports[port]}`, ca: authority.certificatePem }],
  })
  edges.push(edge)
  const { recipients } = await edge.submit({
    envelope: { from: sender, to },
    bytes: sealed.length,
    async *open() {
      for (let at = 0; at < sealed.length; at += 65_536) yield sealed.subarray(at, at + 65_536)
    },
    beforeData: async () => permission,
  })
  return recipients
}

const sealedTo = (to: string, document = 'ccd') =>
  sealedHere(anOrder(town, { to: [to], documents: [aDocument(Buffer.from(document))] }), [town.ashby])

describe('what the edge hands to a Postfix', () => {
  test.each([
    ['a small document', 1_000],
    ['25 MB of document', 25 * 1024 * 1024],
  ])(
    'is delivered byte for byte over verified STARTTLS, and opens: %s',
    async (_, octets) => {
      const document = Buffer.alloc(octets, '.\r\n<ClinicalDocument/>\n')
      const sealed = await sealedHere(anOrder(town, { documents: [aDocument(document)] }), [town.ashby])
      expect(await send(sealed)).toEqual([
        {
          recipient: ellensPhr,
          outcome: 'accepted',
          reply: expect.stringMatching(/^250 2\.0\.0 Ok: queued as /),
          nextHop: `localhost:${postfix.ports[0]}`,
        },
      ])
      const { envelopeFrom, envelopeTo, content } = await arrival()
      expect([envelopeFrom, envelopeTo]).toEqual([sender, [ellensPhr]])
      // Before it stand the trace fields that every mail server adds.
      const traced = content.length - sealed.length
      expect(content.subarray(traced).equals(sealed)).toBe(true)
      expect(content.subarray(0, traced).toString()).toContain('with ESMTPS')
      const opened = await open(content, { keys: [ownKey(town.phr)] })
      expect(opened.opened).toBe(true)
    },
    60_000,
  )

  test('goes nowhere without STARTTLS', async () => {
    const [outcome] = await send(await sealedTo(ellensPhr), { port: 1 })
    expect(outcome).toMatchObject({ outcome: 'insecure', because: expect.stringContaining('STARTTLS') })
  })

  test.each([
    ['for another name', 3],
    ['of an authority that the route does not name', 4],
  ])('goes nowhere where the server has a certificate %s', async (_, port) => {
    const [outcome] = await send(await sealedTo(ellensPhr), { port })
    expect(outcome).toMatchObject({ outcome: 'insecure', because: expect.stringMatching(/certificate/i) })
    expect(arrivals).toEqual([])
  })

  test('has an outcome for each recipient, in the words of Postfix', async () => {
    const to = [
      'closed@direct.somephr.example',
      ellensPhr,
      'full@direct.somephr.example',
      'x@elsewhere.example',
    ]
    expect(await send(await sealedTo(ellensPhr), { to })).toEqual([
      expect.objectContaining({ outcome: 'refused', code: 550, reply: expect.stringContaining('5.1.1') }),
      expect.objectContaining({ outcome: 'accepted' }),
      expect.objectContaining({ outcome: 'deferred', code: 452, reply: expect.stringContaining('4.2.2') }),
      expect.objectContaining({
        outcome: 'refused',
        code: 554,
        reply: expect.stringContaining('Relay access denied'),
      }),
    ])
    expect((await arrival()).envelopeTo).toEqual([ellensPhr])
  })

  test('is refused without being sent where it is larger than the announced SIZE', async () => {
    const [outcome] = await send(await sealedTo(ellensPhr, 'x'.repeat(20_000)), { port: 2 })
    expect(outcome).toMatchObject({
      outcome: 'refused',
      code: 552,
      reply: expect.stringContaining('RFC 1870'),
    })
  })

  test('is nothing at all where the authorization was withdrawn at the last moment', async () => {
    const withdrawn = await sealedTo(ellensPhr, 'withdrawn')
    const permission = { permitted: false, because: 'revoked' } as const
    expect(await send(withdrawn, { permission })).toEqual([
      { recipient: ellensPhr, outcome: 'stopped', because: 'revoked' },
    ])
    await postfix.logged(/lost connection after DATA/)
    const next = await sealedTo(ellensPhr, 'permitted')
    await send(next)
    expect((await arrival()).content.subarray(-next.length).equals(next)).toBe(true)
    expect(arrivals).toHaveLength(1)
  })
})

describe('what a Postfix brings to the listener', () => {
  test('is a DSN that we can read, for a recipient that nobody knows', async () => {
    const unknown = 'nobody.here@direct.somephr.example'
    const sealed = await sealedTo(unknown)
    expect(await send(sealed, { to: [unknown] })).toMatchObject([{ outcome: 'accepted' }])
    const dsn = await arrival(({ envelopeTo }) => envelopeTo.includes(sender))
    expect(dsn.envelopeFrom).toBe('')
    expect(await readNotification(dsn.content)).toEqual({
      kind: 'dsn',
      messageId: expect.stringMatching(/^<.+@mx\.relay\.example>$/),
      reports: [
        {
          originalMessageId: '<tx-7f3c@direct.ashby.example>',
          recipient: unknown,
          disposition: 'failed',
          text: expect.stringMatching(/^failed; 5\.1\.1; smtp; 550 .*no such mailbox here/),
        },
      ],
    })
  }, 30_000)

  test('comes again after 451 and is stored once; the warning about it moves nothing', async () => {
    failuresLeft = 2
    const sealed = await sealedTo(ellensPhr)
    expect(await send(sealed)).toMatchObject([{ outcome: 'accepted' }])
    const record = await arrival(({ envelopeTo }) => envelopeTo.includes(ellensPhr))
    expect(record.content.subarray(-sealed.length).equals(sealed)).toBe(true)
    await postfix.logged(/451 .*not stored, please try again/)
    expect(arrivals.filter(({ envelopeTo }) => envelopeTo.includes(ellensPhr))).toHaveLength(1)
  }, 60_000)
})
