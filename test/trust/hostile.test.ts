import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { readDirectAddress } from '../../src/domain/direct-address.ts'
import { readCertificate, type Certificate } from '../../src/trust/certificate.ts'
import { judgeCertificates } from '../../src/trust/judge-certificates.ts'
import { validateChain } from '../../src/trust/validate-chain.ts'
import { anEcIssuer, anEcLeaf, anEcRoot, at, ec, ellen, threeTiers } from '../pki/chains/chain-case.ts'
import { pemOf, type Issued } from '../pki/pki.ts'
import { fixedAnchors, readAnchors } from '../../src/trust/anchors.ts'

const reading = readDirectAddress(ellen)
const address = reading.valid ? reading.address : undefined!

function certificateOf({ certificate }: Issued): Certificate {
  const read = readCertificate(certificate)
  if (!read.readable) throw new Error(read.because)
  return read.certificate
}

const question = { at, purpose: 'sign', address } as const
const trusting = (...anchors: readonly Certificate[]) => anchors.map((certificate) => ({ certificate }))

const judge = (ders: readonly Buffer[], pool: readonly Certificate[], anchors: readonly Certificate[]) =>
  judgeCertificates(
    ders,
    pool,
    { anchors: fixedAnchors(anchors) },
    { ...question, localDomain: 'direct.ashby.example', direction: 'incoming' },
  )

/** Is it trusted? Whatever the bytes are, there is an answer. */
function isTrusted(der: Buffer, pool: readonly Certificate[], anchors: readonly Certificate[]): boolean {
  const read = readCertificate(der)
  return read.readable && validateChain(read.certificate, pool, trusting(...anchors), question).trusted
}

test('a certificate changed in any octet, cut or lengthened is never trusted and never breaks anything', () => {
  const { leaf, issuer, root } = threeTiers({
    issuer: { nameConstraints: { permitted: [{ email: 'direct.somephr.example' }] }, policies: ['1.2.3'] },
    leaf: { policies: ['1.2.3'], crlUrls: ['http://crl.example/a'] },
  })
  const pool = [certificateOf(issuer)]
  const anchors = [certificateOf(root)]
  expect(isTrusted(leaf.certificate, pool, anchors)).toBe(true)
  fc.assert(
    fc.property(mutations(leaf.certificate.length), (mutate) => {
      const changed = mutate(leaf.certificate)
      if (changed.equals(leaf.certificate)) return
      // An ECDSA signature has forms that verify the same; what is signed is then the same, too.
      const isResigned = changed.length === leaf.certificate.length && sameSigned(changed, leaf.certificate)
      const trusted = isTrusted(changed, pool, anchors)
      if (!isResigned) expect(trusted).toBe(false)
    }),
    { numRuns: 60_000 },
  )
}, 60_000)

test('an authority changed in any octet carries nobody', () => {
  const { leaf, issuer, root } = threeTiers()
  const anchors = [certificateOf(root)]
  fc.assert(
    fc.property(mutations(issuer.certificate.length), (mutate) => {
      const changed = mutate(issuer.certificate)
      if (changed.equals(issuer.certificate) || sameSigned(changed, issuer.certificate)) return
      const read = readCertificate(changed)
      expect(isTrusted(leaf.certificate, read.readable ? [read.certificate] : [], anchors)).toBe(false)
    }),
    { numRuns: 40_000 },
  )
}, 60_000)

test('whatever bytes are called a certificate or an anchor, the answer is words', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), fc.boolean(), (bytes, isFramed) => {
      const octets = Buffer.from(bytes)
      const der = isFramed
        ? Buffer.concat([Buffer.from([0x30, 0x82, octets.length >> 8, octets.length & 255]), octets])
        : octets
      expect(readCertificate(der)).toMatchObject({ readable: false, because: expect.any(String) })
      const { anchors, problems } = readAnchors(
        [
          { name: 'odd.pem', bytes: der },
          { name: 'p', bytes: Buffer.from(pemOf(der)) },
        ],
        at,
      )
      expect(anchors).toEqual([])
      expect(problems.length).toBeGreaterThan(0)
    }),
    { numRuns: 2000 },
  )
})

test('a pool of hundreds of namesakes costs a bounded number of signatures', () => {
  const root = anEcRoot()
  const issuer = anEcIssuer(root, { subjectKeyId: null })
  const leaf = anEcLeaf(issuer, { authorityKeyId: null })
  // Without key identifiers nothing tells them apart but trying; each is signed by the anchor, so each looks right.
  const namesakes = Array.from({ length: 150 }, () =>
    certificateOf(anEcIssuer(root, { subject: issuer.subjectName, subjectKeyId: null })),
  )
  const anchors = trusting(certificateOf(root))
  expect(validateChain(certificateOf(leaf), namesakes, anchors, question)).toMatchObject({
    trusted: false,
    code: 'budget-exceeded',
  })
  const few = [...namesakes.slice(0, 50), certificateOf(issuer)]
  expect(validateChain(certificateOf(leaf), few, anchors, question)).toMatchObject({ trusted: true })
  const limits = { signaturesMax: 20 }
  expect(validateChain(certificateOf(leaf), few, anchors, { ...question, limits })).toMatchObject({
    code: 'budget-exceeded',
  })
})

