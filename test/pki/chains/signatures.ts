import { oid } from '../der.ts'
import { drawKey, type KeyType } from '../keys.ts'
import { issueFor, makeRoot } from '../pki.ts'
import {
  anEcIssuer,
  anEcLeaf,
  anEcRoot,
  bitFlipped,
  chain,
  ellen,
  noTurningBack,
  threeTiers,
  type ChainCase,
} from './chain-case.ts'

/** Who really signed, and with what. */
export function signatureChains(): ChainCase[] {
  const { root, issuer, leaf, given } = threeTiers()
  const impostor = anEcIssuer(anEcRoot(), { subject: issuer.subjectName, subjectKeyId: issuer.subjectKeyId })
  const selfMade = anEcRoot({
    name: 'Self made',
    emails: [ellen],
    keyUsage: ['digitalSignature', 'keyAgreement', 'keyCertSign'],
    subjectKeyId: root.subjectKeyId,
  })
  const subjectAt = leaf.certificate.indexOf(ellen) // in its subject
  return [
    chain('a signature with one bit turned', 'bad-signature', { ...given, leaf: bitFlipped(leaf, -1) }),
    chain('a subject changed after signing', 'bad-signature', {
      ...given,
      leaf: bitFlipped(leaf, subjectAt),
    }),
    chain('one algorithm under the signature and another beside it', 'unreadable', {
      ...given,
      leaf: otherAlgorithmBeside(leaf.certificate),
    }),
    chain('an authority changed after signing', 'bad-signature', {
      leaf,
      pool: [bitFlipped(issuer, -1)],
      anchors: [root],
    }),
    chain('an issuer’s name and key identifier copied, its key not', 'bad-signature', {
      ...given,
      leaf: anEcLeaf(impostor),
    }),
    chain('an impostor beside the real issuer, and the real one is found', 'trusted', {
      leaf,
      pool: [impostor, issuer],
      anchors: [root],
      differsBecause: noTurningBack,
    }),
    chain('an authority that the anchor did not sign', 'bad-signature', {
      leaf: anEcLeaf(impostor),
      pool: [
        anEcIssuer(root, {
          subject: issuer.subjectName,
          key: impostor.privateKey,
          signWith: drawKey('ec256'),
        }),
      ],
      anchors: [root],
    }),
    chain('signed by itself, with the key identifier of an anchor copied', 'no-path', {
      leaf: selfMade,
      anchors: [root],
    }),
    chain('signed by itself, under the name of an anchor', 'bad-signature', {
      leaf: anEcRoot({
        subject: root.subjectName,
        subjectKeyId: root.subjectKeyId,
        emails: [ellen],
        keyUsage: ['digitalSignature', 'keyAgreement'],
        basicConstraints: null,
      }),
      anchors: [root],
    }),
    ...strongEnough(),
    ...tooWeak(),
    chain('a weak signature on the anchor itself, which proves nothing', 'trusted', {
      leaf: anEcLeaf(weakRoot),
      anchors: [weakRoot],
    }),
  ]
}

const weakRoot = makeRoot({ keyType: 'rsa2048', signatureDigest: 'sha1' })

function strongEnough(): ChainCase[] {
  const kinds: readonly [string, KeyType, 'sha256' | 'sha384' | 'sha512', 'pkcs1' | 'pss'][] = [
    ['RSA-2048 with SHA-256', 'rsa2048', 'sha256', 'pkcs1'],
    ['RSA-3072 with SHA-384', 'rsa3072', 'sha384', 'pkcs1'],
    ['RSA-2048 with SHA-512', 'rsa2048', 'sha512', 'pkcs1'],
    ['RSA-PSS with SHA-256', 'rsa2048', 'sha256', 'pss'],
    ['RSA-PSS with SHA-512', 'rsa2048', 'sha512', 'pss'],
    ['P-256 with SHA-256', 'ec256', 'sha256', 'pkcs1'],
    ['P-384 with SHA-384', 'ec384', 'sha384', 'pkcs1'],
    ['P-521 with SHA-512', 'ec521', 'sha512', 'pkcs1'],
    ['P-256 with SHA-512', 'ec256', 'sha512', 'pkcs1'],
  ]
  return kinds.map(([what, keyType, signatureDigest, signaturePadding]) => {
    const key = drawKey(keyType)
    const root = makeRoot({ keyType, signatureDigest, signaturePadding })
    const issuer = root.issueAuthority({ keyType, signatureDigest, signaturePadding })
    const leaf = issueFor(issuer, ellen, { key, signatureDigest, signaturePadding })
    return chain(`signed with ${what}`, 'trusted', { leaf, pool: [issuer], anchors: [root] })
  })
}

function tooWeak(): ChainCase[] {
  const rsa = makeRoot({ keyType: 'rsa2048' })
  const small = makeRoot({ keyType: 'rsa1024' })
  const { root, issuer, given } = threeTiers()
  const ed = root.issueAuthority({ keyType: 'ed25519' })
  const smallIssuer = rsa.issueAuthority({ keyType: 'rsa1024' })
  const sha1Issuer = rsa.issueAuthority({ keyType: 'ec256', signatureDigest: 'sha1' })
  return [
    chain('signed with SHA-1', 'algorithm-refused', {
      leaf: anEcLeaf(rsa, { signatureDigest: 'sha1' }),
      anchors: [rsa],
    }),
    chain('signed with ECDSA and SHA-1', 'algorithm-refused', {
      leaf: anEcLeaf(root, { signatureDigest: 'sha1' }),
      anchors: [root],
    }),
    chain('signed with MD5', 'algorithm-refused', {
      leaf: anEcLeaf(rsa, { signatureDigest: 'md5' }),
      anchors: [rsa],
    }),
    chain('an authority signed with SHA-1', 'algorithm-refused', {
      leaf: anEcLeaf(sha1Issuer),
      pool: [sha1Issuer],
      anchors: [rsa],
    }),
    chain('an RSA key of 1024 bits', 'key-too-small', {
      leaf: issueFor(rsa, ellen, { keyType: 'rsa1024' }),
      anchors: [rsa],
    }),
    chain('an authority with an RSA key of 1024 bits', 'key-too-small', {
      leaf: anEcLeaf(smallIssuer),
      pool: [smallIssuer],
      anchors: [rsa],
    }),
    chain('an anchor with an RSA key of 1024 bits', 'key-too-small', {
      leaf: anEcLeaf(small),
      anchors: [small],
    }),
    chain('a key on secp256k1', 'algorithm-refused', {
      ...given,
      leaf: issueFor(issuer, ellen, { keyType: 'ec256k1' }),
      differsBecause: 'openssl asks for bits of strength only; no Direct peer has to know this curve',
    }),
    chain('a key on Ed25519', 'algorithm-refused', {
      ...given,
      leaf: issueFor(issuer, ellen, { keyType: 'ed25519' }),
      differsBecause: 'the Applicability Statement names RSA and ECDSA; our CMS signs and verifies no EdDSA',
    }),
    chain('an authority with a key on Ed25519', 'algorithm-refused', {
      leaf: anEcLeaf(ed),
      pool: [ed],
      anchors: [root],
      differsBecause: 'the Applicability Statement names RSA and ECDSA',
    }),
  ]
}

/** ecdsa-with-SHA256 in tbsCertificate stays; beside the signature it becomes ecdsa-with-SHA384. */
function otherAlgorithmBeside(certificate: Buffer): Buffer {
  const sha256 = oid('1.2.840.10045.4.3.2')
  const bytes = Buffer.from(certificate)
  bytes[bytes.lastIndexOf(sha256) + sha256.length - 1] = 3
  return bytes
}
