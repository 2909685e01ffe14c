import { describe, expect, test } from '@jest/globals'
import type { RecipientReport } from '../../src/domain/notification.ts'
import {
  acceptNotification,
  voicesFor,
  type NotificationCircumstances,
} from '../../src/tracking/accept-notification.ts'

const ellen = 'ellen.ross@direct.somephr.example'
const messageId = '<tx-7f3c@direct.ashby.example>'
const processed: RecipientReport = {
  originalMessageId: messageId,
  recipient: ellen,
  disposition: 'processed',
  text: 'automatic-action/MDN-sent-automatically; processed',
}
const failed: RecipientReport = { ...processed, disposition: 'failed', text: 'failed; 5.5.0' }
const sent: NotificationCircumstances = {
  kind: 'mdn',
  signers: [ellen],
  envelopeFrom: ellen,
  ourAddresses: ['transmit@direct.ashby.example'],
  isFromOwnRelay: false,
  transmission: { messageId, destination: ellen, isAwaitingNextHop: true },
}
const judge = (circumstances: Partial<NotificationCircumstances> = {}, report: RecipientReport = processed) =>
  acceptNotification(report, { ...sent, ...circumstances })
const applied = (disposition: string, voice = 'signer') => ({ effect: 'apply', disposition, voice })
const ignored = (words: RegExp) => ({ effect: 'ignore', because: expect.stringMatching(words) })

describe('whose signature counts', () => {
  test.each([
    ['the recipient’s own address', ellen],
    ['the same address in capitals', ellen.toUpperCase()],
    ['the recipient’s domain', 'direct.somephr.example'],
    ['the domain in capitals', 'Direct.SomePHR.Example'],
  ])('%s speaks for the recipient', (_, signer) => {
    expect(judge({ signers: [signer] })).toEqual(applied('processed'))
    expect(judge({ signers: [signer], kind: 'dsn' }, failed)).toEqual(applied('failed'))
  })

  test.each([
    ['another mailbox of the domain', 'bob.lin@direct.somephr.example'],
    ['the same mailbox elsewhere', 'ellen.ross@direct.elsewhere.example'],
    ['another domain', 'direct.elsewhere.example'],
    ['the parent domain', 'somephr.example'],
    ['a subdomain', 'a.direct.somephr.example'],
    ['a domain that ends the same', 'evil-direct.somephr.example'],
    ['an address that contains the recipient', `x${ellen}`],
    ['an address that goes on after it', `${ellen}.evil.example`],
    ['a local part that is the domain', 'direct.somephr.example@evil.example'],
    ['our own address', 'transmit@direct.ashby.example'],
    ['an empty name', ''],
    ['the recipient without its domain', 'ellen.ross@'],
  ])('%s does not', (_, signer) => {
    for (const kind of ['mdn', 'dsn'] as const)
      expect(judge({ signers: [signer], kind })).toEqual(ignored(/does not speak for/))
  })

  test.each(['postmaster', 'mailer-daemon', 'MAILER-DAEMON'])(
    'the mail server’s %s speaks for its mailboxes in a DSN, never in an MDN',
    (local) => {
      const signers = [`${local}@direct.somephr.example`]
      expect(judge({ signers, kind: 'dsn' }, failed)).toEqual(applied('failed'))
      expect(judge({ signers, kind: 'mdn' }, failed)).toEqual(ignored(/does not speak for/))
      expect(judge({ signers: [`${local}@direct.elsewhere.example`], kind: 'dsn' }, failed)).toEqual(
        ignored(/does not speak for/),
      )
    },
  )

  test('one fitting signer among several is enough, in any order', () => {
    const others = ['direct.elsewhere.example', 'bob.lin@direct.somephr.example']
    expect(judge({ signers: [...others, ellen] })).toEqual(applied('processed'))
    expect(judge({ signers: [ellen, ...others] })).toEqual(applied('processed'))
    expect(judge({ signers: others })).toEqual(ignored(/does not speak for/))
  })

  test('nobody’s signature counts for nothing, and an unsigned bounce is called one', () => {
    expect(judge({ signers: [] })).toEqual(ignored(/not signed by anyone trusted/))
    expect(judge({ signers: [], envelopeFrom: '', kind: 'dsn' }, failed)).toEqual(ignored(/unsigned bounce/))
  })

  test('the voices asked for a certificate are exactly those that are believed', () => {
    for (const kind of ['mdn', 'dsn'] as const)
      for (const voice of voicesFor(kind, ellen))
        expect(judge({ kind, signers: [voice] }, failed)).toEqual(applied('failed'))
    expect(voicesFor('mdn', ellen)).toEqual([ellen])
  })
})

