import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { readBundle, type BundleReading } from '../../src/trust/bundle.ts'
import { readCertificate, type Certificate } from '../../src/trust/certificate.ts'
import { armoured, asBer, makeBundle, signBundle } from '../pki/bundle.ts'
import { anEcIssuer, anEcRoot, at, daysFromNow } from '../pki/chains/chain-case.ts'
import { context, sequence } from '../pki/der.ts'
import { makeRoot, pemOf, type Issued } from '../pki/pki.ts'

const [one, two, three] = [anEcRoot(), anEcRoot(), anEcRoot()]
const ders = [one, two, three].map(({ certificate }) => certificate)
const plain = makeBundle(ders)
const signer = anEcRoot()
const attacker = anEcRoot()

const certificateOf = ({ certificate }: { certificate: Buffer }): Certificate => {
  const reading = readCertificate(certificate)
  if (!reading.readable) throw new Error(reading.because)
  return reading.certificate
}
const read = (bytes: Buffer, ...signers: readonly Issued[]) =>
  readBundle(bytes, signers.map(certificateOf), at)

/** DER of the anchors, or the code of the refusal. */
function anchorsOf(reading: BundleReading): readonly Buffer[] | string {
  return reading.outcome === 'read' ? reading.bundle.anchors.map(({ der }) => der) : reading.code
}

describe('a bundle without signers is its certificates', () => {
  test.each([
    ['DER', plain],
    ['BER of indefinite length', asBer(plain)],
    ['PEM as PKCS7', armoured(plain)],
    ['PEM as CMS', armoured(plain, 'CMS')],
    [
      'PEM of BER, with CRLF and a byte order mark',
      Buffer.from(`\ufeff${armoured(asBer(plain)).toString().replaceAll('\n', '\r\n')}`),
    ],
    ['bare base64', Buffer.from(plain.toString('base64').replaceAll(/.{1,76}/g, '$&\n'))],
  ])('%s', (_, bytes) => {
    expect(read(bytes)).toMatchObject({ outcome: 'read', bundle: { form: 'certificates', dropped: [] } })
    expect(anchorsOf(read(bytes))).toEqual(ders)
  })

  test('beside metadata, which is no bundle inside', () => {
    const metadata = Buffer.from('<xml><testStructure/></xml>')
    for (const bytes of [makeBundle(ders, metadata), asBer(makeBundle(ders, metadata))]) {
      expect(anchorsOf(read(bytes))).toEqual(ders)
      expect(read(bytes)).toMatchObject({ bundle: { form: 'certificates and metadata' } })
    }
    expect(anchorsOf(read(makeBundle(ders, makeBundle([attacker.certificate]))))).toEqual(ders)
  })

  test('each anchor once; other kinds of certificates are left out', () => {
    const attributeCertificate = context(1, sequence())
    expect(anchorsOf(read(makeBundle([ders[0]!, attributeCertificate, ders[1]!, ders[0]!])))).toEqual(
      ders.slice(0, 2),
    )
  })

  test('an anchor may be an authority in between, or anybody', () => {
    const between = anEcIssuer(one)
    const leaf = between.issue({ keyType: 'ec256' })
    const bundle = makeBundle([between.certificate, leaf.certificate])
    expect(anchorsOf(read(bundle))).toEqual([between.certificate, leaf.certificate])
  })

  test('what has expired or cannot be read is left out and named', () => {
    const expired = anEcRoot({ name: 'Old Root', notBefore: daysFromNow(-90), notAfter: daysFromNow(-1) })
    const broken = sequence(sequence())
    const reading = read(makeBundle([ders[0]!, expired.certificate, broken]))
    expect(anchorsOf(reading)).toEqual([ders[0]])
    expect(reading).toMatchObject({
      bundle: {
        dropped: [
          expect.stringMatching(/Old Root.* expired on/),
          expect.stringMatching(/^certificate 3 of 3 cannot be read/),
        ],
      },
    })
    expect(anchorsOf(read(makeBundle([expired.certificate])))).toBe('no-anchors')
  })
})

