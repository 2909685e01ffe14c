import { describe, expect, test } from '@jest/globals'
import { integer } from '../pki/der.ts'
import { distributionPoints, extension, makeCrl, serialOf } from '../pki/crl.ts'
import { drawKey } from '../pki/keys.ts'
import { makeOcspReply, readOcspQuestion, type OcspWishes } from '../pki/ocsp.ts'
import { makeRoot, type Authority, type CertificateWishes, type Issued } from '../pki/pki.ts'
import { ago, ahead, at, crlUrl, dayMs, hourMs } from '../pki/revocations/crl-case.ts'
import { statusOf } from './revocation-checks.ts'

const ocspUrl = 'http://ocsp.example/'
const ec = { keyType: 'ec256' } as const
const ocspSigning = '1.3.6.1.5.5.7.3.9'

function someone(): { issuer: Authority; issued: Issued; serial: bigint } {
  const issuer = makeRoot(ec)
  const issued = issuer.issue({ ...ec, emails: ['ellen.ross@direct.somephr.example'], ocspUrls: [ocspUrl] })
  return { issuer, issued, serial: serialOf(issued.certificate) }
}

/** A responder that copies the nonce, unless the wishes say otherwise. */
function responder(issuer: Authority, wishes: OcspWishes = {}) {
  return (request: Buffer | undefined) => {
    const { serial, nonce } = readOcspQuestion(request!)
    return makeOcspReply(issuer, serial, { ...(nonce === undefined ? {} : { nonce }), ...wishes })
  }
}

function aDelegate(issuer: Authority, wishes: CertificateWishes = {}): Issued {
  return issuer.issue({
    ...ec,
    name: 'Responder',
    keyUsage: ['digitalSignature'],
    extendedKeyUsage: [ocspSigning],
    extensions: [{ oid: '1.3.6.1.5.5.7.48.1.5', value: Buffer.from([5, 0]) }],
    ...wishes,
  })
}

const unknownOid = '1.3.6.1.4.1.99999.1'

