import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { readCrl, verifyCrl } from '../../src/trust/crl.ts'
import { extension, makeCrl, serialOf } from '../pki/crl.ts'
import { octetString } from '../pki/der.ts'
import { makeRoot } from '../pki/pki.ts'
import { aCertificate, ago, ahead, at, crlUrl, dayMs, hourMs, otherUrl } from '../pki/revocations/crl-case.ts'
import { everyCrl } from '../pki/revocations/every-crl.ts'
import { certificateOf, statusOf } from './revocation-checks.ts'

for (const { about, cases } of everyCrl)
  describe(about, () => {
    test.each(cases.map((one) => [one.what, one.expected, one] as const))(
      '%s: %s',
      async (_, expected, given) => {
        const places = {
          [crlUrl]: given.complete,
          ...(given.delta === undefined ? {} : { [otherUrl]: given.delta }),
        }
        const status = await statusOf(places, given.certificate, given.issuer, given.at)
        expect(status).toMatchObject({
          status: expected,
          ...(given.because === undefined ? {} : { because: expect.stringMatching(given.because) }),
          ...(expected === 'good' ? { source: crlUrl, asOf: expect.any(Date) } : {}),
        })
      },
    )
  })

test('a revoked certificate is told with its day and its reason', async () => {
  const { issuer, issued, serial } = aCertificate()
  const list = makeCrl(issuer, {
    revoked: [{ serial, reason: 'cessationOfOperation', revokedAt: ago(dayMs) }],
  })
  expect(await statusOf({ [crlUrl]: list }, issued, issuer, at)).toEqual({
    status: 'revoked',
    source: crlUrl,
    since: ago(dayMs),
    reason: 'cessationOfOperation',
  })
})

test('lists for some reasons each are good together and only together', async () => {
  const points = [
    { names: [{ uri: crlUrl }], reasons: ['keyCompromise', 'cACompromise'] as const },
    { names: [{ uri: otherUrl }] },
  ]
  const { issuer, issued, serial } = aCertificate({ points })
  const first = makeCrl(issuer, { issuingPoint: { onlyReasons: ['keyCompromise', 'cACompromise'] } })
  const rest = {
    onlyReasons: [
      'affiliationChanged',
      'superseded',
      'cessationOfOperation',
      'certificateHold',
      'privilegeWithdrawn',
      'aACompromise',
    ],
  } as const
  const second = makeCrl(issuer, { thisUpdate: ago(2 * hourMs), issuingPoint: rest })
  const asked = (places: Parameters<typeof statusOf>[0]) => statusOf(places, issued, issuer, at)
  // As old as the oldest of them.
  expect(await asked({ [crlUrl]: first, [otherUrl]: second })).toMatchObject({
    status: 'good',
    asOf: ago(2 * hourMs),
  })
  expect(await asked({ [crlUrl]: first, [otherUrl]: 404 })).toMatchObject({ status: 'unknown' })
  expect(await asked({ [otherUrl]: second })).toMatchObject({ status: 'unknown' })
  const listed = makeCrl(issuer, { issuingPoint: rest, revoked: [{ serial, reason: 'superseded' }] })
  expect(await asked({ [crlUrl]: first, [otherUrl]: listed })).toMatchObject({ status: 'revoked' })
})

test('an authority is looked up in lists for authorities, and not in those for users', async () => {
  const root = makeRoot({ keyType: 'ec256' })
  const authority = root.issueAuthority({ keyType: 'ec256', crlUrls: [crlUrl] })
  const asked = (list: Buffer) => statusOf({ [crlUrl]: list }, authority, root, at)
  expect(await asked(makeCrl(root, { issuingPoint: { onlyAuthorities: true } }))).toMatchObject({
    status: 'good',
  })
  expect(await asked(makeCrl(root, { issuingPoint: { onlyUsers: true } }))).toMatchObject({
    status: 'unknown',
    because: expect.stringContaining('not for authorities'),
  })
})

test('in an indirect list an issuer counts until the next one is named', async () => {
  const { issuer, issued, serial } = aCertificate()
  const somebodyElse = makeRoot({ keyType: 'ec256' }).subjectName
  const asked = (revoked: NonNullable<Parameters<typeof makeCrl>[1]>['revoked']) =>
    statusOf(
      { [crlUrl]: makeCrl(issuer, { issuingPoint: { indirect: true }, revoked: revoked! }) },
      issued,
      issuer,
      at,
    )
  expect(await asked([{ serial: 5n, certificateIssuer: somebodyElse }, { serial }])).toMatchObject({
    status: 'good',
  })
  expect(
    await asked([
      { serial: 5n, certificateIssuer: somebodyElse },
      { serial: 6n, certificateIssuer: issuer.subjectName },
      { serial },
    ]),
  ).toMatchObject({ status: 'revoked' })
  expect(
    await statusOf(
      { [crlUrl]: makeCrl(issuer, { revoked: [{ serial: 5n, certificateIssuer: somebodyElse }] }) },
      issued,
      issuer,
      at,
    ),
  ).toMatchObject({ status: 'unknown', because: expect.stringContaining('not indirect') })
})

