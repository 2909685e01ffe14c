import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { askDirectory } from '../../src/discovery/ldap-directory.ts'
import { issueFor, makeRoot, pemOf } from '../pki/pki.ts'
import { runSlapd } from './slapd.ts'

const domain = 'direct.somephr.example'
const root = makeRoot({ keyType: 'ec256' })
const certificateFor = (text: string) => issueFor(root, text, { keyType: 'ec256' }).certificate
const ellens = [certificateFor(`ellen.ross@${domain}`), certificateFor(`ellen.ross@${domain}`)]
const packed = [certificateFor(`bob@${domain}`), certificateFor(`bob@${domain}`)]
const ofDomain = certificateFor(domain)

let folder: string
let slapd: Awaited<ReturnType<typeof runSlapd>>
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'bluepost-slapd-'))
  writeFileSync(join(folder, 'both.pem'), pemOf(...packed))
  const p7 = execFileSync('openssl', [
    ...['crl2pkcs7', '-nocrl', '-certfile', join(folder, 'both.pem'), '-outform', 'DER'],
  ])
  slapd = await runSlapd([
    { mail: `Ellen.Ross@${domain}`, attributes: { 'userCertificate;binary': ellens } },
    { mail: `bob@${domain}`, attributes: { userSMIMECertificate: [p7] } },
    { mail: domain, attributes: { 'userCertificate;binary': [ofDomain] } },
    { mail: `nothing@${domain}`, attributes: {} },
    ...Array.from({ length: 60 }, () => ({
      mail: `crowd@${domain}`,
      attributes: { 'userCertificate;binary': [ofDomain] },
    })),
  ])
}, 30_000)
afterAll(async () => {
  await slapd?.stop()
  rmSync(folder, { recursive: true, force: true })
})

const ask = (...mails: string[]) =>
  askDirectory(
    { host: 'ldap.somephr.example', port: slapd.port, address: { address: '127.0.0.1', family: 4 } },
    mails,
  )
const sorted = (ders: readonly Buffer[]) => [...ders].sort(Buffer.compare)

test('slapd gives every certificate of an address, whatever its case', async () => {
  const [answer] = await ask(`ellen.ross@${domain}`)
  expect(answer!.outcome === 'found' && sorted(answer!.certificates)).toEqual(sorted(ellens))
})

test('PKCS#7 in userSMIMECertificate is opened', async () => {
  const [answer] = await ask(`bob@${domain}`)
  expect(answer!.outcome === 'found' && sorted(answer!.certificates)).toEqual(sorted(packed))
})

test('several values are asked for until one is found', async () => {
  const answers = await ask(`nobody@${domain}`, domain, `bob@${domain}`)
  expect(answers.map(({ outcome }) => outcome)).toEqual(['nothing', 'found'])
})

test('an entry without certificates, no entry, and values that look like filters are nothing', async () => {
  for (const mail of [`nothing@${domain}`, `nobody@${domain}`, '*', `*@${domain}`, 'x)(mail=*', 'a\\2ab'])
    expect(await ask(mail)).toMatchObject([{ outcome: 'nothing' }])
})

test('a crowd under one address is cut at the limit', async () => {
  const [answer] = await ask(`crowd@${domain}`)
  expect(answer).toMatchObject({ outcome: 'found', certificates: [ofDomain] })
})
