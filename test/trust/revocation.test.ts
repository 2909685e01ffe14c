import { describe, expect, test } from '@jest/globals'
import type { CrlStore } from '../../src/trust/crl-cache.ts'
import { makeRevocation, type RevocationOptions } from '../../src/trust/revocation.ts'
import { distributionPoints, makeCrl, serialOf } from '../pki/crl.ts'
import { makeOcspReply, readOcspQuestion } from '../pki/ocsp.ts'
import { makeRoot, type CertificateWishes, type Issued } from '../pki/pki.ts'
import { ago, ahead, at, crlUrl, dayMs, hourMs, otherUrl } from '../pki/revocations/crl-case.ts'
import { aWorld, certificateOf, statusOf } from './revocation-checks.ts'

const ocspUrl = 'http://ocsp.example/'
const ec = { keyType: 'ec256' } as const
const minuteMs = 60_000

/** A certificate with the places it names, and a check that remembers. */
function someone(wishes: CertificateWishes, options: Partial<RevocationOptions> = {}) {
  const issuer = makeRoot(ec)
  const issued = issuer.issue({ ...ec, emails: ['ellen.ross@direct.somephr.example'], ...wishes })
  const world = aWorld({})
  const check = makeRevocation({ fetch: world.fetch, mode: 'hard-fail', graceMs: 24 * hourMs, ...options })
  const [certificate, authority] = [certificateOf(issued), certificateOf(issuer)]
  const ask = (when: Date = at) => check(certificate, authority, [], when)
  return { issuer, issued, serial: serialOf(issued.certificate), ...world, ask }
}

function aStore(): CrlStore & { readonly lists: Map<string, { url: string; der: Buffer; fetchedAt: Date }> } {
  const lists = new Map<string, { url: string; der: Buffer; fetchedAt: Date }>()
  return {
    lists,
    load: (key) => Promise.resolve(lists.get(key)),
    save: (key, list) => Promise.resolve(void lists.set(key, list)),
  }
}

test('a certificate that names no place to ask is said to be so, and nobody is asked', async () => {
  const { ask, asked } = someone({})
  expect(await ask()).toEqual({ status: 'not-published' })
  expect(asked).toEqual([])
})

