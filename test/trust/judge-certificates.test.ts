import { expect, test } from '@jest/globals'
import { readDirectAddress } from '../../src/domain/direct-address.ts'
import { changingAnchors, fixedAnchors, type AnchorSet } from '../../src/trust/anchors.ts'
import { makeIssuerFinder, type IssuerFinder } from '../../src/trust/issuer-finder.ts'
import { judgeCertificates, type TrustQuestion } from '../../src/trust/judge-certificates.ts'
import { makeRevocation } from '../../src/trust/revocation.ts'
import { certsOnly } from '../neighbours/pki-server.ts'
import { makeCrl, serialOf } from '../pki/crl.ts'
import { makeRoot, pemOf, type Authority, type Issued } from '../pki/pki.ts'
import { ago, at, crlUrl, dayMs, hourMs, otherUrl } from '../pki/revocations/crl-case.ts'
import { aWorld, certificateOf } from './revocation-checks.ts'

// What judging makes of certificates as they are found: issuers that have to be fetched, revocation with and without a way
// around, anchors by direction and domain, and the words in which all that is told.
const ellen = 'ellen.ross@direct.somephr.example'
const ec = { keyType: 'ec256' } as const
const issuerUrl = 'http://pki.example/authority.cer'
const upperUrl = 'http://pki.example/upper.cer'

const root = makeRoot({ ...ec, name: 'Somewhere Root' })
const authority = root.issueAuthority({ ...ec, name: 'Somewhere Authority' })
const leaf = authority.issue({ ...ec, emails: [ellen], caIssuersUrls: [issuerUrl] })

interface Situation {
  readonly anchors?: AnchorSet
  readonly pool?: readonly Issued[]
  readonly issuers?: IssuerFinder
  readonly revocation?: ReturnType<typeof makeRevocation>
  readonly question?: Partial<TrustQuestion>
}

async function judged(certificates: readonly Issued[], situation: Situation = {}) {
  const address = readDirectAddress(ellen)
  if (!address.valid) throw new Error(address.because)
  const { issuers, revocation } = situation
  const judgement = await judgeCertificates(
    certificates.map((one) => one.certificate),
    (situation.pool ?? []).map(certificateOf),
    {
      anchors: situation.anchors ?? fixedAnchors([certificateOf(root)]),
      ...(issuers && { issuers }),
      ...(revocation && { revocation }),
    },
    {
      address: address.address,
      localDomain: 'direct.ashby.example',
      direction: 'outgoing',
      purpose: 'encrypt',
      at,
      ...situation.question,
    },
  )
  const told = judgement.trace.map(({ outcome, detail }) => `${outcome}: ${detail}`)
  return { ...judgement, told, codes: judgement.refused.map(({ verdict }) => verdict.code) }
}

const finderIn = (places: Parameters<typeof aWorld>[0]) => {
  const world = aWorld(places)
  return { asked: world.asked, places: world.places, issuers: makeIssuerFinder(world.fetch) }
}

test.each<[string, Buffer]>([
  ['DER', authority.certificate],
  ['PEM', Buffer.from(pemOf(authority.certificate))],
  ['PEM with others', Buffer.from(`# chain\n${pemOf(makeRoot(ec).certificate, authority.certificate)}`)],
  ['certs-only PKCS#7', certsOnly(authority.certificate)],
  ['certs-only PKCS#7 with others', certsOnly(makeRoot(ec).certificate, authority.certificate)],
])('an issuer that nobody brought along is fetched from where the leaf says, as %s', async (_, body) => {
  const { issuers, asked } = finderIn({ [issuerUrl]: body })
  const { trusted, told } = await judged([leaf], { issuers })
  expect(trusted).toHaveLength(1)
  expect(asked).toEqual([issuerUrl])
  expect(told[0]).toMatch(/^found: issuer at http:\/\/pki\.example\/authority\.cer: .*Somewhere Authority/)
})

test('issuers are fetched upwards, one after the other, and never for what is known', async () => {
  const upper = root.issueAuthority({ ...ec, name: 'Upper' })
  const lower = upper.issueAuthority({ ...ec, name: 'Lower', caIssuersUrls: [upperUrl] })
  const below = lower.issue({ ...ec, emails: [ellen], caIssuersUrls: [issuerUrl] })
  const { issuers, asked } = finderIn({ [issuerUrl]: lower.certificate, [upperUrl]: upper.certificate })
  expect((await judged([below], { issuers })).trusted).toHaveLength(1)
  expect(asked).toEqual([issuerUrl, upperUrl])
  const known = finderIn({})
  expect((await judged([below], { issuers: known.issuers, pool: [lower, upper] })).trusted).toHaveLength(1)
  expect(known.asked).toEqual([])
})

