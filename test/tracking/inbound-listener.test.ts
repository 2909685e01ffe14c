import { describe, expect, test } from '@jest/globals'
import { makeRoot, serverAuth } from '../pki/pki.ts'
import { aGate, aListener } from './a-listener.ts'
import { ellen, ours } from './mail-peer.ts'

describe('who is here', () => {
  test.each([
    ellen,
    'postmaster@direct.ashby.example',
    'transmit@elsewhere.example',
    'transmit@sub.direct.ashby.example',
    'transmit@ashby.example',
    `${ours}.evil.example`,
    'x-transmit@direct.ashby.example',
    'eve%elsewhere.example@direct.ashby.example',
    '"transmit@direct.ashby.example"@evil.example',
    `@evil.example:${ellen}`,
  ])('not %s: nothing is relayed and nothing is taken', async (address) => {
    const { peer, begun } = await aListener()
    const stranger = await peer()
    await stranger.say('EHLO x.example')
    await stranger.say(`MAIL FROM:<${ellen}>`)
    expect(await stranger.say(`RCPT TO:<${address}>`)).toMatch(/^5(50|01) /)
    expect(await stranger.say('DATA')).toMatch(/^503 /)
    expect(begun()).toBe(0)
  })

  test('our address, in any spelling of its letters', async () => {
    const { peer, stored } = await aListener()
    const one = await peer()
    await one.begin([ours.toUpperCase()])
    expect(await one.say('Subject: a\r\n\r\nb\r\n.')).toMatch(/^250 /)
    expect(stored).toEqual([
      {
        envelopeFrom: ellen,
        envelopeTo: [ours.toUpperCase()],
        peer: '127.0.0.1',
        content: 'Subject: a\r\n\r\nb\r\n',
      },
    ])
  })

  test('a mail to us and to others comes to us alone', async () => {
    const { peer, stored } = await aListener()
    const one = await peer()
    await one.say('EHLO x.example')
    await one.say('MAIL FROM:<>')
    expect(await one.say(`RCPT TO:<${ellen}>`)).toMatch(/^550 /)
    expect(await one.say(`RCPT TO:<${ours}>`)).toMatch(/^250 /)
    await one.say('DATA')
    expect(await one.say('\r\n.')).toMatch(/^250 /)
    expect(stored).toMatchObject([{ envelopeFrom: '', envelopeTo: [ours] }])
  })

  test('nobody logs in, and no jokes are told', async () => {
    const { peer } = await aListener()
    const one = await peer()
    const offers = await one.say('EHLO x.example')
    expect(offers).toMatch(/^250[ -]SIZE \d+$/m)
    expect(offers).not.toMatch(/AUTH|STARTTLS|SMTPUTF8|XCLIENT|XFORWARD/)
    for (const command of ['AUTH PLAIN AGEAYg==', 'STARTTLS', 'WIZ x', 'SHELL', 'KILL'])
      expect(await one.say(command)).toMatch(/^50[0-4] /)
    for (const command of ['XCLIENT ADDR=1.2.3.4', 'XFORWARD ADDR=1.2.3.4'])
      expect(await one.say(command)).toMatch(/^5\d\d /)
  })

  test('a browser that was talked into speaking SMTP is sent away', async () => {
    const { peer } = await aListener()
    const one = await peer()
    expect(await one.say('POST / HTTP/1.1')).toMatch(/^421 /)
    expect(await one.reply()).toBe('closed')
  })
})

