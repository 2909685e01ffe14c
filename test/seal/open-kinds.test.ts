import { createHash, sign, type KeyObject } from 'node:crypto'
import { describe, expect, test } from '@jest/globals'
import { Failed } from '../../src/domain/failure.ts'
import { readDer } from '../../src/lib/der.ts'
import { open } from '../../src/seal/open.ts'
import { fileKeyHolder, type KeyHolder } from '../../src/seal/own-key.ts'
import { readSignedData } from '../../src/seal/verify-signed.ts'
import { boolean, context, octetString, oid, sequence, set, utf8String } from '../pki/der.ts'
import { handEnveloped, type EnvelopeWishes } from './by-hand-envelope.ts'
import { handSigned } from './by-hand-signed.ts'
import { digestAttribute, entityOf, keysOf, mail, message, signedBy, town, wrapped } from './by-hand.ts'
import { contentTypeOf, enveloped, opened, refusal, sha256Oid } from './by-hand.ts'
import { oldPolicy } from './old-policy.ts'

const entity = () => entityOf(signedBy(town.ashby), wrapped)
const attribute = (type: string, value: Buffer) => sequence(oid(type), set(value))

describe('keys', () => {
  test.each<[string, 'ec256' | 'ec384' | 'ec521', EnvelopeWishes]>([
    ['ecdh-sha1', 'ec256', { kdf: 'sha1', wrapBytes: 16 }],
    ['ecdh-sha256', 'ec256', { kdf: 'sha256', wrapBytes: 16, ukm: Buffer.from('keying material') }],
    ['ecdh-sha256', 'ec521', { kdf: 'sha256', wrapBytes: 24, ukm: Buffer.alloc(0) }],
    ['ecdh-sha384', 'ec384', { kdf: 'sha384', wrapBytes: 32, isCofactor: true }],
    ['ecdh-sha512', 'ec256', { kdf: 'sha512', ukm: Buffer.alloc(512, 7), isCofactor: true }],
  ])('%s to %s', async (keyTransport, keyType, wishes) => {
    const ours = town.member('us@direct.ashby.example', { keyType })
    for (const cipher of ['aes-128-cbc', 'aes-256-gcm'] as const) {
      const read = await opened(mail(handEnveloped(entity(), ours, { ...wishes, cipher })), ours)
      expect([read.keyTransport, read.cipher]).toEqual([keyTransport, cipher])
      expect(read.message.equals(message)).toBe(true)
    }
  })

  test('that live in a device are asked for operations; a device that cannot be reached is no wrong key', async () => {
    const asked: string[] = []
    const inDevice = (privateKey: KeyObject, isReachable: boolean): KeyHolder => {
      const inside = fileKeyHolder(privateKey)
      const answer = async (what: string, work: () => Promise<Buffer>) => {
        asked.push(what)
        if (!isReachable) throw new Failed('key-unavailable', 'the device does not answer')
        return work()
      }
      return {
        type: inside.type,
        sign: (hash, bytes) => answer('sign', () => inside.sign(hash, bytes)),
        decrypt: (bytes, padding) => answer(padding, () => inside.decrypt(bytes, padding)),
        agree: (peer) => answer('agree', () => inside.agree(peer)),
      }
    }
    const ec = town.member('us@direct.ashby.example', { keyType: 'ec256' })
    for (const ours of [town.phr, ec]) {
      const raw = mail(handEnveloped(entity(), ours))
      const { certificate, privateKey } = ours
      const read = await open(raw, { keys: [{ certificate, key: inDevice(privateKey, true) }] })
      expect(read.opened).toBe(true)
      const unreachable = open(raw, { keys: [{ certificate, key: inDevice(privateKey, false) }] })
      await expect(unreachable).rejects.toThrow(Failed)
    }
    expect(asked).toEqual(['pkcs1', 'pkcs1', 'agree', 'agree'])
  })

  test('are found when the sender writes the issuer’s name in its own way, and several of ours share a serial number', async () => {
    const serial = 77n
    const twins = ['a', 'b'].map((name) => town.member(`${name}@direct.ashby.example`, { serial }))
    const issuer = sequence(set(sequence(oid('2.5.4.3'), utf8String('Somewhere, otherwise'))))
    for (const ours of twins) {
      const read = await opened(mail(handEnveloped(entity(), ours, { issuer })), ...twins)
      expect(read.encryptedTo.equals(ours.certificate)).toBe(true)
    }
  })

  test('of 1024 bits are refused before they are used', async () => {
    const weak = town.member('us@direct.ashby.example', { keyType: 'rsa1024' })
    const raw = mail(handEnveloped(entity(), weak))
    expect(await refusal(raw, weak)).toBe('algorithm-refused')
    expect((await open(raw, { ...keysOf(weak), policy: oldPolicy })).opened).toBe(true)
  })
})

