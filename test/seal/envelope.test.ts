import { X509Certificate } from 'node:crypto'
import { beforeAll, expect, test } from '@jest/globals'
import {
  derChildren,
  derContent,
  derNumber,
  derOctets,
  derOidText,
  derRaw,
  readDer,
  type DerValue,
} from '../../src/lib/der.ts'
import type { ContentCipher } from '../../src/seal/algorithms.ts'
import { open } from '../../src/seal/open.ts'
import type { SealOrder } from '../../src/seal/seal-order.ts'
import type { Issued } from '../pki/pki.ts'
import { anOrder, aTown, sealedHere, type Town } from './an-order.ts'
import { openIndependently } from './independently.ts'
import { ownKey } from './own-keys.ts'

let town: Town
beforeAll(() => {
  town = aTown()
})

/** The CMS of a sealed message: its content type, and the members of what is inside. */
async function cmsOf(wishes: Partial<SealOrder>) {
  const sealed = await sealedHere(anOrder(town, wishes), [town.ashby])
  const body = Buffer.from(sealed.subarray(sealed.indexOf('\r\n\r\n')).toString('latin1'), 'base64')
  const [type, explicit] = derChildren(readDer(body))
  const [inside] = derChildren(explicit!)
  return { sealed, type: derOidText(type!), members: derChildren(inside!) }
}

const algorithmOf = (value: DerValue) => {
  const [name, ...parameters] = derChildren(value)
  return { name: derOidText(name!), parameters }
}

const ciphers: Record<ContentCipher, string> = {
  'aes-128-cbc': '2.16.840.1.101.3.4.1.2',
  'aes-192-cbc': '2.16.840.1.101.3.4.1.22',
  'aes-256-cbc': '2.16.840.1.101.3.4.1.42',
  'aes-128-gcm': '2.16.840.1.101.3.4.1.6',
  'aes-256-gcm': '2.16.840.1.101.3.4.1.46',
}

test.each(['aes-128-gcm', 'aes-256-gcm'] as const)(
  '%s is AuthEnvelopedData with a nonce of 12 octets and a tag of 16 (RFC 5083, RFC 5084)',
  async (content) => {
    const { type, members } = await cmsOf({ algorithms: { content } })
    expect(type).toBe('1.2.840.113549.1.9.16.1.23')
    const [version, recipients, encrypted, mac, ...rest] = members
    expect(derNumber(version!)).toBe(0)
    expect(derChildren(recipients!)).toHaveLength(1)
    expect(rest).toEqual([])
    const [inner, algorithm] = derChildren(encrypted!)
    expect(derOidText(inner!)).toBe('1.2.840.113549.1.7.1')
    const { name, parameters } = algorithmOf(algorithm!)
    expect(name).toBe(ciphers[content])
    const [nonce, tagBytes] = derChildren(parameters[0]!)
    expect(derOctets(nonce!)).toHaveLength(12)
    // RFC 5084 §3.2: the default is 12, so 16 has to be said.
    expect(derNumber(tagBytes!)).toBe(16)
    expect(derOctets(mac!)).toHaveLength(16)
  },
)

test('no nonce, no key and no vector is used for two messages', async () => {
  const seen = new Set<string>()
  for (let round = 0; round < 20; round++)
    for (const content of ['aes-256-gcm', 'aes-256-cbc'] as const) {
      const { members } = await cmsOf({ algorithms: { content } })
      const [, recipients, encrypted] = members
      const { parameters } = algorithmOf(derChildren(encrypted!)[1]!)
      seen.add(derRaw(parameters[0]!).toString('hex'))
      seen.add(derRaw(derChildren(recipients!)[0]!).toString('hex'))
    }
  expect(seen.size).toBe(80)
})

test.each(['aes-128-cbc', 'aes-192-cbc', 'aes-256-cbc'] as const)(
  '%s is EnvelopedData with a vector of 16 octets, padded to whole blocks',
  async (content) => {
    const { type, members, sealed } = await cmsOf({ algorithms: { content } })
    expect(type).toBe('1.2.840.113549.1.7.3')
    const [, , encrypted] = members
    const [, algorithm, ciphertext] = derChildren(encrypted!)
    const { name, parameters } = algorithmOf(algorithm!)
    expect(name).toBe(ciphers[content])
    expect(derOctets(parameters[0]!)).toHaveLength(16)
    expect(derContent(ciphertext!).length % 16).toBe(0)
    const read = await open(sealed, { keys: [ownKey(town.phr)] })
    expect(read).toMatchObject({ opened: true, signers: [{ valid: true }] })
  },
)