describe('what is promised', () => {
  test('250 is said after the mail is stored, not before', async () => {
    const gate = aGate()
    const reached = aGate()
    const { peer, stored } = await aListener({}, () => (reached.open(), gate.opens))
    const one = await peer()
    await one.begin()
    let isAnswered = false
    const answer = one.say('hello\r\n.').then((text) => ((isAnswered = true), text))
    await reached.opens
    // Another connection is served from greeting to 354 meanwhile: had 250 been sent, it would be here.
    await (await peer()).begin()
    expect([isAnswered, stored.length]).toEqual([false, 0])
    gate.open()
    expect(await answer).toMatch(/^250 /)
    expect(stored).toHaveLength(1)
  })

  test('451 where it could not be stored, and the same connection may try again', async () => {
    let isDown = true
    const { peer, stored } = await aListener({}, async () => {
      if (isDown) throw new Error('connection to the database refused, host db.internal')
    })
    const one = await peer()
    await one.begin()
    const answer = await one.say('hello\r\n.')
    expect(answer).toMatch(/^451 /)
    expect(answer).not.toContain('db.internal')
    isDown = false
    await one.begin()
    expect(await one.say('hello\r\n.')).toMatch(/^250 /)
    expect(stored).toHaveLength(1)
  })

  test('a mail that breaks off is not stored', async () => {
    const gate = aGate()
    const { peer, stored, listener } = await aListener({}, () => (gate.open(), Promise.resolve()))
    const cut = await peer()
    await cut.begin()
    cut.write('half of it\r\n')
    cut.hangUp()
    const large = await peer()
    await large.begin()
    large.write(`${'x'.repeat(76)}\r\n`.repeat(10_000))
    large.hangUp()
    await listener.close()
    expect(stored).toEqual([])
  })

  test.each([
    ['LF dot CRLF', 'a\n.\r\nMAIL FROM:<eve@evil.example>\r\n'],
    ['CRLF dot LF', 'a\r\n.\nMAIL FROM:<eve@evil.example>\r\n'],
    ['LF dot LF', 'a\n.\nMAIL FROM:<eve@evil.example>\r\n'],
    ['CR dot CR', 'a\r.\rMAIL FROM:<eve@evil.example>\r\n'],
  ])('%s ends no mail: nothing is smuggled in behind it', async (_, content) => {
    const { peer, stored } = await aListener()
    const one = await peer()
    await one.begin()
    one.write(content)
    expect(await one.say('.')).toMatch(/^250 /)
    expect(stored).toEqual([expect.objectContaining({ content })])
  })

  test('dots at line starts arrive as they were', async () => {
    const { peer, stored } = await aListener()
    const one = await peer()
    await one.begin()
    one.write('..\r\n...\r\n..x\r\n')
    expect(await one.say('.')).toMatch(/^250 /)
    expect(stored[0]!.content).toBe('.\r\n..\r\n.x\r\n')
  })
})

describe('STARTTLS', () => {
  const certificate = makeRoot({ keyType: 'ec256', name: 'Inbound Test Root' }).issue({
    keyType: 'ec256',
    domains: ['direct.ashby.example'],
    extendedKeyUsage: [serverAuth],
  })
  const tls = { certificate: certificate.certificatePem, privateKey: certificate.privateKeyPem }

  test('is offered where there is a certificate, and carries mail', async () => {
    const { peer, stored } = await aListener({ tls })
    const one = await peer()
    expect(await one.say('EHLO x.example')).toContain('STARTTLS')
    await one.secure()
    expect(await one.say('EHLO x.example')).not.toContain('STARTTLS')
    await one.begin()
    expect(await one.say('secret\r\n.')).toMatch(/^250 /)
    expect(stored).toHaveLength(1)
  })

  test('forgets what was said before it, commands behind it included', async () => {
    const { peer } = await aListener({ tls })
    const one = await peer()
    await one.say('EHLO x.example')
    await one.say('MAIL FROM:<eve@evil.example>')
    await one.secure()
    expect(await one.say(`RCPT TO:<${ours}>`)).toMatch(/^503 /)
    const other = await peer()
    await other.say('EHLO x.example')
    other.write('STARTTLS\r\nMAIL FROM:<eve@evil.example>\r\n')
    expect(await other.reply()).toMatch(/^220 /)
    other.hangUp()
  })
})