describe('what GCM protects', () => {
  const attributes = [
    attribute('1.2.840.113549.1.9.3', oid('1.2.840.113549.1.7.1')),
    attribute('1.2.840.113549.1.9.52', boolean(true)),
  ]

  test('includes authenticated attributes', async () => {
    const cms = handEnveloped(entity(), town.phr, { cipher: 'aes-256-gcm', attributes })
    expect((await opened(mail(cms))).message.equals(message)).toBe(true)
    const at = cms.lastIndexOf(boolean(true))
    cms[at + 2] = 0x00
    expect(await refusal(mail(cms))).toBe('undecryptable')
  })

  test('is not handed out with a wrong tag, and a wrong key looks the same', async () => {
    const wrong = handEnveloped(entity(), town.phr, { cipher: 'aes-256-gcm', tag: Buffer.alloc(16) })
    const right = handEnveloped(entity(), town.phr, { cipher: 'aes-256-gcm' })
    const stranger = { certificate: town.phr.certificate, privateKey: town.ashby.privateKey }
    const answers = [await open(mail(wrong), keysOf(town.phr)), await open(mail(right), keysOf(stranger))]
    expect(answers[0]).toEqual({
      opened: false,
      refusal: 'undecryptable',
      because: 'none of our keys opens it',
    })
    expect(answers[1]).toEqual(answers[0])
  })
})

describe('signed attributes', () => {
  const dataOid = '1.2.840.113549.1.7.1'
  const signersOf = (cms: Buffer, content = wrapped) => readSignedData(readDer(cms), content).signers

  test('in BER are verified over their DER', async () => {
    const cms = handSigned(wrapped, [town.ashby])
    const digest = octetString(createHash('sha256').update(wrapped).digest())
    const at = cms.lastIndexOf(digest)
    // The digest in two pieces, as X.690 §8.7.3 allows.
    const inPieces = Buffer.concat([
      Buffer.from([0x24, 0x80]),
      octetString(digest.subarray(2, 12)),
      octetString(digest.subarray(12)),
      Buffer.alloc(2),
    ])
    const longer = inPieces.length - digest.length
    const out = Buffer.concat([cms.subarray(0, at), inPieces, cms.subarray(at + digest.length)])
    // Every value that holds it grows by the same octets.
    for (const start of holdersOf(cms, at)) grow(out, start, longer)
    expect(out.equals(cms)).toBe(false)
    expect(signersOf(out).map((one) => one.because)).toEqual([undefined])
  })

  test('that protect the algorithm must name the digest that is used (RFC 6211)', async () => {
    const protecting = (digestOid: string) => ({
      attributes: (content: Buffer) => [
        contentTypeOf(dataOid),
        digestAttribute(content),
        attribute(
          '1.2.840.113549.1.9.52',
          sequence(sequence(oid(digestOid)), context(1, oid('1.2.840.113549.1.1.1'))),
        ),
      ],
    })
    const [good] = (await opened(enveloped(entityOf(signedBy(town.ashby, protecting(sha256Oid)), wrapped))))
      .signers
    expect(good!.valid).toBe(true)
    const other = protecting('2.16.840.1.101.3.4.2.3')
    const [bad] = (await opened(enveloped(entityOf(signedBy(town.ashby, other), wrapped)))).signers
    expect(bad!.because).toBe('it was signed with another digest')
  })

  test('of a real signature, presented as the content of one without attributes, are not taken for content', () => {
    const attributes = Buffer.from(set(contentTypeOf(dataOid), digestAttribute(wrapped)))
    const stolen = sign('sha256', attributes, town.ashby.privateKey)
    const forged = signedBy(town.ashby, { withoutAttributes: true, signWith: () => stolen })(attributes)
    expect(signersOf(forged, attributes)[0]!.because).toBe(
      'what it signs are the attributes of another signature',
    )
  })

  test('and a detached signature that carries other content are a contradiction', () => {
    const cms = signedBy(town.ashby, { opaque: true })(wrapped)
    expect(signersOf(cms).map((one) => one.valid)).toEqual([true])
    expect(() => signersOf(cms, Buffer.from('other'))).toThrow(/carries other content/)
  })

  test('by a signer that two certificates of one serial number could mean, hold for the one whose key fits', () => {
    const twins = ['a', 'b'].map((name) => town.member(`${name}@direct.ashby.example`, { serial: 99n }))
    const cms = handSigned(wrapped, [twins[1]!], { beside: [twins[0]!.certificate] })
    const signers = signersOf(cms)
    expect(signers.map((one) => [one.valid, one.certificate!.equals(twins[1]!.certificate)])).toEqual([
      [true, true],
    ])
  })
})

/** Where the values start that hold the octet at `inside`, outermost first. */
function holdersOf(bytes: Buffer, inside: number): number[] {
  const starts: number[] = []
  const walk = (from: number, end: number) => {
    for (let at = from; at < end;) {
      const value = readDer(bytes, at, end)
      if (value.start < inside && inside < value.end && value.constructed) {
        starts.push(value.start)
        walk(value.contentStart, value.contentEnd)
      }
      at = value.end
    }
  }
  walk(0, bytes.length)
  return starts
}

/** Adds to a length whose octets have room for it. */
function grow(bytes: Buffer, start: number, by: number): void {
  const first = bytes[start + 1]!
  if (first < 0x80) {
    expect(first + by).toBeLessThan(0x80)
    bytes[start + 1] = first + by
  } else {
    const octets = first & 0x7f
    bytes.writeUIntBE(bytes.readUIntBE(start + 2, octets) + by, start + 2, octets)
  }
}
