import { expect, test } from '@jest/globals'
import { readDirectAddress } from '../../src/domain/direct-address.ts'
import { fixedAnchors } from '../../src/trust/anchors.ts'
import { judgeCertificates } from '../../src/trust/judge-certificates.ts'
import { makeRevocation } from '../../src/trust/revocation.ts'
import { makeCrl, serialOf, type EntryWish } from '../pki/crl.ts'
import { makeRoot } from '../pki/pki.ts'
import { at, crlUrl, dayMs, otherUrl } from '../pki/revocations/crl-case.ts'
import { aWorld, certificateOf } from './revocation-checks.ts'

// What revocation makes of a chain that is otherwise in order: root, authority, leaf, with a list of each issuer.
const ellen = 'ellen.ross@direct.somephr.example'
const ec = { keyType: 'ec256' } as const
const root = makeRoot(ec)
const authority = root.issueAuthority({ ...ec, crlUrls: [otherUrl] })
const leaf = authority.issue({ ...ec, emails: [ellen], crlUrls: [crlUrl] })
const places = (ofLeaf: EntryWish[] = [], ofAuthority: EntryWish[] = []) => ({
  [crlUrl]: makeCrl(authority, { revoked: ofLeaf }),
  [otherUrl]: makeCrl(root, { revoked: ofAuthority }),
})

async function judged(
  world: Parameters<typeof aWorld>[0],
  {
    mode = 'hard-fail',
    certificate = leaf.certificate,
  }: { mode?: 'hard-fail' | 'soft-fail'; certificate?: Buffer } = {},
) {
  const address = readDirectAddress(ellen)
  if (!address.valid) throw new Error(address.because)
  const { trusted, refused, trace } = await judgeCertificates(
    [certificate],
    [certificateOf(authority)],
    {
      anchors: fixedAnchors([certificateOf(root)]),
      revocation: makeRevocation({ fetch: aWorld(world).fetch, mode, graceMs: dayMs }),
    },
    {
      address: address.address,
      localDomain: 'direct.ashby.example',
      direction: 'outgoing',
      purpose: 'sign',
      at,
    },
  )
  return { trusted, verdict: refused[0]?.verdict, told: trace.map(({ detail }) => detail).join('\n') }
}

test('with a current list of each issuer a chain is trusted, and the lists are told', async () => {
  const { trusted, told } = await judged(places())
  expect(trusted[0]?.verdict.revocation).toMatchObject([
    { status: 'good', source: crlUrl },
    { status: 'good', source: otherUrl },
  ])
  expect(told).toContain(crlUrl)
})

test('a revoked leaf is refused as revoked, with its day and reason', async () => {
  const revokedAt = new Date('2026-03-01T00:00:00Z')
  const list = [{ serial: serialOf(leaf.certificate), revokedAt, reason: 'keyCompromise' as const }]
  const { trusted, verdict } = await judged(places(list))
  expect(trusted).toEqual([])
  expect(verdict).toMatchObject({
    code: 'revoked',
    because: expect.stringMatching(/2026-03-01T00:00:00.*keyCompromise/),
  })
})

test('a revoked authority takes those below it along', async () => {
  const { verdict } = await judged(places([], [{ serial: serialOf(authority.certificate) }]))
  expect(verdict).toMatchObject({ code: 'revoked', because: expect.stringContaining('Test Authority') })
})

test('where revocation cannot be found out, the leaf is refused, and under soft-fail trusted with that finding', async () => {
  const dead = { ...places(), [crlUrl]: 'silent' as const }
  expect((await judged(dead)).verdict).toMatchObject({
    code: 'revocation-unknown',
    because: expect.stringContaining(`${crlUrl}: no connection`),
  })
  const { trusted, told } = await judged(dead, { mode: 'soft-fail' })
  expect(trusted[0]?.verdict.revocation[0]).toMatchObject({ status: 'unknown' })
  expect(told).toContain('no connection')
})

test('a list by an impostor makes revocation unknown, never good', async () => {
  const impostor = makeRoot({ ...ec, subject: authority.subjectName })
  expect((await judged({ ...places(), [crlUrl]: makeCrl(impostor) })).verdict).toMatchObject({
    code: 'revocation-unknown',
    because: expect.stringContaining('is not signed by'),
  })
})

test('a certificate that publishes nothing about its revocation is trusted, and that is told', async () => {
  const { certificate } = authority.issue({ ...ec, emails: [ellen] })
  const { trusted, told } = await judged(places(), { certificate })
  expect(trusted[0]?.verdict.revocation[0]).toMatchObject({ status: 'not-published' })
  expect(told).toContain('neither a revocation list nor a responder')
})