describe('what is kept', () => {
  test('a list in its time is fetched once, also for many who ask at the same time', async () => {
    const { issuer, ask, asked, places } = someone({ crlUrls: [crlUrl] })
    places[crlUrl] = makeCrl(issuer)
    const answers = await Promise.all(Array.from({ length: 50 }, () => ask()))
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set(['good']))
    expect(await ask(ahead(hourMs))).toMatchObject({ status: 'good' })
    expect(asked).toEqual([crlUrl])
  })

  test('after six hours it is fetched again, and at its nextUpdate when that comes first', async () => {
    const { issuer, ask, asked, places, serial } = someone({ crlUrls: [crlUrl] })
    places[crlUrl] = makeCrl(issuer, { nextUpdate: ahead(30 * dayMs) })
    await ask()
    places[crlUrl] = makeCrl(issuer, { number: 8n, thisUpdate: ahead(hourMs), revoked: [{ serial }] })
    expect(await ask(ahead(6 * hourMs - 1))).toMatchObject({ status: 'good' })
    expect(await ask(ahead(6 * hourMs))).toMatchObject({ status: 'revoked' })
    expect(asked).toHaveLength(2)

    const other = someone({ crlUrls: [crlUrl] })
    other.places[crlUrl] = makeCrl(other.issuer, { nextUpdate: ahead(hourMs) })
    await other.ask()
    await other.ask(ahead(hourMs))
    expect(other.asked).toHaveLength(2)
  })

  test('a place that does not answer is left alone for five minutes', async () => {
    const { ask, asked, places, issuer } = someone({ crlUrls: [crlUrl], ocspUrls: [ocspUrl] })
    places[crlUrl] = 'silent'
    places[ocspUrl] = 'silent'
    const answer = await ask()
    expect(answer).toEqual({
      status: 'unknown',
      because: `${crlUrl}: no connection; ${ocspUrl}: no connection`,
    })
    places[crlUrl] = makeCrl(issuer)
    expect(await ask(ahead(5 * minuteMs - 1))).toEqual(answer)
    expect(asked).toEqual([crlUrl, ocspUrl])
    expect(await ask(ahead(5 * minuteMs))).toMatchObject({ status: 'good' })
  })

  test('a silent responder is left alone whatever certificate is in question', async () => {
    const issuer = makeRoot(ec)
    const world = aWorld({ [ocspUrl]: 'silent' })
    const check = makeRevocation({ fetch: world.fetch, mode: 'hard-fail', graceMs: 0 })
    for (let n = 0; n < 10; n++) {
      const issued = issuer.issue({ ...ec, ocspUrls: [ocspUrl] })
      expect(await check(certificateOf(issued), certificateOf(issuer), [], at)).toMatchObject({
        status: 'unknown',
      })
    }
    expect(world.asked).toHaveLength(1)
  })

  test('a list that ended is asked for every five minutes, and not with every message', async () => {
    const { ask, asked, places, issuer } = someone({ crlUrls: [crlUrl] })
    places[crlUrl] = makeCrl(issuer, { thisUpdate: ago(2 * dayMs), nextUpdate: ago(hourMs) })
    for (let n = 0; n < 10; n++)
      expect(await ask(ahead(n * 20_000))).toMatchObject({ status: 'good', isStale: true })
    expect(asked).toHaveLength(1)
    await ask(ahead(5 * minuteMs))
    expect(asked).toHaveLength(2)
  })

  test('an older list never takes the place of a newer one', async () => {
    const { ask, places, issuer, serial } = someone({ crlUrls: [crlUrl] })
    places[crlUrl] = makeCrl(issuer, { number: 8n, revoked: [{ serial }] })
    expect(await ask()).toMatchObject({ status: 'revoked' })
    places[crlUrl] = makeCrl(issuer, {
      number: 7n,
      thisUpdate: ago(2 * hourMs),
      nextUpdate: ahead(9 * dayMs),
    })
    expect(await ask(ahead(7 * hourMs))).toMatchObject({ status: 'revoked' })
  })

  test('what is no list by the authority never takes the place of one that is', async () => {
    const { ask, places, issuer } = someone({ crlUrls: [crlUrl] })
    places[crlUrl] = makeCrl(issuer, { thisUpdate: ago(hourMs) })
    await ask()
    for (const [n, wrong] of [makeCrl(makeRoot(ec)), Buffer.from('<html>'), 500].entries()) {
      places[crlUrl] = wrong
      expect(await ask(ahead((7 + n) * hourMs))).toMatchObject({ status: 'good', asOf: ago(hourMs) })
    }
  })

  test.each([
    ['another', () => ({})],
    ['its namesake', ({ subjectName }: Issued) => ({ subject: subjectName })],
  ])(
    'under one URL an authority and %s find each its own, and what the other has stays',
    async (_, namesake) => {
      const one = makeRoot(ec)
      const two = makeRoot({ ...ec, ...namesake(one) })
      const world = aWorld({ [crlUrl]: makeCrl(one) })
      const check = makeRevocation({ fetch: world.fetch, mode: 'hard-fail', graceMs: 0 })
      const ask = (issuer: typeof one) =>
        check(certificateOf(issuer.issue({ ...ec, crlUrls: [crlUrl] })), certificateOf(issuer), [], at)
      expect(await ask(one)).toMatchObject({ status: 'good' })
      expect(await ask(two)).toMatchObject({
        status: 'unknown',
        because: expect.stringMatching(/ by “/),
      })
      expect(await ask(one)).toMatchObject({ status: 'good' })
    },
  )

  test('an OCSP answer is kept for an hour, and the last good one until its nextUpdate and grace', async () => {
    const { ask, asked, places, issuer } = someone({ ocspUrls: [ocspUrl] }, { graceMs: 2 * hourMs })
    places[ocspUrl] = (request) => {
      const { serial, nonce } = readOcspQuestion(request!)
      return makeOcspReply(issuer, serial, { nonce: nonce!, nextUpdate: ahead(3 * hourMs) })
    }
    await ask()
    expect(await ask(ahead(hourMs - 1))).toMatchObject({ status: 'good' })
    expect(asked).toHaveLength(1)
    await ask(ahead(hourMs))
    expect(asked).toHaveLength(2)
    places[ocspUrl] = 'silent'
    expect(await ask(ahead(2.5 * hourMs))).toMatchObject({ status: 'good' })
    expect(await ask(ahead(4 * hourMs))).toMatchObject({ status: 'good', isStale: true })
    expect(await ask(ahead(5.5 * hourMs))).toMatchObject({ status: 'unknown' })
  })
})

