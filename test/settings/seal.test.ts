import { expect, test } from '@jest/globals'
import { parseSettings } from '../../src/settings.ts'
import { sealAlgorithmsFor } from '../../src/settings/seal.ts'

function sealOf(text: string) {
  const reading = parseSettings(text, undefined, {})
  if (!reading.valid) throw new Error(JSON.stringify(reading.problems))
  return reading.settings.seal
}

test('without a word, everybody gets what every receiver reads, in a message of their own', () => {
  const seal = sealOf('')
  expect(seal.envelope).toBe('single')
  expect(sealAlgorithmsFor(seal, 'ellen.ross@direct.somephr.example')).toEqual({
    keyTransport: 'pkcs1',
    content: 'aes-256-cbc',
  })
})

test('what was agreed with a domain holds for its addresses, whatever their case, and for no domain below', () => {
  const seal = sealOf(`
seal:
  keyTransport: oaep-sha256
  contentEncryption: aes-128-cbc
  envelope: shared
  domains:
    Direct.Modern.example: { contentEncryption: aes-256-gcm }
    direct.old.example: { keyTransport: pkcs1 }
`)
  expect(seal.envelope).toBe('shared')
  expect(sealAlgorithmsFor(seal, 'a@DIRECT.modern.example')).toEqual({
    keyTransport: 'oaep-sha256',
    content: 'aes-256-gcm',
  })
  expect(sealAlgorithmsFor(seal, 'a@direct.old.example')).toEqual({
    keyTransport: 'pkcs1',
    content: 'aes-128-cbc',
  })
  expect(sealAlgorithmsFor(seal, 'a@below.direct.modern.example').content).toBe('aes-128-cbc')
})