const faults: [string, (issuer: Authority) => OcspWishes, RegExp][] = [
  ['signed by an impostor', () => ({ signWith: drawKey('ec256') }), /not signed by/],
  ['signed with SHA-1', () => ({ signatureDigest: 'sha1' }), /SHA1; SHA-256 or better/],
  ['to another question', () => ({ nonce: Buffer.alloc(32, 1) }), /another question/],
  ['about another certificate', () => ({ serial: 4711n }), /other certificates/],
  [
    'about the same number of a namesake of the authority',
    ({ subjectName }) => ({ certIdIssuer: makeRoot({ ...ec, subject: subjectName }) }),
    /other certificates/,
  ],
  [
    'about the same number of an authority of another name with the same key',
    ({ privateKey }) => ({ certIdIssuer: makeRoot({ ...ec, key: privateKey }) }),
    /other certificates/,
  ],
  ['that ended', () => ({ thisUpdate: ago(3 * dayMs), nextUpdate: ago(dayMs) }), /ended on/],
  ['from tomorrow', () => ({ thisUpdate: ahead(dayMs), nextUpdate: ahead(2 * dayMs) }), /yet to come/],
  ['made tomorrow', () => ({ producedAt: ahead(dayMs) }), /yet to come/],
  [
    'of yesterday that does not say how long it holds',
    () => ({ thisUpdate: ago(dayMs), nextUpdate: null }),
    /until when/,
  ],
  ['that does not know the certificate', () => ({ status: 'unknown' }), /does not know/],
  [
    'with an unknown critical extension',
    () => ({ extensions: [extension(unknownOid, true, integer(1))] }),
    /critical/,
  ],
  [
    'with an unknown critical extension beside the status',
    () => ({ singleExtensions: [extension(unknownOid, true, integer(1))] }),
    /critical/,
  ],
  ['that is malformed, it says', () => ({ responseStatus: 1 }), /the request is malformed/],
  ['of a responder with an error', () => ({ responseStatus: 2 }), /internal error/],
  ['that says try later', () => ({ responseStatus: 3 }), /try later/],
  ['that wants signed requests', () => ({ responseStatus: 5 }), /have to be signed/],
  ['that is not authorized', () => ({ responseStatus: 6 }), /may not answer/],
  [
    'of a delegate without extKeyUsage',
    (issuer) => ({ responder: aDelegate(issuer, { extendedKeyUsage: null }) }),
    /no OCSPSigning/,
  ],
  [
    'of a delegate for anything',
    (issuer) => ({ responder: aDelegate(issuer, { extendedKeyUsage: ['2.5.29.37.0'] }) }),
    /no OCSPSigning/,
  ],
  [
    'of a delegate that may not sign',
    (issuer) => ({ responder: aDelegate(issuer, { keyUsage: ['keyEncipherment'] }) }),
    /digitalSignature/,
  ],
  ['of a delegate of another authority', () => ({ responder: aDelegate(makeRoot(ec)) }), /not of “/],
  [
    'of a delegate of a namesake of the authority',
    (issuer) => ({ responder: aDelegate(makeRoot({ ...ec, subject: issuer.subjectName })) }),
    /not signed by/,
  ],
  [
    'of a delegate of an authority below ours',
    (issuer) => ({ responder: aDelegate(issuer.issueAuthority(ec)) }),
    /not of “/,
  ],
  [
    'of a delegate that expired',
    (issuer) => ({ responder: aDelegate(issuer, { notBefore: ago(3 * dayMs), notAfter: ago(dayMs) }) }),
    /expired/,
  ],
  [
    'of a delegate with a key of 1024 bits',
    (issuer) => ({ responder: aDelegate(issuer, { keyType: 'rsa1024' }) }),
    /1024 bits/,
  ],
  [
    'of a delegate whose certificate is not there',
    (issuer) => ({ responder: aDelegate(issuer), enclosed: [] }),
    /certificate is not in it/,
  ],
  [
    'of a delegate, signed by somebody else',
    (issuer) => ({ responder: aDelegate(issuer), signWith: drawKey('ec256') }),
    /not signed by “CN=Responder/,
  ],
]

describe('a reply that says nothing', () => {
  test.each(faults)('%s', async (_, wishes, because) => {
    const { issuer, issued } = someone()
    const places = { [ocspUrl]: responder(issuer, wishes(issuer)) }
    expect(await statusOf(places, issued, issuer, at)).toMatchObject({
      status: 'unknown',
      because: expect.stringMatching(because),
    })
  })
})

const fine: [string, (issuer: Authority) => OcspWishes][] = [
  ['by the authority itself', () => ({})],
  ['by the authority, named by its key', () => ({ nameBy: 'key' })],
  ['by a delegate', (issuer) => ({ responder: aDelegate(issuer) })],
  ['by a delegate, named by its key', (issuer) => ({ responder: aDelegate(issuer), nameBy: 'key' })],
  [
    'by a delegate among other certificates',
    (issuer) => {
      const delegate = aDelegate(issuer)
      return { responder: delegate, enclosed: [issuer.certificate, delegate.certificate] }
    },
  ],
  ['by a delegate with an RSA key', (issuer) => ({ responder: aDelegate(issuer, { keyType: 'rsa2048' }) })],
  ['with a CertID in SHA-256', () => ({ certIdHash: 'sha256' })],
  ['without a nonce, prepared an hour ago', () => ({ nonce: null })],
  ['without nextUpdate, made just now', () => ({ nextUpdate: null, thisUpdate: at })],
  [
    'with an unknown extension that is not critical',
    () => ({ extensions: [extension(unknownOid, false, integer(1))] }),
  ],
]

describe('a reply that says good or revoked', () => {
  test.each(fine)('%s', async (_, wishes) => {
    const { issuer, issued } = someone()
    const good = responder(issuer, wishes(issuer))
    expect(await statusOf({ [ocspUrl]: good }, issued, issuer, at)).toMatchObject({
      status: 'good',
      source: ocspUrl,
    })
    const revoked = responder(issuer, {
      ...wishes(issuer),
      status: 'revoked',
      reason: 4,
      revokedAt: ago(dayMs),
    })
    expect(await statusOf({ [ocspUrl]: revoked }, issued, issuer, at)).toEqual({
      status: 'revoked',
      source: ocspUrl,
      since: ago(dayMs),
      reason: 'superseded',
    })
  })
})