describe('grace', () => {
  test('with the authority down, the last good list is good, then stale, then unknown', async () => {
    const { ask, places, issuer } = someone({ crlUrls: [crlUrl] })
    places[crlUrl] = makeCrl(issuer, { thisUpdate: ago(hourMs), nextUpdate: ahead(dayMs) })
    await ask()
    places[crlUrl] = 'silent'
    expect(await ask(ahead(dayMs - minuteMs))).toEqual({
      status: 'good',
      source: crlUrl,
      asOf: ago(hourMs),
      nextUpdate: ahead(dayMs),
    })
    expect(await ask(ahead(2 * dayMs - minuteMs))).toMatchObject({ status: 'good', isStale: true })
    expect(await ask(ahead(2 * dayMs + 10 * minuteMs))).toMatchObject({
      status: 'unknown',
      because: expect.stringMatching(
        /it ended on .*, and the grace after it is over \(no newer one: no connection\)/,
      ),
    })
  })

  test('soft-fail lets the unknown pass and says so; what is revoked stays revoked', async () => {
    const { ask, places } = someone({ crlUrls: [crlUrl] }, { mode: 'soft-fail' })
    places[crlUrl] = 'silent'
    expect(await ask()).toMatchObject({ status: 'unknown', isTolerated: true, because: expect.any(String) })
    const other = someone({ crlUrls: [crlUrl] }, { mode: 'soft-fail' })
    other.places[crlUrl] = makeCrl(other.issuer, { revoked: [{ serial: other.serial }] })
    expect(await other.ask()).toMatchObject({ status: 'revoked' })
  })
})

describe('where is asked', () => {
  const both = { crlUrls: [crlUrl], ocspUrls: [ocspUrl] }
  const replying =
    (issuer: ReturnType<typeof someone>['issuer'], wishes: Parameters<typeof makeOcspReply>[2] = {}) =>
    (request: Buffer | undefined) => {
      const { serial, nonce } = readOcspQuestion(request!)
      return makeOcspReply(issuer, serial, { nonce: nonce!, ...wishes })
    }

  test('where a list answers, no responder learns whom we write to', async () => {
    const { issuer, ask, asked, places } = someone(both)
    places[crlUrl] = makeCrl(issuer)
    places[ocspUrl] = replying(issuer)
    expect(await ask()).toMatchObject({ status: 'good', source: crlUrl })
    expect(asked).toEqual([crlUrl])
  })

  test('where the list cannot be had, or is past its time, a responder is asked', async () => {
    const { issuer, ask, places } = someone(both)
    places[crlUrl] = 404
    places[ocspUrl] = replying(issuer)
    expect(await ask()).toMatchObject({ status: 'good', source: ocspUrl })
    const other = someone(both)
    other.places[crlUrl] = makeCrl(other.issuer, { thisUpdate: ago(2 * dayMs), nextUpdate: ago(hourMs) })
    other.places[ocspUrl] = replying(other.issuer, { status: 'revoked' })
    expect(await other.ask()).toMatchObject({ status: 'revoked', source: ocspUrl })
  })

  test('a list past its time counts, within grace, where the responder is silent, too', async () => {
    const { issuer, ask, places } = someone(both)
    places[crlUrl] = makeCrl(issuer, { thisUpdate: ago(2 * dayMs), nextUpdate: ago(hourMs) })
    places[ocspUrl] = 'silent'
    expect(await ask()).toMatchObject({ status: 'good', source: crlUrl, isStale: true })
  })

  test('of several places for one list the first in its time is taken', async () => {
    const points = distributionPoints({ names: [{ uri: crlUrl }, { uri: otherUrl }] })
    const { issuer, ask, places, asked } = someone({ extensions: [{ oid: '2.5.29.31', value: points }] })
    places[crlUrl] = makeCrl(issuer, { number: 6n, thisUpdate: ago(3 * dayMs), nextUpdate: ago(hourMs) })
    places[otherUrl] = makeCrl(issuer)
    expect(await ask()).toMatchObject({ status: 'good', source: otherUrl })
    expect(asked).toEqual([crlUrl, otherUrl])
  })

  test('ldap and other places are passed over, with the reason, and unknown is not "not published"', async () => {
    const { ask, asked } = someone({ crlUrls: ['ldap://dir.example/cn=a', 'ftp://crl.example/a'] })
    expect(await ask()).toEqual({
      status: 'unknown',
      because:
        'ldap://dir.example/cn=a: only http and https are asked; ftp://crl.example/a: only http and https are asked',
    })
    expect(asked).toEqual([])
  })

  test('a certificate that names a thousand places sends us to few of them', async () => {
    const uris = Array.from({ length: 1000 }, (_, n) => ({ uri: `http://crl.example/${n}` }))
    const { ask, asked } = someone({
      extensions: [{ oid: '2.5.29.31', value: distributionPoints({ names: uris }) }],
    })
    expect(await ask()).toMatchObject({ status: 'unknown' })
    expect(asked.length).toBeLessThanOrEqual(6)
  })

  test('and so does one that names a thousand distribution points', async () => {
    const points = Array.from({ length: 1000 }, (_, n) => ({ names: [{ uri: `http://crl.example/${n}` }] }))
    const { ask, asked } = someone({
      extensions: [{ oid: '2.5.29.31', value: distributionPoints(...points) }],
    })
    expect(await ask()).toMatchObject({ status: 'unknown' })
    expect(asked.length).toBeLessThanOrEqual(6)
  })
})