describe('a signed bundle is the bundle inside', () => {
  test.each([
    ['DER in DER', plain, (bytes: Buffer) => bytes],
    ['PEM in DER', armoured(plain), (bytes: Buffer) => bytes],
    ['BER in BER', asBer(plain), asBer],
    ['PEM in PEM', armoured(plain), armoured],
    ['base64 in BER', Buffer.from(plain.toString('base64')), asBer],
  ])('%s, with or without a signer to be required', (_, inner, outer) => {
    const bytes = outer(signBundle(inner, [signer]))
    expect(anchorsOf(read(bytes))).toEqual(ders)
    const required = read(bytes, signer)
    expect(anchorsOf(required)).toEqual(ders)
    expect(required).toMatchObject({ bundle: { form: 'signed', signer: { der: signer.certificate } } })
  })

  test.each([
    ['RSA', makeRoot(), {}],
    ['RSA under its bare name', makeRoot(), { plainRsa: true }],
    ['RSA-PSS', makeRoot(), { pss: true }],
    ['ECDSA without attributes', signer, { withoutAttributes: true }],
    ['attributes in an order of their own', signer, { isUnordered: true }],
    ['no certificate of the signer carried', signer, { certificates: [] }],
    ['the anchors carried beside the signer', signer, { certificates: [signer.certificate, ...ders] }],
  ])('%s', (_, by, wishes) => expect(anchorsOf(read(signBundle(plain, [by], wishes), by))).toEqual(ders))

  test('one of several signatures is enough, and one of several who may sign', () => {
    const bytes = signBundle(plain, [attacker, signer])
    expect(anchorsOf(read(bytes, signer))).toEqual(ders)
    expect(read(bytes, two, signer)).toMatchObject({ bundle: { signer: { der: signer.certificate } } })
  })

  test('whoever signs is never an anchor, required or not', () => {
    const bytes = signBundle(makeBundle([ders[0]!]), [attacker])
    expect(anchorsOf(read(bytes))).toEqual([ders[0]])
    expect(anchorsOf(read(bytes, signer))).toBe('wrong-signer')
    // The reference implementation took the first certificate that a parser found, and looked no further.
    expect(anchorsOf(read(signBundle(Buffer.from('no bundle'), [attacker])))).toBe('unreadable')
    expect(anchorsOf(read(signBundle(makeBundle([]), [attacker])))).toBe('no-anchors')
    const inner = signBundle(plain, [attacker])
    expect(anchorsOf(read(signBundle(inner, [signer]), signer))).toBe('unreadable')
  })
})

describe('where a signer is required', () => {
  const changed = Buffer.from(makeBundle([attacker.certificate]))
  test.each([
    ['an unsigned bundle', plain, 'unsigned'],
    ['an unsigned bundle that carries the signer', makeBundle([signer.certificate, ...ders]), 'unsigned'],
    ['somebody else’s signature', signBundle(plain, [attacker]), 'wrong-signer'],
    [
      'somebody else’s signature beside the signer’s certificate',
      signBundle(plain, [attacker], { certificates: [signer.certificate] }),
      'wrong-signer',
    ],
    ['a digest of something else', signBundle(changed, [signer], { digestOf: plain }), 'wrong-signer'],
    [
      'another type in the attributes',
      signBundle(plain, [signer], { typeInAttributes: '1.2.3' }),
      'wrong-signer',
    ],
    ['SHA-1', signBundle(plain, [signer], { digest: 'sha1' }), 'weak-signature'],
    ['SHA-1 by somebody else', signBundle(plain, [attacker], { digest: 'sha1' }), 'wrong-signer'],
  ])('%s is refused', (_, bytes, code) => expect(anchorsOf(read(bytes, signer))).toBe(code))

  test('one octet of the content, the attributes or the signature decides', () => {
    const bytes = signBundle(makeBundle([ders[0]!]), [signer], { certificates: [] })
    expect(anchorsOf(read(bytes, signer))).toEqual([ders[0]])
    for (let index = 0; index < bytes.length; index++) {
      const broken = Buffer.from(bytes)
      broken[index]! ^= 1
      const anchors = anchorsOf(read(broken, signer))
      // Names of the signer and version numbers say nothing and so decide nothing; what comes out is what was signed.
      if (typeof anchors !== 'string') expect(anchors).toEqual([ders[0]])
    }
    const content = bytes.indexOf(ders[0]!) + 100
    const broken = Buffer.from(bytes)
    broken[content]! ^= 1
    expect(anchorsOf(read(broken, signer))).toBe('wrong-signer')
  })

  test('a signer whose certificate is over signs no more', () => {
    const old = anEcRoot({ notBefore: daysFromNow(-90), notAfter: daysFromNow(-1) })
    expect(anchorsOf(read(signBundle(plain, [old]), old))).toBe('signer-expired')
    expect(anchorsOf(read(signBundle(plain, [old]), old, signer))).toBe('wrong-signer')
    expect(anchorsOf(read(signBundle(plain, [old, signer]), old, signer))).toEqual(ders)
  })
})

