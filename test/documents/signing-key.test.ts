import { expect, test } from '@jest/globals'
import { calculateJwkThumbprint, importJWK, jwtVerify, SignJWT } from 'jose'
import { generateKeyPairSync } from 'node:crypto'
import { publishedKeys, readSigningKey } from '../../src/documents/signing-key.ts'

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
const ec = generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey
const pem = (key: typeof rsa) => key.export({ type: 'pkcs8', format: 'pem' }).toString()
const jwk = (key: typeof rsa, more: object = {}) =>
  JSON.stringify({ ...key.export({ format: 'jwk' }), ...more })

test.each([
  ['RS384', pem(rsa)],
  ['RS384', jwk(rsa)],
  ['ES384', pem(ec)],
  ['ES384', jwk(ec)],
])('what %s signs is verified with what is published, under the same kid', async (algorithm, key) => {
  const [published] = publishedKeys([{ clientId: 'bluepost', key }])
  const { privateKey, keyId } = readSigningKey({ key })
  expect(published).toMatchObject({ alg: algorithm, use: 'sig', kid: keyId })
  expect(keyId).toBe(await calculateJwkThumbprint(published as object))
  const token = await new SignJWT({}).setProtectedHeader({ alg: algorithm }).sign(privateKey)
  await expect(jwtVerify(token, await importJWK(published as object, algorithm))).resolves.toBeTruthy()
})

test('no private member is published, whatever else the JWK has', () => {
  const keys = publishedKeys([
    { clientId: 'one', key: jwk(rsa, { kid: 'mine', note: 'internal' }) },
    { clientId: 'two', key: jwk(ec) },
  ])
  expect(keys.map((key) => Object.keys(key).sort())).toEqual([
    ['alg', 'e', 'kid', 'kty', 'n', 'use'],
    ['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y'],
  ])
  expect(keys[0]!['kid']).toBe('mine')
})

test('the next key is published beside the one in use; one key of two clients only once', () => {
  const keys = publishedKeys([
    { clientId: 'one', key: pem(rsa), keyId: 'k1', nextKey: pem(ec) },
    { clientId: 'two', key: pem(ec) },
  ])
  expect(keys.map(({ kid, alg }) => [kid === 'k1', alg])).toEqual([
    [true, 'RS384'],
    [false, 'ES384'],
  ])
})

test.each([
  ['a curve that SMART does not have', pem(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey)],
  [
    'a public key',
    generateKeyPairSync('rsa', { modulusLength: 2048 })
      .publicKey.export({ type: 'spki', format: 'pem' })
      .toString(),
  ],
  ['no key', 'hello'],
])('%s is refused with the name of the client, and is not quoted', (_, key) => {
  expect(() => publishedKeys([{ clientId: 'bluepost', key }])).toThrow(
    'a key of the FHIR client “bluepost” cannot be used: give an RSA or P-384 private key, as PEM or JWK',
  )
})