describe('what outlives the process', () => {
  test('after a restart the last good list is there, with the authority down', async () => {
    const store = aStore()
    const before = someone({ crlUrls: [crlUrl] }, { store })
    before.places[crlUrl] = makeCrl(before.issuer, { thisUpdate: ago(hourMs), nextUpdate: ahead(dayMs) })
    await before.ask()
    const after = (when: Date) =>
      statusOf({ [crlUrl]: 'silent' }, before.issued, before.issuer, when, { store, graceMs: dayMs })
    expect(await after(ahead(hourMs))).toMatchObject({ status: 'good', asOf: ago(hourMs) })
    expect(await after(ahead(26 * hourMs))).toMatchObject({ status: 'good', isStale: true })
    expect(await after(ahead(49 * hourMs))).toMatchObject({ status: 'unknown' })
  })

  test('a list that is young is not fetched again after a restart', async () => {
    const store = aStore()
    const before = someone({ crlUrls: [crlUrl] }, { store })
    before.places[crlUrl] = makeCrl(before.issuer)
    await before.ask()
    const world = aWorld({ [crlUrl]: 'silent' })
    const check = makeRevocation({ fetch: world.fetch, mode: 'hard-fail', graceMs: 0, store })
    expect(
      await check(certificateOf(before.issued), certificateOf(before.issuer), [], ahead(hourMs)),
    ).toMatchObject({ status: 'good' })
    expect(world.asked).toEqual([])
  })

  test('what lies in the store is believed only as far as it is signed', async () => {
    const store = aStore()
    const before = someone({ crlUrls: [crlUrl] }, { store })
    before.places[crlUrl] = makeCrl(before.issuer)
    await before.ask()
    for (const [key, list] of store.lists)
      store.lists.set(key, { ...list, der: makeCrl(makeRoot({ ...ec, subject: before.issuer.subjectName })) })
    expect(await statusOf({ [crlUrl]: 'silent' }, before.issued, before.issuer, at, { store })).toMatchObject(
      { status: 'unknown' },
    )
  })

  test('nothing that is not signed by the authority is stored', async () => {
    const store = aStore()
    const { ask, places } = someone({ crlUrls: [crlUrl] }, { store })
    places[crlUrl] = makeCrl(makeRoot(ec))
    await ask()
    expect(store.lists.size).toBe(0)
  })

  test('a store that fails does not stop the check', async () => {
    const broken: CrlStore = {
      load: () => Promise.reject(new Error('no database')),
      save: () => Promise.reject(new Error('no database')),
    }
    const { issuer, ask, places } = someone({ crlUrls: [crlUrl] }, { store: broken })
    places[crlUrl] = makeCrl(issuer)
    expect(await ask()).toMatchObject({ status: 'good' })
  })
})
