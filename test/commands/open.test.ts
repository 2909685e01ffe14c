import { execFile } from 'node:child_process'
import { lstatSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals'
import { sealMessage } from '../../src/seal/sealing.ts'
import { issueFor } from '../pki/pki.ts'
import { aDocument, anOrder, aTown, ellensPhr, sealedHere, sender, type Town } from '../seal/an-order.ts'

// Each call starts a process, and some tests make several.
jest.setTimeout(60_000)

let town: Town
let folder: string
beforeAll(() => {
  town = aTown()
  folder = mkdtempSync(join(tmpdir(), 'bluepost-open-'))
  writeFileSync(join(folder, 'phr.pem'), town.phr.certificatePem)
  writeFileSync(join(folder, 'root.pem'), town.root.certificatePem)
  writeFileSync(
    join(folder, 'bluepost.yaml'),
    `dataHolder: { name: Some PHR, address: ${ellensPhr} }\n` +
      'keys:\n  - { certificate: phr.pem, privateKey: env:PHR_KEY }\n' +
      'trust: { anchors: [ root.pem ] }\n',
  )
})
afterAll(() => rmSync(folder, { recursive: true }))

function bluepost(...words: string[]): Promise<{ exit: number; out: string; err: string }> {
  const cli = new URL('../../src/cli.ts', import.meta.url).pathname
  const env = { ...process.env, NODE_OPTIONS: '', PHR_KEY: town.phr.privateKeyPem }
  return new Promise((resolve) => {
    execFile(process.execPath, [cli, ...words], { cwd: folder, env }, (error, out, err) =>
      resolve({ exit: typeof error?.code === 'number' ? error.code : error ? -1 : 0, out, err }),
    )
  })
}

function filed(name: string, bytes: Buffer): string {
  writeFileSync(join(folder, name), bytes)
  return name
}

test('a message to us is opened, its signer judged, its parts told and saved byte for byte', async () => {
  const content = Buffer.from('<ClinicalDocument>\xff</ClinicalDocument>', 'latin1')
  const order = anOrder(town, { documents: [aDocument(content, 'Ärztin.xml')], date: new Date() })
  const file = filed('good.eml', await sealedHere(order, [town.ashby]))
  const answer = await bluepost('open', file, '--save', 'out')
  expect(answer).toMatchObject({ exit: 0, err: '' })
  expect(answer.out).toMatch(
    /Signed by .* \(RSA 2048, rsa-pkcs1, sha256, 20\d\d-[-\d:.T]+Z\): valid and trusted/,
  )
  expect(answer.out).toContain('Encrypted with aes-256-cbc, key by pkcs1, for 1 certificate')
  expect(answer.out).toContain('This message was sent by Ashby Medical Center at the request of Ellen Ross.')
  expect(readdirSync(join(folder, 'out')).sort()).toEqual(['part-1.txt', 'request.txt', 'Ärztin.xml'])
  expect(readFileSync(join(folder, 'out', 'Ärztin.xml')).equals(content)).toBe(true)
  const again = await bluepost('open', file, '--save', 'out')
  expect(again.exit).toBe(1)
  expect(again.err).toMatch(/already has a file/)

  const json = JSON.parse((await bluepost('open', file, '--json')).out) as { parts: { fileName: string }[] }
  expect(json).toMatchObject({ opened: true, isVerified: true, isTrusted: true, cipher: 'aes-256-cbc' })
  expect(json.parts.map((one) => one.fileName)).toEqual([null, 'Ärztin.xml', 'request.txt'])
})

test('no name that a sender chooses leaves the folder or moves the terminal', async () => {
  const names = [
    '../../evil.xml',
    '/etc/passwd',
    '..',
    'C:\\x\\evil.xml',
    '.bashrc',
    'a\u001b[2Jb.xml',
    'con',
  ]
  const message = Buffer.from(
    `From: ${sender}\r\nSubject: x\u001b]0;y\u0007\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n` +
      names
        .map(
          (name) =>
            `--b\r\nContent-Disposition: attachment; filename="${name.replaceAll('\\', '\\\\')}"\r\n\r\nx\r\n`,
        )
        .join('') +
      '--b--\r\n',
  )
  const file = filed(
    'evil.eml',
    await sealMessage(message, anOrder(town, { date: new Date() }), [town.ashby]),
  )
  const answer = await bluepost('open', file, '--save', 'evil')
  expect(answer.exit).toBe(0)

  expect(answer.out).not.toMatch(/[\u0000-\u0009\u000b-\u001f]/)
  const written = readdirSync(join(folder, 'evil'))
  expect(written).toHaveLength(names.length)
  expect(written.sort()).toEqual(
    ['a[2Jb.xml', 'bashrc', 'evil-2.xml', 'evil.xml', 'part-3.txt', 'part-7.txt', 'passwd'].sort(),
  )
  for (const name of written) expect(lstatSync(join(folder, 'evil', name)).isFile()).toBe(true)
})

test('what is altered or signed by a stranger is told so, and nothing unverified is saved', async () => {
  const order = anOrder(town, { date: new Date() })
  const sealed = await sealedHere(order, [town.ashby])
  sealed.write('AAAA', sealed.length - 40, 'latin1')
  const altered = await bluepost('open', filed('altered.eml', sealed), '--save', 'altered')
  expect(altered.exit).toBe(1)
  expect(altered.out).toMatch(/cannot be opened \((undecryptable|malformed|unsigned)\)/)
  expect(readdirSync(folder)).not.toContain('altered')

  const stranger = aTown()
  const strange = await bluepost('open', filed('strange.eml', await sealedHere(order, [stranger.ashby])))
  expect(strange.exit).toBe(1)
  expect(strange.out).toContain('valid, but not trusted')

  const other = issueFor(town.authority, 'mallory@direct.other.example')
  const impostor = await bluepost('open', filed('impostor.eml', await sealedHere(order, [other])))
  expect(impostor.exit).toBe(1)
  expect(impostor.out).toContain('valid, but not trusted')
})

test('wrong calls and missing files say what to do', async () => {
  expect((await bluepost('open')).exit).toBe(2)
  expect(await bluepost('open', 'nowhere.eml')).toMatchObject({ exit: 1 })
  expect((await bluepost('open', '--help')).out).toContain('--save')
  const clear = await bluepost('open', filed('clear.eml', Buffer.from('Subject: x\r\n\r\nbody\r\n')))
  expect(clear.exit).toBe(1)
  expect(clear.out).toContain('not-encrypted')
})