describe('the bounce of a relay of our own', () => {
  const bounce = { kind: 'dsn', signers: [], envelopeFrom: '', isFromOwnRelay: true } as const

  test('says that the message failed, while it may still lie at a relay', () => {
    expect(judge(bounce, failed)).toEqual(applied('failed', 'relay'))
  })

  test('never says that it arrived', () => {
    for (const disposition of ['processed', 'delivered'] as const)
      expect(judge(bounce, { ...failed, disposition })).toEqual(ignored(/not that it arrived/))
  })

  test('says nothing once the recipient’s side was heard, or while nothing has left', () => {
    const transmission = { ...sent.transmission!, isAwaitingNextHop: false }
    expect(judge({ ...bounce, transmission }, failed)).toEqual(ignored(/may still lie/))
  })

  test.each([
    ['another peer', { isFromOwnRelay: false }],
    ['a sender of its own', { envelopeFrom: 'postmaster@relay.example' }],
    ['an MDN', { kind: 'mdn' as const }],
  ])('is none with %s', (_, changes) => {
    expect(judge({ ...bounce, ...changes }, failed)).toEqual(ignored(/anybody could have written it/))
  })

  test('is about what was sent to that recipient, like every other', () => {
    const { transmission: _, ...unknown } = { ...sent, ...bounce }
    expect(acceptNotification(failed, unknown)).toEqual(ignored(/sent no message/))
    expect(judge(bounce, { ...failed, recipient: 'bob.lin@direct.somephr.example' })).toEqual(
      ignored(/another recipient/),
    )
  })
})

describe('which transmission it is about', () => {
  test('is said by the Original-Message-ID, brackets or blanks lost on the way or not', () => {
    for (const originalMessageId of ['tx-7f3c@direct.ashby.example', '< tx-7f3c@direct.ashby.example >'])
      expect(judge({}, { ...processed, originalMessageId })).toEqual(applied('processed'))
    for (const originalMessageId of ['<TX-7F3C@direct.ashby.example>', '<tx-7f3@direct.ashby.example>'])
      expect(judge({}, { ...processed, originalMessageId })).toEqual(ignored(/not that of the transmission/))
  })

  test('must be one to the recipient that the report speaks for', () => {
    const bob = 'bob.lin@direct.somephr.example'
    expect(judge({ signers: [bob] }, { ...processed, recipient: bob })).toEqual(ignored(/another recipient/))
    expect(judge({ signers: [ellen] }, { ...processed, recipient: ellen.toUpperCase() })).toEqual(
      applied('processed'),
    )
  })

  test('is unknown where the report does not say, or speaks of what we never sent', () => {
    const { recipient: _, ...nobody } = processed
    const { originalMessageId: __, ...nothing } = processed
    const { transmission: ___, ...unsent } = sent
    expect(judge({}, nobody)).toEqual(ignored(/which recipient/))
    expect(judge({}, nothing)).toEqual(ignored(/which message/))
    expect(acceptNotification(processed, unsent)).toEqual(ignored(/sent no message/))
    expect(acceptNotification({ ...processed, recipient: 'transmit@direct.ashby.example' }, unsent)).toEqual(
      ignored(/notifications are never notified/),
    )
  })
})

test('a report that says nothing moves nothing, whoever signed it', () => {
  const { disposition: _, ...silent } = processed
  expect(judge({}, { ...silent, text: 'delayed; 4.4.7' })).toEqual(ignored(/moves a transmission \(delayed/))
})
