import { spawnSync } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from '@jest/globals'
import { issueFor, makeRoot, pemOf } from './pki.ts'

const hasOpenssl = spawnSync('openssl', ['version']).status === 0

test('a leaf under an intermediate says what was wished and verifies up to the root', () => {
  const root = makeRoot({ name: 'Root' })
  const intermediate = root.issueAuthority({ name: 'Intermediate', pathLen: 0, keyType: 'ec256' })
  const leaf = new X509Certificate(issueFor(intermediate, 'ellen.ross@direct.somephr.example').certificate)
  expect(leaf.subjectAltName).toBe('email:ellen.ross@direct.somephr.example')
  expect(leaf.verify(new X509Certificate(intermediate.certificate).publicKey)).toBe(true)
  expect(
    new X509Certificate(intermediate.certificate).checkIssued(new X509Certificate(root.certificate)),
  ).toBe(true)
  expect(new X509Certificate(root.certificate).ca).toBe(true)
  expect(new X509Certificate(issueFor(root, 'direct.somephr.example').certificate).subjectAltName).toBe(
    'DNS:direct.somephr.example',
  )
})

test('no two certificates share a key', () => {
  const root = makeRoot()
  const keys = new Set([root, root.issue(), root.issue()].map((issued) => issued.privateKeyPem))
  expect(keys.size).toBe(3)
})

const strictly = hasOpenssl ? test : test.skip
strictly('strict openssl likes what is issued by default', () => {
  const folder = mkdtempSync(join(tmpdir(), 'pki-'))
  try {
    for (const keyType of ['rsa2048', 'ec256'] as const)
      for (const signaturePadding of ['pkcs1', 'pss'] as const) {
        const root = makeRoot({ keyType })
        const intermediate = root.issueAuthority({
          keyType,
          signaturePadding,
          crlUrls: ['http://crl.example/a'],
        })
        const leaf = issueFor(intermediate, 'ellen.ross@direct.somephr.example', {
          keyType,
          policies: ['1.3.6.1.4.1.41179.2.3'],
          caIssuersUrls: ['http://aia.example/a.cer'],
          ocspUrls: ['http://ocsp.example/'],
        })
        const file = (name: string, pem: string) => {
          writeFileSync(join(folder, name), pem)
          return join(folder, name)
        }
        const purpose = keyType === 'rsa2048' ? ['-purpose', 'smimeencrypt'] : ['-purpose', 'smimesign']
        const ran = spawnSync(
          'openssl',
          [
            'verify',
            '-x509_strict',
            '-auth_level',
            '2',
            ...purpose,
            '-verify_email',
            'ellen.ross@direct.somephr.example',
            '-CAfile',
            file('root.pem', root.certificatePem),
            '-untrusted',
            file('between.pem', pemOf(...intermediate.chain)),
            file('leaf.pem', leaf.certificatePem),
          ],
          { encoding: 'utf8' },
        )
        expect(ran.stdout + ran.stderr).toContain('leaf.pem: OK')
      }
  } finally {
    rmSync(folder, { recursive: true })
  }
})
