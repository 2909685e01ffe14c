import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export type KeyType =
  'rsa1024' | 'rsa2048' | 'rsa3072' | 'rsa4096' | 'ec256' | 'ec384' | 'ec521' | 'ec256k1' | 'ed25519'

const curves = { ec256: 'prime256v1', ec384: 'secp384r1', ec521: 'secp521r1', ec256k1: 'secp256k1' } as const
const drawn = new Map<KeyType, number>()

/**
 * A private key nobody else in this process has. RSA keys take a tenth of a second and more to make, so they are kept
 * in the temporary directory and the n-th key of a type is the same in every run: good for tests, and for nothing else.
 */
export function drawKey(type: KeyType): KeyObject {
  if (!type.startsWith('rsa')) return freshKey(type)
  const n = drawn.get(type) ?? 0
  drawn.set(type, n + 1)
  const folder = join(tmpdir(), `bluepost-test-keys-${process.getuid?.() ?? 0}`)
  const file = join(folder, `${type}-${n}.pem`)
  try {
    return createPrivateKey(readFileSync(file))
  } catch {
    const key = freshKey(type)
    try {
      mkdirSync(folder, { recursive: true, mode: 0o700 })
      const draft = `${file}.${process.pid}`
      writeFileSync(draft, key.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 })
      renameSync(draft, file)
    } catch {
      // A temporary directory that cannot be written only costs time.
    }
    return key
  }
}

function freshKey(type: KeyType): KeyObject {
  if (type === 'ed25519') return generateKeyPairSync('ed25519').privateKey
  if (type in curves)
    return generateKeyPairSync('ec', { namedCurve: curves[type as keyof typeof curves] }).privateKey
  return generateKeyPairSync('rsa', { modulusLength: Number(type.slice(3)) }).privateKey
}
