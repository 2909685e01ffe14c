import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { readDirectAddress } from '../../src/domain/direct-address.ts'
import { fieldValue } from '../../src/lib/mime-reader.ts'
import { open, type OwnKey } from '../../src/seal/open.ts'
import { directPolicy, type OpeningPolicy } from '../../src/seal/opening-policy.ts'
import { fixedAnchors } from '../../src/trust/anchors.ts'
import { readCertificate } from '../../src/trust/certificate.ts'
import { judgeCertificates } from '../../src/trust/judge-certificates.ts'
import { oldPolicy } from '../seal/old-policy.ts'
import { ownKey } from '../seal/own-keys.ts'
import { opensslTool, type OpensslTool } from './openssl-tool.ts'

/**
 * Messages of other implementations, from the Direct community’s own test material, with the keys published beside them.
 * BLUEPOST_CORPUS names the folder that holds them.
 */
const corpus = process.env['BLUEPOST_CORPUS']
const file = (name: string) => readFileSync(join(corpus!, 'direct', name))

let tool: OpensslTool
let keys: OwnKey[]
beforeAll(() => {
  tool = opensslTool()
  keys = corpus === undefined ? [] : [...javaKeys(), ettKey()]
})
afterAll(() => tool.remove())

/** NAME.der with NAMEKey.der, where they belong together. */
function javaKeys(): OwnKey[] {
  const folder = 'java-agent/certs'
  const names = readdirSync(join(corpus!, 'direct', folder))
  return names.flatMap((name): OwnKey[] => {
    const certificateName = name.replace(/key\.der$/i, '.der')
    if (certificateName === name || !names.includes(certificateName)) return []
    const certificate = file(`${folder}/${certificateName}`)
    const privateKey = createPrivateKey({ key: file(`${folder}/${name}`), format: 'der', type: 'pkcs8' })
    return new X509Certificate(certificate).checkPrivateKey(privateKey)
      ? [ownKey({ certificate, privateKey })]
      : []
  })
}

/** RC2 keeps this file shut to Node; openssl has it in its legacy provider. */
function ettKey(): OwnKey {
  tool.write('ett.p12', file('ett/testCert.p12'))
  tool.run('pkcs12', '-legacy', '-in', 'ett.p12', '-nodes', '-passin', 'pass:', '-out', 'ett.pem')
  const pem = tool.read('ett.pem').toString()
  return ownKey({ certificate: new X509Certificate(pem).raw, privateKey: createPrivateKey(pem) })
}

async function outcome(name: string, policy?: OpeningPolicy): Promise<string> {
  const read = await open(file(name), { keys, ...(policy ? { policy } : {}) })
  if (!read.opened) return `${read.refusal}: ${read.because}`
  const signers = read.signers.map(
    ({ valid, because, scheme, digest, key }) =>
      `${scheme ?? 'signature'} ${digest} ${key}: ${valid ? 'good' : because}`,
  )
  return [
    `${read.cipher}, ${read.keyTransport}, ${read.isWrapped ? 'wrapped' : 'not wrapped'}`,
    ...signers,
  ].join('; ')
}

const clear = (type: string) => `not-encrypted: it is ${type}, not an encrypted message`
const noKey = 'no-key: it is not encrypted to any certificate of ours'
const tripleDes = 'algorithm-refused: its content cipher 3DES is not accepted'
const goodFor2048 = 'aes-128-cbc, pkcs1, wrapped; rsa-pkcs1 sha256 RSA 2048: good'