test('signed capabilities name what we open, the strongest first, and no cipher that is refused', async () => {
  const sealed = await sealedHere(anOrder(town), [town.ashby])
  const { signedData } = await openIndependently(sealed, town.phr)
  const attribute = signedData.signerInfos[0]!.signedAttrs!.attributes.find(
    ({ type }) => type === '1.2.840.113549.1.9.15',
  )!
  const value = (attribute.values[0] as { toBER(): ArrayBuffer }).toBER()
  const named = derChildren(readDer(Buffer.from(value))).map((one) => algorithmOf(one).name)
  expect(named[0]).toBe(ciphers['aes-256-cbc'])
  expect(named).toContain(ciphers['aes-128-cbc'])
  // 3DES, RC2, DES.
  for (const refused of ['1.2.840.113549.3.7', '1.2.840.113549.3.2', '1.3.14.3.2.7'])
    expect(named).not.toContain(refused)
})

test('key transport goes by recipient, key agreement by key: one envelope holds them all', async () => {
  const pkcs1 = town.member('a@direct.somephr.example')
  const oaep = town.member('b@direct.somephr.example')
  const curve = town.member('c@direct.somephr.example', { keyType: 'ec384' })
  const { members, sealed } = await cmsOf({
    recipients: [
      { certificate: pkcs1.certificate, keyTransport: 'pkcs1' },
      { certificate: oaep.certificate, keyTransport: 'oaep-sha256' },
      curve.certificate,
    ],
  })
  const infos = derChildren(members[1]!)
  const transports = infos
    .filter((info) => info.tag === 0x30)
    .map((info) => algorithmOf(derChildren(info)[2]!).name)
  expect(transports.sort()).toEqual(['1.2.840.113549.1.1.1', '1.2.840.113549.1.1.7'])
  // RFC 5753 §3.1.1: KeyAgreeRecipientInfo stands under [1].
  expect(infos.filter((info) => info.tag === 0xa1)).toHaveLength(1)
  for (const one of [pkcs1, oaep, curve]) await expectOpens(sealed, one)
})

test('a hundred recipients share one envelope, and each of them opens it', async () => {
  const shared = town.member('shared@direct.somephr.example').privateKey
  const hundred = Array.from({ length: 100 }, (_, index) =>
    town.member(`r${index}@direct.somephr.example`, { key: shared }),
  )
  const { members, sealed } = await cmsOf({ recipients: hundred.map((one) => one.certificate) })
  expect(derChildren(members[1]!)).toHaveLength(100)
  for (const one of [0, 49, 99]) await expectOpens(sealed, hundred[one]!)
  // Who is not among them does not.
  expect(await open(sealed, { keys: [ownKey(town.phr)] })).toMatchObject({ opened: false, refusal: 'no-key' })
})

test('a certificate that is there twice counts once', async () => {
  const { members } = await cmsOf({ recipients: [town.phr.certificate, town.phr.certificate] })
  expect(derChildren(members[1]!)).toHaveLength(1)
})

test('the root is left out, also where the key’s file brings it', async () => {
  const sealed = await sealedHere(anOrder(town), [
    { ...town.ashby, intermediates: [town.authority.certificate, town.root.certificate] },
  ])
  const { signedData } = await openIndependently(sealed, town.phr)
  const carried = signedData.certificates!.map(
    (one) =>
      new X509Certificate(Buffer.from((one as { toSchema(): { toBER(): ArrayBuffer } }).toSchema().toBER()))
        .fingerprint256,
  )
  const of = (one: { certificate: Buffer }) => new X509Certificate(one.certificate).fingerprint256
  expect(carried).toContain(of(town.ashby))
  expect(carried).not.toContain(of(town.root))
})

async function expectOpens(sealed: Buffer, one: Issued): Promise<void> {
  const read = await open(sealed, { keys: [ownKey(one)] })
  expect(read).toMatchObject({ opened: true, signers: [{ valid: true }] })
}