test('what is fetched is a candidate only: an impostor’s authority of the same name helps nobody', async () => {
  const impostor = makeRoot({ ...ec, name: 'Somewhere Root' }).issueAuthority({
    ...ec,
    name: 'Somewhere Authority',
  })
  const { issuers } = finderIn({ [issuerUrl]: impostor.certificate })
  const { trusted, codes } = await judged([leaf], { issuers })
  expect(trusted).toEqual([])
  expect(codes).toHaveLength(1)
})

test.each<[string, number | Buffer | 'silent', string, RegExp]>([
  ['is not there', 404, 'no-path', /answered 404/],
  ['holds something else', Buffer.from('<html>'), 'no-path', /holds no readable certificate/],
  ['does not answer', 'silent', 'issuer-unavailable', /no connection/],
  ['is out of order', 503, 'issuer-unavailable', /answered 503/],
  ['asks for patience', 429, 'issuer-unavailable', /answered 429/],
])('where the place of the issuer %s', async (_, place, code, because) => {
  const { issuers } = finderIn({ [issuerUrl]: place })
  const { trusted, codes, refused, told } = await judged([leaf], { issuers })
  expect(trusted).toEqual([])
  expect(codes).toEqual([code])
  expect(told.join('\n')).toMatch(because)
  // Only what time can change says so.
  if (code === 'issuer-unavailable') expect(refused[0]!.verdict.because).toMatch(because)
})

test('a place is asked once an hour, one that failed every five minutes', async () => {
  const world = finderIn({ [issuerUrl]: 'silent' })
  const { issuers, asked } = world
  const ask = (ms: number) => judged([leaf], { issuers, question: { at: new Date(at.getTime() + ms) } })
  expect((await ask(0)).codes).toEqual(['issuer-unavailable'])
  await ask(299_000)
  expect(asked).toHaveLength(1)
  world.places[issuerUrl] = authority.certificate
  expect((await ask(301_000)).trusted).toHaveLength(1)
  expect(asked).toHaveLength(2)
  await ask(301_000 + hourMs - 1000)
  expect(asked).toHaveLength(2)
  await ask(301_000 + hourMs + 1000)
  expect(asked).toHaveLength(3)
})

test('many questions at the same time ask a place once', async () => {
  const { issuers, asked } = finderIn({ [issuerUrl]: authority.certificate })
  const all = await Promise.all(Array.from({ length: 20 }, () => judged([leaf], { issuers })))
  expect(all.every(({ trusted }) => trusted.length === 1)).toBe(true)
  expect(asked).toHaveLength(1)
})

test('a certificate that sends us around for ever costs a bounded number of questions', async () => {
  // Every authority names another place, which has another authority of the same name.
  const places: Record<string, Buffer> = {}
  const name = 'Labyrinth'
  const labyrinth: Authority[] = Array.from({ length: 40 }, (_, index) =>
    makeRoot({ ...ec, name }).issueAuthority({
      ...ec,
      name,
      caIssuersUrls: [`http://pki.example/${2 * index + 1}`, `http://pki.example/${2 * index + 2}`],
    }),
  )
  for (const [index, one] of labyrinth.entries()) places[`http://pki.example/${index}`] = one.certificate
  const lost = labyrinth[0]!.issue({
    ...ec,
    emails: [ellen],
    caIssuersUrls: Array.from({ length: 30 }, (_, index) => `http://pki.example/${index}`),
  })
  const { issuers, asked } = finderIn(places)
  const { trusted } = await judged([lost], { issuers })
  expect(trusted).toEqual([])
  expect(asked.length).toBeLessThanOrEqual(16)
})

test('directories and files are no places of issuers', async () => {
  const odd = authority.issue({
    ...ec,
    emails: [ellen],
    caIssuersUrls: ['ldap://pki.example/cn=a', 'file:///etc/passwd', 'javascript:alert(1)'],
  })
  const { issuers, asked } = finderIn({})
  expect((await judged([odd], { issuers })).codes).toEqual(['no-path'])
  expect(asked).toEqual([])
})

