import { X509Certificate } from 'node:crypto'
import { expect, test } from '@jest/globals'
import { issueFor, makeRoot } from './pki.ts'

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