describe('what is no bundle is refused, with the reason', () => {
  test.each([
    ['nothing', Buffer.alloc(0), /neither PKCS#7/],
    ['text', Buffer.from('invalid'), /it is no trust bundle/],
    ['a page for people', Buffer.from('<!DOCTYPE html><html>-----BEGIN PKCS7-----</html>'), /neither PKCS#7/],
    ['a certificate', ders[0]!, /it is no trust bundle/],
    ['a list of certificates', Buffer.from(pemOf(...ders)), /name it under trust\.anchors/],
    ['a private key', Buffer.from(one.privateKeyPem), /holds PRIVATE KEY/],
    ['half a bundle', plain.subarray(0, plain.length - 9), /not readable as BER/],
    ['half a PEM', armoured(plain).subarray(0, -30), /PEM has no end/],
    ['a bundle and something else', Buffer.concat([plain, Buffer.alloc(3)]), /something follows/],
    ['a bundle quoted in a text', Buffer.concat([Buffer.from('See: '), armoured(plain)]), /neither PKCS#7/],
    ['no certificates', makeBundle([]), /has no certificates/],
  ])('%s', (_, bytes, because) => {
    expect(read(bytes)).toMatchObject({ outcome: 'refused', because: expect.stringMatching(because) })
  })

  test('octets and certificates are bounded', () => {
    expect(anchorsOf(read(Buffer.alloc(8 * 1024 * 1024 + 1, 0x30)))).toBe('too-large')
    expect(anchorsOf(read(makeBundle(Array<Buffer>(2001).fill(ders[0]!))))).toBe('too-large')
    expect(anchorsOf(read(makeBundle(Array<Buffer>(2000).fill(ders[0]!))))).toEqual([ders[0]])
  })
})

/** Bundles of the Direct community’s own test material, in the folder that BLUEPOST_CORPUS names. */
const corpus = process.env['BLUEPOST_CORPUS']
describe(corpus === undefined ? 'samples: BLUEPOST_CORPUS names none' : 'samples', () => {
  const sample = (name: string) => readFileSync(join(corpus ?? '', 'direct/nhin-d/bundles', name))
  const then = new Date('2015-06-01T00:00:00Z')

  test('a signed bundle yields what was signed, never its signer', () => {
    if (corpus === undefined) return
    const signing = certificateOf({ certificate: sample('bundleSigner.der') })
    const signed = readBundle(sample('signedbundle.p7m'), [], then)
    expect(signed).toMatchObject({
      bundle: {
        form: 'signed',
        anchors: [{ subject: { text: expect.stringContaining('sm1.direct.com Root CA') } }],
      },
    })
    expect(anchorsOf(signed)).not.toContainEqual(signing.der)
    expect(anchorsOf(readBundle(sample('signedbundle.p7b'), [], then))).toEqual(anchorsOf(signed))
    // The signature is the signer’s own: not “wrong-signer”. SHA-1 is why it counts for nothing.
    expect(anchorsOf(readBundle(sample('signedbundle.p7m'), [signing], then))).toBe('weak-signature')
    expect(anchorsOf(readBundle(sample('signedbundle.p7m'), [certificateOf(signer)], at))).toBe(
      'wrong-signer',
    )
    expect(anchorsOf(readBundle(sample('signedbundle.p7b'), [signing], then))).toBe('unsigned')
    expect(anchorsOf(readBundle(sample('signedbundle.p7m'), [], at))).toBe('no-anchors')
  })

  test('a community’s bundle, one in PEM, and one that is none', () => {
    if (corpus === undefined) return
    const provider = readBundle(sample('providerTestBundle.p7b'), [], then)
    expect(anchorsOf(provider)).toHaveLength(6)
    const randomizer = readFileSync(join(corpus, 'direct/java-agent/certs/cmsRandomizer.p7b'))
    expect(readBundle(randomizer, [], then)).toMatchObject({ outcome: 'read' })
    expect(anchorsOf(readBundle(sample('invalidBundle.der'), [], then))).toBe('unreadable')
  })
})