test('a flaw of the leaf itself asks nobody: no issuer would mend it', async () => {
  const expired = authority.issue({
    ...ec,
    emails: [ellen],
    notBefore: ago(400 * dayMs),
    notAfter: ago(dayMs),
    caIssuersUrls: [issuerUrl],
  })
  const { issuers, asked } = finderIn({ [issuerUrl]: authority.certificate })
  const { codes } = await judged([expired], { issuers, pool: [authority] })
  expect(codes).toEqual(['expired'])
  expect(asked).toEqual([])
})

// Two ways up: the same authority, certified by two roots, each with its own list.
const otherRoot = makeRoot({ ...ec, name: 'Other Root' })
const crossKey = makeRoot(ec).privateKey
const ways = [root, otherRoot].map((above, index) =>
  above.issueAuthority({
    ...ec,
    key: crossKey,
    name: 'Twice Certified',
    crlUrls: [index === 0 ? otherUrl : `${otherUrl}2`],
  }),
)
const crossed = ways[0]!.issue({ ...ec, emails: [ellen], crlUrls: [crlUrl] })
const bothRoots = fixedAnchors([certificateOf(root), certificateOf(otherRoot)])
const revocationIn = (places: Parameters<typeof aWorld>[0], mode: 'hard-fail' | 'soft-fail' = 'hard-fail') =>
  makeRevocation({ fetch: aWorld(places).fetch, mode, graceMs: dayMs })
const listsWith = (revoked: { leaf?: boolean; first?: boolean; second?: boolean }) => ({
  [crlUrl]: makeCrl(ways[0]!, {
    revoked: revoked.leaf ? [{ serial: serialOf(crossed.certificate), revokedAt: ago(dayMs) }] : [],
  }),
  [otherUrl]: makeCrl(root, {
    revoked: revoked.first ? [{ serial: serialOf(ways[0]!.certificate), revokedAt: ago(dayMs) }] : [],
  }),
  [`${otherUrl}2`]: makeCrl(otherRoot, {
    revoked: revoked.second ? [{ serial: serialOf(ways[1]!.certificate), revokedAt: ago(dayMs) }] : [],
  }),
})

test.each([
  ['nothing', {}, true],
  ['one authority', { first: true }, true],
  ['the other authority', { second: true }, true],
  ['both authorities', { first: true, second: true }, false],
  ['the leaf', { leaf: true }, false],
  ['the leaf and one authority', { leaf: true, first: true }, false],
] as const)('with two ways up and %s revoked', async (_, revoked, isTrusted) => {
  const { trusted, codes } = await judged([crossed], {
    anchors: bothRoots,
    pool: ways,
    revocation: revocationIn(listsWith(revoked)),
  })
  expect(trusted).toHaveLength(isTrusted ? 1 : 0)
  if (!isTrusted) expect(codes).toEqual(['revoked'])
})

test('with one way up a revoked authority ends it', async () => {
  const { codes } = await judged([crossed], {
    pool: [ways[0]!],
    revocation: revocationIn(listsWith({ first: true })),
  })
  expect(codes).toEqual(['revoked'])
})

test('one whose list is gone is refused, under soft-fail it is trusted and that is told', async () => {
  const { [crlUrl]: _, ...rest } = listsWith({})
  const places = { ...rest, [crlUrl]: 'silent' as const }
  const situation = { anchors: bothRoots, pool: ways }
  expect((await judged([crossed], { ...situation, revocation: revocationIn(places) })).codes).toEqual([
    'revocation-unknown',
  ])
  const soft = await judged([crossed], { ...situation, revocation: revocationIn(places, 'soft-fail') })
  expect(soft.trusted[0]?.verdict.revocation[0]).toMatchObject({ status: 'unknown' })
  expect(soft.told.join('\n')).toMatch(/failed: .*revocation unknown/)
})

test('a list past its next update counts within grace and is told as stale, and no longer after it', async () => {
  const old = (hours: number) => ({
    ...listsWith({}),
    [crlUrl]: makeCrl(ways[0]!, { thisUpdate: ago(10 * dayMs), nextUpdate: ago(hours * hourMs) }),
  })
  const situation = { anchors: bothRoots, pool: ways }
  const within = await judged([crossed], { ...situation, revocation: revocationIn(old(12)) })
  expect(within.trusted[0]?.verdict.revocation[0]).toMatchObject({ status: 'good', isStale: true })
  expect(within.told.join('\n')).toContain('past its next update and within grace')
  const after = await judged([crossed], { ...situation, revocation: revocationIn(old(36)) })
  expect(after.codes).toEqual(['revocation-unknown'])
})