test('key identifiers lead to the right one among hundreds of namesakes', () => {
  const root = anEcRoot()
  const issuer = anEcIssuer(root)
  const namesakes = Array.from({ length: 300 }, () =>
    certificateOf(anEcIssuer(root, { subject: issuer.subjectName })),
  )
  const narrow = { ...question, limits: { signaturesMax: 2 } }
  const leaf = certificateOf(anEcLeaf(issuer))
  expect(
    validateChain(leaf, [...namesakes, certificateOf(issuer)], trusting(certificateOf(root)), narrow),
  ).toMatchObject({ trusted: true })
})

test('a mesh of authorities that all certify each other ends', () => {
  const outside = anEcRoot()
  const authorities = Array.from({ length: 8 }, () => anEcIssuer(outside))
  const mesh = authorities.flatMap((one) =>
    authorities
      .filter((other) => other !== one)
      .map((other) => certificateOf(anEcIssuer(one, { subject: other.subjectName, key: other.privateKey }))),
  )
  const anchors = trusting(certificateOf(anEcRoot()))
  const verdict = validateChain(certificateOf(anEcLeaf(authorities[0]!)), mesh, anchors, question)
  expect(verdict).toMatchObject({ trusted: false, code: 'budget-exceeded' })
})

test('many names against many constraints cost a bounded number of comparisons', () => {
  const permitted = Array.from({ length: 300 }, (_, n) => ({ email: `host${n}.example` }))
  const issuer = anEcIssuer(anEcRoot(), { nameConstraints: { excluded: permitted } })
  const emails = [ellen, ...Array.from({ length: 300 }, (_, n) => `n${n}@other.example`)]
  const leaf = certificateOf(anEcLeaf(issuer, { emails }))
  const anchors = trusting(certificateOf(issuer))
  expect(validateChain(leaf, [], anchors, question)).toMatchObject({ trusted: true })
  expect(
    validateChain(leaf, [], anchors, { ...question, limits: { nameComparisonsMax: 10_000 } }),
  ).toMatchObject({ code: 'budget-exceeded' })
})

test('of several refused certificates the most telling reason is given', async () => {
  const { issuer, root } = threeTiers()
  const forged = anEcIssuer(anEcRoot(), { subject: issuer.subjectName }).issue({ ...ec, emails: [ellen] })
  const stray = anEcLeaf(anEcRoot())
  const judged = await judge(
    [stray.certificate, forged.certificate, Buffer.from('no')],
    [certificateOf(issuer)],
    [certificateOf(root)],
  )
  expect(judged.because).toMatch(/is not signed by .* \(and 2 further certificates are refused\)$/)
  expect(judged.trace.map(({ outcome }) => outcome)).toEqual(['refused', 'refused', 'refused'])
  expect((await judge([stray.certificate], [], [])).because).toContain('no trust anchor is configured')
})

function mutations(length: number): fc.Arbitrary<(der: Buffer) => Buffer> {
  const octet = fc.tuple(fc.nat(length - 1), fc.integer({ min: 0, max: 255 }))
  return fc.oneof(
    {
      weight: 6,
      arbitrary: fc.array(octet, { minLength: 1, maxLength: 3 }).map((changes) => (der: Buffer) => {
        const bytes = Buffer.from(der)
        for (const [index, value] of changes) bytes[index] = value
        return bytes
      }),
    },
    { weight: 1, arbitrary: fc.nat(length - 1).map((end) => (der: Buffer) => der.subarray(0, end)) },
    {
      weight: 1,
      arbitrary: fc
        .uint8Array({ minLength: 1, maxLength: 9 })
        .map((more) => (der: Buffer) => Buffer.concat([der, more])),
    },
    {
      weight: 2,
      arbitrary: fc.tuple(fc.nat(length - 1), fc.nat(20)).map(
        ([from, count]) =>
          (der: Buffer) =>
            Buffer.concat([der.subarray(0, from), der.subarray(Math.min(length, from + count))]),
      ),
    },
  )
}

/** Do both say the same under the signature? The certificate begins with tbsCertificate. */
function sameSigned(changed: Buffer, original: Buffer): boolean {
  const end = 4 + 4 + original.readUInt16BE(6)
  return changed.length >= end && changed.subarray(0, end).equals(original.subarray(0, end))
}
