import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { readPartners } from '../../src/partners.ts'
import { parseSettings } from '../../src/settings.ts'
import { at, daysFromNow, ec } from '../pki/chains/chain-case.ts'
import { issueFor, makeRoot, pemOf, type Issued } from '../pki/pki.ts'

const sender = 'transmit@direct.ashby.example'
const root = makeRoot(ec)
const issuer = root.issueAuthority(ec)
let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'partners-'))
  writeFileSync(join(folder, 'root.pem'), root.certificatePem)
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Writes each key to its file and reads settings that name them. */
function partnersOf(keys: Readonly<Record<string, Issued>>, anchors = ['./root.pem']) {
  const environment: Record<string, string> = {}
  const entries = Object.entries(keys).map(([name, issued]) => {
    writeFileSync(join(folder, `${name}.pem`), issued.certificatePem + pemOf(...issuer.chain))
    environment[`KEY_${name}`] = issued.privateKeyPem
    return `  - { certificate: ./${name}.pem, privateKey: env:KEY_${name} }`
  })
  const text = [
    `dataHolder: { name: Ashby, address: ${sender} }`,
    ...(entries.length === 0 ? [] : ['keys:', ...entries]),
    `trust: { anchors: [${anchors.join(', ')}] }`,
    'discovery: { dns: { servers: [127.0.0.1:1] } }',
  ].join('\n')
  const reading = parseSettings(text, join(folder, 'bluepost.yaml'), environment)
  if (!reading.valid) throw new Error(JSON.stringify(reading.problems))
  const partners = readPartners(reading.settings, at)
  return { ...partners, signers: partners.keyRing.signers(at), ownKeys: partners.keyRing.ownKeys(at) }
}

test('a key for the data holder’s address signs with its chain and decrypts', () => {
  const leaf = issueFor(issuer, sender, { ...ec, notAfter: daysFromNow(40.5) })
  const partners = partnersOf({ ashby: leaf })
  expect(partners).toMatchObject({
    signers: [{ certificate: leaf.certificate, intermediates: [issuer.certificate] }],
    ownKeys: [{ certificate: leaf.certificate }],
    anchors: [{ der: root.certificate }],
    problems: [],
  })
  expect(partners.signers[0]!.fingerprint).toMatch(/^[0-9a-f]{64}$/)
  expect(Object.fromEntries(partners.daysLeft)).toMatchObject({ sign: 40, decrypt: 40 })
})

test('one key to sign and one to decrypt each do their part, without complaint', () => {
  const signs = issueFor(issuer, sender, {
    ...ec,
    keyUsage: ['digitalSignature'],
    notAfter: daysFromNow(10.5),
  })
  const reads = issueFor(issuer, 'direct.ashby.example', {
    ...ec,
    keyUsage: ['keyAgreement'],
    notAfter: daysFromNow(20.5),
  })
  const partners = partnersOf({ signs, reads })
  expect(partners.signers.map(({ certificate }) => certificate)).toEqual([signs.certificate])
  expect(partners.ownKeys.map(({ certificate }) => certificate)).toEqual([reads.certificate])
  expect(partners.problems).toEqual([])
  expect(Object.fromEntries(partners.daysLeft)).toMatchObject({ sign: 10, decrypt: 20 })
})

test('a certificate for somebody else does not sign, and says so with its line', () => {
  const { signers, problems } = partnersOf({ bob: issueFor(issuer, 'bob@direct.other.example', ec) })
  expect(signers).toEqual([])
  expect(problems).toEqual([
    expect.stringMatching(/bluepost\.yaml:3\), .*bob\.pem cannot sign: it is for bob@/),
  ])
})

test('an expired certificate stops signing, still decrypts, and its days are negative', () => {
  const old = issueFor(issuer, sender, { ...ec, notBefore: daysFromNow(-90), notAfter: daysFromNow(-1.5) })
  const partners = partnersOf({ old })
  expect(partners.signers).toEqual([])
  expect(partners.ownKeys).toHaveLength(1)
  expect(partners.daysLeft.get('sign')).toBe(-2)
  expect(partners.problems).toEqual([expect.stringMatching(/cannot sign: .* expired on/)])
  const current = issueFor(issuer, sender, ec)
  expect(partnersOf({ old, current })).toMatchObject({
    problems: [],
    signers: [{ certificate: current.certificate }],
    ownKeys: [{ certificate: old.certificate }, { certificate: current.certificate }],
  })
})

test('a key that cannot be read leaves the others in use', () => {
  const good = issueFor(issuer, sender, ec)
  const wrong = { ...issueFor(issuer, sender, ec), privateKeyPem: good.privateKeyPem }
  const partners = partnersOf({ good, wrong })
  expect(partners.signers).toHaveLength(1)
  expect(partners.problems).toEqual([expect.stringContaining('does not belong to the certificate')])
})

test('anchors come from globs, each once; what is missing, broken or expired is named', () => {
  const expired = makeRoot({ ...ec, notBefore: daysFromNow(-90), notAfter: daysFromNow(-1) })
  writeFileSync(join(folder, 'a-anchor.crt'), root.certificatePem + issuer.certificatePem)
  writeFileSync(join(folder, 'b-anchor.crt'), expired.certificate)
  writeFileSync(join(folder, 'c-anchor.crt'), 'no certificate')
  const { anchors, problems, daysLeft } = partnersOf({}, [
    './*-anchor.crt',
    './root.pem',
    './none.pem',
    './no/*.pem',
  ])
  expect(anchors.map(({ der }) => der)).toEqual([root.certificate, issuer.certificate, expired.certificate])
  expect(daysLeft.get('anchor')).toBeGreaterThan(300)
  expect(problems).toEqual([
    expect.stringMatching(/b-anchor\.crt: .* expired on/),
    expect.stringMatching(/c-anchor\.crt: neither PEM nor DER/),
    expect.stringMatching(/none\.pem: cannot be read \(ENOENT\)/),
    expect.stringMatching(/no file fits .*no\/\*\.pem/),
  ])
})