/** Each file, what becomes of it, and under the test-only policy where that is something else. */
const table: [name: string, today: string, underOldPolicy?: string][] = [
  ['java-agent/messages/EncryptedMessage2.txt', goodFor2048],
  ['java-agent/messages/EncAttachment.txt', goodFor2048],
  // The keys of these were never published; 3DES is refused before anybody looks for one.
  ['java-agent/messages/EncryptedMessage.txt', tripleDes, noKey],
  ['java-agent/messages/EncryptedMessage3.txt', tripleDes, noKey],
  ['java-agent/messages/LargeEncAttachment.txt', tripleDes, noKey],
  ['java-agent/messages/EncAttachment2.txt', noKey],
  ['nhin-d/direct-common-messages/SMIMEMessage.txt', noKey],
  [
    'ett/TestGeneratedMessage.txt',
    'algorithm-refused: it is encrypted to an RSA key of 1024 bits; at least 2048 are needed',
    'aes-128-cbc, pkcs1, wrapped; rsa-pkcs1 sha1 RSA 1024: good',
  ],
  ['java-agent/messages/CCTestMessage.txt', clear('multipart/alternative')],
  ['java-agent/messages/MultipartMimeMessage.txt', clear('multipart/mixed')],
  ['java-agent/messages/MessageWithAttachment.txt', clear('multipart/mixed')],
  ['java-agent/messages/LargeMsgWithAttachments.txt', clear('multipart/mixed')],
  ['java-agent/messages/MessageWithAUntrustedRecipient.txt', clear('multipart/mixed')],
  ['java-agent/messages/MessageWithAllUntrustedRecipients.txt', clear('multipart/mixed')],
  ['java-agent/messages/raw1.txt', clear('multipart/mixed')],
  ['java-agent/messages/raw2.txt', clear('application/pdf')],
  ['java-agent/messages/msgSig.txt', clear('text/plain')],
  ...['DSNMessage', 'MDNMessage', 'MDNMessageNonCanonicalized', 'MDNResponse'].map(
    (name): [string, string] => [`java-agent/messages/${name}.txt`, clear('multipart/report')],
  ),
  ...[
    ...[
      'DSNMessage',
      'DSNMessageNoActionOrStatus',
      'DSNMessageOrigInReplyTo',
      'MDNDispatchedTimeAndReliable',
    ],
    ...['MDNDispatchedTimeAndReliableLowerCaseOption', 'MDNMessage', 'MDNMessageFriendlyNameFinalRecip'],
    ...['MDNMessageNoDisp', 'MDNMessageNoFinalRecip', 'MDNMessageOrigInReplyTo'],
  ].map((name): [string, string] => [`nhin-d/direct-common-messages/${name}.txt`, clear('multipart/report')]),
  ['nhin-d/direct-common-messages/MessageWithAttachment.txt', clear('multipart/mixed')],
]

test('with larger keys the sample of ETT would still be refused, for SHA-1', async () => {
  if (corpus === undefined) return
  const policy = { ...directPolicy, rsaBitsMin: 512 }
  expect(await outcome('ett/TestGeneratedMessage.txt', policy)).toBe(
    'aes-128-cbc, pkcs1, wrapped; signature sha1 RSA 1024: its digest SHA-1 is not accepted',
  )
})

test('the sample whose signature is good comes from a chain signed with SHA-1, which nobody trusts today', async () => {
  if (corpus === undefined) return
  const read = await open(file('java-agent/messages/EncryptedMessage2.txt'), { keys })
  if (!read.opened) throw new Error(read.because)
  const anchor = readCertificate(file('java-agent/certs/secureHealthEmailCACert.der'))
  const from = readDirectAddress(/<?([^<> ]+@[^<> ]+)>?\s*$/.exec(fieldValue(read, 'from') ?? '')?.[1] ?? '')
  if (!anchor.readable || !from.valid) throw new Error('the sample is not what it was')
  const judgement = await judgeCertificates(
    [read.signers[0]!.certificate!],
    [],
    { anchors: fixedAnchors([anchor.certificate]) },
    {
      address: from.address,
      localDomain: 'securehealthemail.com',
      direction: 'incoming',
      purpose: 'sign',
      at: new Date('2026-11-24T00:00:00Z'),
    },
  )
  expect(judgement.trusted).toEqual([])
  expect(judgement.because).toMatch(/SHA-?1/i)
})

describe(corpus === undefined ? 'samples of Direct: BLUEPOST_CORPUS names none' : 'samples of Direct', () => {
  for (const [name, today, underOldPolicy = today] of corpus === undefined ? [] : table)
    test(name, async () => {
      expect(await outcome(name)).toBe(today)
      expect(await outcome(name, oldPolicy)).toBe(underOldPolicy)
    })

  test('the table has every message of the folder', () => {
    if (corpus === undefined) return
    const folders = ['java-agent/messages', 'ett', 'nhin-d/direct-common-messages']
    const there = folders.flatMap((folder) =>
      readdirSync(join(corpus, 'direct', folder))
        .filter((name) => name.endsWith('.txt'))
        .map((name) => `${folder}/${name}`),
    )
    expect(table.map(([name]) => name).sort()).toEqual(there.sort())
  })
})