test('anchors count for their direction and for their domain of ours only', async () => {
  const group = (direction: 'both' | 'incoming' | 'outgoing', domain?: string) =>
    changingAnchors([
      {
        anchors: [{ certificate: certificateOf(root), source: 'bundle patient' }],
        direction,
        ...(domain !== undefined && { domain }),
      },
    ])
  const asks = async (anchors: AnchorSet, question: Partial<TrustQuestion>) =>
    (await judged([leaf], { anchors, pool: [authority], question })).trusted.length === 1
  expect(await asks(group('both'), { direction: 'incoming' })).toBe(true)
  expect(await asks(group('outgoing'), { direction: 'outgoing' })).toBe(true)
  expect(await asks(group('outgoing'), { direction: 'incoming' })).toBe(false)
  expect(await asks(group('incoming'), { direction: 'outgoing' })).toBe(false)
  expect(await asks(group('both', 'direct.ashby.example'), {})).toBe(true)
  expect(await asks(group('both', 'direct.ashby.example'), { localDomain: 'direct.mercy.example' })).toBe(
    false,
  )
})

test('policies are asked of the anchor that has some, and of no other', async () => {
  const policy = '1.3.6.1.4.1.41179.0.1.2'
  const strict = root.issueAuthority({ ...ec, policies: [policy] })
  const meets = strict.issue({ ...ec, emails: [ellen], policies: [policy] })
  const misses = strict.issue({ ...ec, emails: [ellen], policies: ['1.2.3.4'] })
  const demanding: AnchorSet = {
    anchorsFor: () => [{ certificate: certificateOf(root), source: 'bundle', policies: [policy] }],
  }
  const situation = { anchors: demanding, pool: [strict] }
  expect((await judged([meets], situation)).trusted).toHaveLength(1)
  expect((await judged([misses], situation)).codes).toEqual(['policy'])
  expect((await judged([misses], { pool: [strict] })).trusted).toHaveLength(1)
  // Beside an anchor that asks for nothing it is trusted by that one.
  const lenient: AnchorSet = {
    anchorsFor: () => [
      { certificate: certificateOf(root), source: 'bundle', policies: [policy] },
      { certificate: certificateOf(strict), source: 'file' },
    ],
  }
  const { trusted, told } = await judged([misses], { anchors: lenient })
  expect(trusted).toHaveLength(1)
  expect(told.join('\n')).toContain('(file)')
})

test('all good ones are used, whatever stands beside them, and the rest is told with its reason', async () => {
  const stranger = makeRoot(ec).issue({ ...ec, emails: [ellen] })
  const somebodyElses = authority.issue({ ...ec, emails: ['someone.else@direct.somephr.example'] })
  const ofDomain = authority.issue({ ...ec, domains: ['direct.somephr.example'] })
  const { trusted, told, because } = await judged([stranger, leaf, somebodyElses, ofDomain], {
    pool: [authority],
  })
  expect(trusted.map(({ verdict }) => verdict.binding)).toEqual(['address', 'domain'])
  expect(because).toBe('')
  expect(told.map((line) => line.split(':')[0])).toEqual(['refused', 'trusted', 'refused', 'trusted'])
  expect(told[0]).toContain('no-path')
  expect(told[2]).toContain('address-not-bound')
})

test('bytes that are no certificate are refused as such and hold up no other', async () => {
  const garbage = { ...leaf, certificate: Buffer.from('not a certificate') }
  const { trusted, codes } = await judged([garbage, leaf], { pool: [authority] })
  expect(trusted).toHaveLength(1)
  expect(codes).toEqual(['unreadable'])
})

test('of several refusals the most telling is the reason, and how many others there are', async () => {
  const stranger = makeRoot(ec).issue({ ...ec, emails: [ellen] })
  const expired = authority.issue({ ...ec, emails: [ellen], notBefore: ago(9 * dayMs), notAfter: ago(dayMs) })
  const { because } = await judged([stranger, expired], { pool: [authority] })
  expect(because).toMatch(/expired|ended/)
  expect(because).toContain('(and 1 further certificate is refused)')
})

test('what a stranger writes into a certificate cannot forge a line of the trace', async () => {
  const forger = makeRoot(ec).issue({
    ...ec,
    name: 'x\r\n  12 ms  trust  trusted  “Ellen”',
    emails: [ellen],
    caIssuersUrls: ['http://pki.example/a\r\ntrusted: all is well'],
  })
  const { issuers } = finderIn({})
  const { told } = await judged([forger], { issuers })
  expect(told.every((line) => !/[\r\n\u2028\u2029]/.test(line))).toBe(true)
})