test('in a list of 100,000 entries the first, the last and the middle one are found, and no other', () => {
  const root = makeRoot({ keyType: 'ec256' })
  const leaf = root.issue({ keyType: 'ec256' })
  const revokedAt = ago(dayMs)
  const serials = Array.from({ length: 100_000 }, (_, n) => BigInt(n) * 7919n + 2n ** 120n)
  const list = makeCrl(root, {
    revoked: serials.map((serial) => ({ serial, revokedAt, reason: 'superseded' })),
  })
  const reading = readCrl(list)
  if (!reading.readable) throw new Error(reading.because)
  const verification = verifyCrl(reading.crl, certificateOf(root))
  if (!verification.verified) throw new Error(verification.because)
  const { entries } = verification.crl
  const find = (serial: bigint) => {
    const hex = serial.toString(16)
    return entries.find(hex.length % 2 === 1 ? `0${hex}` : hex, certificateOf(root).subject)
  }
  expect(entries.count).toBe(100_000)
  for (const n of [0, 50_000, 99_999])
    expect(find(serials[n]!)).toEqual([{ revokedAt, reason: 'superseded' }])
  expect(find(serials[0]! + 1n)).toEqual([])
  expect(find(serialOf(leaf.certificate))).toEqual([])
})

test('a list of more than 16 MiB, whose length takes a fourth octet, is read; one of more than 20 MiB is not', () => {
  const issuer = makeRoot({ keyType: 'ec256' })
  const list = (megabytes: number) =>
    makeCrl(issuer, {
      extensions: [
        extension('1.3.6.1.4.1.99999.1', false, octetString(Buffer.alloc(megabytes * 1024 * 1024))),
      ],
    })
  expect(readCrl(list(17))).toMatchObject({ readable: true })
  expect(readCrl(list(20))).toMatchObject({
    readable: false,
    because: expect.stringContaining('20971520 octets'),
  })
})

test('a list in PEM is read as well', async () => {
  const { issuer, issued } = aCertificate()
  const lines = makeCrl(issuer)
    .toString('base64')
    .match(/.{1,64}/g)!
  const pem = Buffer.from(`-----BEGIN X509 CRL-----\n${lines.join('\n')}\n-----END X509 CRL-----\n`)
  expect(await statusOf({ [crlUrl]: pem }, issued, issuer, at)).toMatchObject({ status: 'good' })
})

test.each([
  ['nothing', Buffer.alloc(0)],
  ['a page of HTML', Buffer.from('<html><body>Not found</body></html>')],
  ['a certificate', makeRoot({ keyType: 'ec256' }).certificate],
  [
    'a list with something after it',
    Buffer.concat([makeCrl(makeRoot({ keyType: 'ec256' })), Buffer.from([0])]),
  ],
  ['a list that is cut off', makeCrl(makeRoot({ keyType: 'ec256' })).subarray(0, -3)],
])('%s is no list', (_, bytes) => {
  expect(readCrl(bytes)).toMatchObject({ readable: false, because: expect.any(String) })
})

test('a list that ended and a grace: good and said to be stale until grace is over, then unknown', async () => {
  const { issuer, issued } = aCertificate()
  const places = { [crlUrl]: makeCrl(issuer, { thisUpdate: ago(5 * dayMs), nextUpdate: ago(2 * hourMs) }) }
  expect(await statusOf(places, issued, issuer, at, { graceMs: 3 * hourMs })).toMatchObject({
    status: 'good',
    isStale: true,
    nextUpdate: ago(2 * hourMs),
  })
  expect(await statusOf(places, issued, issuer, ahead(2 * hourMs), { graceMs: 3 * hourMs })).toMatchObject({
    status: 'unknown',
    because: expect.stringContaining('the grace after it is over'),
  })
})

test('the stale list of the Java agent is read, and proves nothing any more', () => {
  // The samples are not ours to ship: without them this checks nothing.
  const corpus = process.env['BLUEPOST_CORPUS']
  if (corpus === undefined) return
  const reading = readCrl(readFileSync(join(corpus, 'direct/java-agent/crl/certs.crl')))
  if (!reading.readable) throw new Error(reading.because)
  const { crl } = reading
  expect(crl.nextUpdate).toEqual(new Date('2010-10-21T13:45:30Z'))
  expect(crl.issuer.emails).toEqual(['beau-ca@nologs.org'])
  const namesake = makeRoot({ subject: crl.issuer.der })
  expect(verifyCrl(crl, certificateOf(namesake))).toMatchObject({
    verified: false,
    because: expect.stringContaining('SHA1'),
  })
})