test('a delegate whose certificate lies in the pool need not send it along', async () => {
  const { issuer, issued } = someone()
  const delegate = aDelegate(issuer)
  const places = { [ocspUrl]: responder(issuer, { responder: delegate, enclosed: [] }) }
  expect(await statusOf(places, issued, issuer, at, {}, [delegate])).toMatchObject({ status: 'good' })
})

test('yesterday’s reply, sent again, is not good; one that revokes stays true', async () => {
  const { issuer, issued, serial } = someone()
  const old = { thisUpdate: ago(2 * dayMs), nextUpdate: ago(dayMs) }
  const replayed = (wishes: OcspWishes) => ({
    [ocspUrl]: makeOcspReply(issuer, serial, { ...old, ...wishes }),
  })
  expect(await statusOf(replayed({}), issued, issuer, at)).toMatchObject({ status: 'unknown' })
  expect(await statusOf(replayed({ status: 'revoked' }), issued, issuer, at)).toMatchObject({
    status: 'revoked',
  })
})

test('a delegate that says where its own revocation is published is looked up there', async () => {
  const { issuer, issued } = someone()
  const delegate = aDelegate(issuer, {
    extensions: [{ oid: '2.5.29.31', value: distributionPoints({ names: [{ uri: crlUrl }] }) }],
  })
  const reply = responder(issuer, { responder: delegate })
  const asked = (list?: Buffer) =>
    statusOf({ [ocspUrl]: reply, ...(list === undefined ? {} : { [crlUrl]: list }) }, issued, issuer, at)
  expect(await asked(makeCrl(issuer))).toMatchObject({ status: 'good' })
  expect(
    await asked(makeCrl(issuer, { revoked: [{ serial: serialOf(delegate.certificate) }] })),
  ).toMatchObject({
    status: 'unknown',
    because: expect.stringContaining('revoked itself'),
  })
  expect(await asked()).toMatchObject({ status: 'unknown', because: expect.stringContaining('is not known') })
})

test('with one octet flipped, wherever in what is signed or in the signature, a reply is never good', async () => {
  const { issuer, issued, serial } = someone()
  const reply = makeOcspReply(issuer, serial, { nextUpdate: ahead(hourMs) })
  const asked = (bytes: Buffer) => statusOf({ [ocspUrl]: bytes }, issued, issuer, at)
  expect(await asked(reply)).toMatchObject({ status: 'good' })
  const survivors: number[] = []
  for (let octet = 0; octet < reply.length; octet++) {
    const changed = Buffer.from(reply)
    changed[octet]! ^= 1 << (octet % 8)
    if ((await asked(changed)).status !== 'unknown') survivors.push(octet)
  }
  expect(survivors).toEqual([])
})

test('the question names the certificate, and no two have the same nonce', async () => {
  const { issuer, issued, serial } = someone()
  const nonces = new Set<string>()
  const listening = (request: Buffer | undefined) => {
    const question = readOcspQuestion(request!)
    expect(question.serial).toBe(serial)
    expect(question.nonce).toHaveLength(32)
    nonces.add(question.nonce!.toString('hex'))
    return makeOcspReply(issuer, question.serial, { nonce: question.nonce! })
  }
  for (let n = 0; n < 5; n++) await statusOf({ [ocspUrl]: listening }, issued, issuer, at)
  expect(nonces.size).toBe(5)
})

test.each([
  ['nothing', Buffer.alloc(0)],
  ['a page of HTML', Buffer.from('<html>')],
  ['a list', makeCrl(makeRoot(ec))],
])('%s is no reply', async (_, bytes) => {
  const { issuer, issued } = someone()
  expect(await statusOf({ [ocspUrl]: bytes }, issued, issuer, at)).toMatchObject({ status: 'unknown' })
})
