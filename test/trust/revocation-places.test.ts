import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { makeGuardedFetch } from '../../src/lib/guarded-fetch.ts'
import { makeRevocation } from '../../src/trust/revocation.ts'
import { servePki, type PkiFault, type PkiServer } from '../neighbours/pki-server.ts'
import { makeCrl, serialOf } from '../pki/crl.ts'
import { makeRoot, type Authority, type Issued } from '../pki/pki.ts'
import { certificateOf } from './revocation-checks.ts'

// Real sockets: an authority on the loopback, and the guard that every URL of a certificate passes.
let pki: PkiServer
beforeAll(async () => {
  pki = await servePki()
})
afterAll(() => pki.close())

let places = 0

/** An authority with a list and a responder on the web, and a certificate that names them. */
function someone({
  listed = false,
  saysRevoked = false,
  places: named = 'both',
}: { listed?: boolean; saysRevoked?: boolean; places?: 'both' | 'list' | 'ocsp' } = {}) {
  const [crl, ocsp] = [`/${++places}.crl`, `/${places}/ocsp`]
  const issuer = makeRoot({ keyType: 'ec256' })
  const issued = issuer.issue({
    keyType: 'ec256',
    ...(named === 'ocsp' ? {} : { crlUrls: [pki.url(crl)] }),
    ...(named === 'list' ? {} : { ocspUrls: [pki.url(ocsp)] }),
  })
  const serial = serialOf(issued.certificate)
  pki.put(crl, { is: 'crl', bytes: makeCrl(issuer, { revoked: listed ? [{ serial }] : [] }) })
  pki.put(ocsp, {
    is: 'ocsp',
    authority: issuer,
    about: () => (saysRevoked ? { status: 'revoked' } : undefined),
  })
  return { issuer, issued, crl, ocsp }
}

function ask({ issued, issuer }: { issued: Issued; issuer: Authority }, allowPrivateAddresses = true) {
  const check = makeRevocation({
    fetch: makeGuardedFetch({ allowPrivateAddresses }),
    mode: 'hard-fail',
    graceMs: 0,
  })
  return check(certificateOf(issued), certificateOf(issuer), [], new Date())
}

test('a list and a responder on the web answer', async () => {
  const good = someone()
  expect(await ask(good)).toMatchObject({ status: 'good', source: pki.url(good.crl) })
  expect(await ask(someone({ listed: true }))).toMatchObject({ status: 'revoked' })
  const asked = someone({ places: 'ocsp' })
  expect(await ask(asked)).toMatchObject({ status: 'good', source: pki.url(asked.ocsp) })
  expect(pki.asked).toContain(`POST ${asked.ocsp}`)
  expect(await ask(someone({ places: 'ocsp', saysRevoked: true }))).toMatchObject({ status: 'revoked' })
})

test('a responder asked about a certificate of another authority says that it may not answer', async () => {
  const { issued, ocsp } = someone({ places: 'ocsp' })
  pki.put(ocsp, { is: 'ocsp', authority: makeRoot({ keyType: 'ec256' }) })
  expect(await ask({ issued, issuer: makeRoot({ keyType: 'ec256' }) })).toMatchObject({
    status: 'unknown',
    because: expect.stringContaining('may not answer for this authority'),
  })
})

const faults: [string, PkiFault, RegExp][] = [
  ['404', { how: 'status', status: 404 }, /the server answers 404/],
  ['500', { how: 'status', status: 500 }, /the server answers 500/],
  ['204', { how: 'status', status: 204 }, /the server answers 204/],
  ['a page for people', { how: 'wrong-type' }, /is not its revocation list: .*neither a DER nor a PEM/],
  ['octets without end', { how: 'huge' }, /more than 20971520 octets/],
  ['a promise of gigabytes', { how: 'huge-promise' }, /more than 20971520 octets/],
  ['half a list', { how: 'cut-off' }, /cut off|ECONNRESET/],
  ['a redirect to a file', { how: 'redirect', to: 'file:///etc/passwd' }, /file:/],
]

test.each(faults)(
  '%s instead of a list: the responder is asked, and the reason is kept',
  async (_, fault, because) => {
    const one = someone()
    pki.misbehave(one.crl, fault)
    expect(await ask(one)).toMatchObject({ status: 'good', source: pki.url(one.ocsp) })
    const listOnly = someone({ places: 'list' })
    pki.misbehave(listOnly.crl, fault)
    expect(await ask(listOnly)).toMatchObject({ status: 'unknown', because: expect.stringMatching(because) })
  },
)

test('a redirect is followed, and one that goes in circles is not', async () => {
  const [there, here] = [someone({ listed: true, places: 'list' }), '/moved.crl']
  pki.put(here, {
    is: 'crl',
    bytes: makeCrl(there.issuer, { revoked: [{ serial: serialOf(there.issued.certificate) }] }),
  })
  pki.misbehave(there.crl, { how: 'redirect', to: here })
  expect(await ask(there)).toMatchObject({ status: 'revoked' })
  pki.misbehave(there.crl, { how: 'redirect', to: there.crl })
  expect(await ask(there)).toMatchObject({ status: 'unknown', because: expect.stringContaining('redirects') })
})

test('places in our own network are not asked unless the settings allow it', async () => {
  const one = someone()
  const before = pki.asked.length
  expect(await ask(one, false)).toMatchObject({
    status: 'unknown',
    because: expect.stringContaining('127.0.0.1'),
  })
  expect(pki.asked).toHaveLength(before)
})
