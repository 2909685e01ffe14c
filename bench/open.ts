import { execFileSync } from 'node:child_process'
import {
  constants,
  createDecipheriv,
  createHash,
  diffieHellman,
  generateKeyPairSync,
  privateDecrypt,
  publicEncrypt,
  randomBytes,
  sign,
  verify,
  X509Certificate,
} from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { base64InLines } from '../src/lib/base64-lines.ts'
import { open } from '../src/seal/open.ts'
import { aTown, type Town } from '../test/seal/an-order.ts'
import { handEnveloped } from '../test/seal/by-hand-envelope.ts'
import { handSigned } from '../test/seal/by-hand-signed.ts'
import { ownKey } from '../test/seal/own-keys.ts'
import type { Issued } from '../test/pki/pki.ts'
import { openByPkijs, openssl } from './open-others.ts'

const sizes = [
  { name: '50 KB', bytes: 50_000, rounds: 200 },
  { name: '500 KB', bytes: 500_000, rounds: 60 },
  { name: '5 MB', bytes: 5_000_000, rounds: 12 },
  { name: '25 MB', bytes: 25_000_000, rounds: 5 },
]
const stepBytes = 64 * 1024
const memoryAtMost = 4

interface Kind {
  readonly name: string
  readonly cipher: 'aes-256-cbc' | 'aes-256-gcm'
  readonly oaep?: 'sha256'
  readonly keyType: 'rsa2048' | 'ec256'
}
const kinds: Kind[] = [
  { name: 'PKCS#1, CBC', cipher: 'aes-256-cbc', keyType: 'rsa2048' },
  { name: 'OAEP, CBC', cipher: 'aes-256-cbc', oaep: 'sha256', keyType: 'rsa2048' },
  { name: 'ECDH, GCM', cipher: 'aes-256-gcm', keyType: 'ec256' },
]

/**
 * Opening (base64, key, AES-256, multipart/signed, one RSA-2048 signature with SHA-256) beside the same Node primitives
 * alone, beside PKI.js as it comes, and beside the two processes of `openssl cms`.
 */
export async function benchOpen(isQuick: boolean, print: (line: string) => void): Promise<void> {
  const town = aTown()
  const other = openssl()
  print('Open: one recipient, one signer; medians in ms per message, and how often the floor')
  print('  C-CDA   made with       floor     here   ratio      pkijs   × here   openssl   × here')
  for (const { name, bytes, rounds } of sizes) {
    for (const kind of kinds) {
      const recipient = town.member('us@direct.ashby.example', { keyType: kind.keyType })
      const raw = messageOf(randomBytes(bytes), town, recipient, kind)
      const keys = [ownKey(recipient)]
      const here = async () => {
        const read = await open(raw, { keys })
        if (!read.opened || !read.signers[0]?.valid) throw new Error('it does not open')
      }
      const total = isQuick ? Math.ceil(rounds / 6) : rounds
      const [floorMs, hereMs] = await alternately([floorOf(raw, recipient, kind), here], total)
      const rare = isQuick ? 1 : Math.max(2, Math.ceil(rounds / 12))
      other?.place(raw)
      const opensslMs = other ? (await alternately([() => other.open(recipient)], rare))[0] : undefined
      const pkijsMs = kind.oaep
        ? (await alternately([() => openByPkijs(raw, recipient)], rare))[0]
        : undefined
      print(
        `  ${name.padEnd(7)} ${kind.name.padEnd(12)}${ms(floorMs)}${ms(hereMs)}${times(hereMs, floorMs!)}` +
          `${ms(pkijsMs).padStart(11)}${times(pkijsMs, hereMs!)}${ms(opensslMs).padStart(10)}${times(opensslMs, hereMs!)}`,
      )
    }
  }
  print('  wanted: at 50 KB at least 6 times as fast as pkijs, which opens RSA-OAEP with CBC only')
  other?.remove()
  const bytes = 25_000_000
  const { idle, peak } = memoryOf(messageOf(randomBytes(bytes), town, town.phr, kinds[0]!), town.phr)
  print(
    `Memory while a message with a C-CDA of 25 MB is opened, in a process of its own, the message itself included: ` +
      `idle ${mb(idle)}, peak ${mb(peak)}: ${((peak - idle) / bytes).toFixed(2)} of the C-CDA more, wanted ≤ ${memoryAtMost.toFixed(1)}`,
  )
}

function messageOf(document: Buffer, town: Town, recipient: Issued, kind: Kind): Buffer {
  const content = Buffer.concat([
    Buffer.from('Content-Type: message/rfc822\r\n\r\nFrom: a@b.example\r\nContent-Type: application/xml\r\n'),
    Buffer.from('Content-Transfer-Encoding: base64\r\n\r\n'),
    base64InLines(document),
  ])
  const signature = handSigned(content, [town.ashby], { beside: [town.authority.certificate] })
  const entity = Buffer.concat([
    Buffer.from(
      'Content-Type: multipart/signed; protocol="application/pkcs7-signature"; micalg=sha-256; boundary=b0undary\r\n\r\n--b0undary\r\n',
    ),
    content,
    Buffer.from(
      '\r\n--b0undary\r\nContent-Type: application/pkcs7-signature; name=smime.p7s\r\nContent-Transfer-Encoding: base64\r\n\r\n',
    ),
    base64InLines(signature),
    Buffer.from('\r\n--b0undary--\r\n'),
  ])
  return Buffer.concat([
    Buffer.from(
      'MIME-Version: 1.0\r\nContent-Type: application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m\r\nContent-Transfer-Encoding: base64\r\n\r\n',
    ),
    base64InLines(handEnveloped(entity, recipient, { cipher: kind.cipher, ...optional(kind.oaep) })),
  ])
}

const optional = (oaep: 'sha256' | undefined) => (oaep === undefined ? {} : { oaep })

/** The same octets through the same primitives, in steps that suit the cache: no MIME, no ASN.1. */
function floorOf(raw: Buffer, { privateKey, certificate }: Issued, kind: Kind): () => void {
  const { publicKey } = new X509Certificate(certificate)
  const isRsa = kind.keyType === 'rsa2048'
  const padding = kind.oaep
    ? { padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: kind.oaep }
    : { padding: constants.RSA_PKCS1_PADDING }
  const wrapped = isRsa ? publicEncrypt({ key: publicKey, ...padding }, randomBytes(32)) : Buffer.alloc(0)
  const peer = generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
  const signer = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const signature = sign('sha256', wrapped, signer.privateKey)
  const [key, iv] = [randomBytes(32), randomBytes(kind.cipher === 'aes-256-gcm' ? 12 : 16)]
  const lineOctets = 78
  const step = Math.floor(stepBytes / lineOctets) * lineOctets
  const scratch = Buffer.alloc(step)
  return () => {
    if (isRsa) privateDecrypt({ key: privateKey, ...padding }, wrapped)
    else diffieHellman({ privateKey, publicKey: peer.publicKey })
    const plain = Buffer.allocUnsafeSlow(Math.ceil(raw.length / 4) * 3)
    const decipher = createDecipheriv(kind.cipher as 'aes-256-gcm', key, iv)
    const hash = createHash('sha256')
    let to = 0
    for (let at = 0; at < raw.length; at += step) {
      const length = scratch.write(raw.toString('latin1', at, Math.min(at + step, raw.length)), 'base64')
      const piece = decipher.update(scratch.subarray(0, length))
      hash.update(piece)
      plain.set(piece, to)
      to += piece.length
    }
    hash.digest()
    verify('sha256', wrapped, signer.publicKey, signature)
  }
}

/** In turns, in small blocks, so that a busy machine is busy for all; the first block warms up. Medians in ms. */
async function alternately(contenders: readonly (() => unknown)[], rounds: number): Promise<number[]> {
  const times: number[][] = contenders.map(() => [])
  const block = Math.max(1, Math.ceil(rounds / 6))
  for (let round = -block; round < rounds; round += block)
    for (const [index, contender] of contenders.entries())
      for (let count = 0; count < block; count++) {
        const start = performance.now()
        await contender()
        if (round >= 0) times[index]!.push(performance.now() - start)
      }
  return times.map((all) => all.toSorted((a, b) => a - b)[Math.floor(all.length / 2)]!)
}

function memoryOf(raw: Buffer, recipient: Issued): { idle: number; peak: number } {
  const folder = mkdtempSync(join(tmpdir(), 'bluepost-bench-'))
  try {
    const [message, keyFile] = [join(folder, 'message.eml'), join(folder, 'key.pem')]
    writeFileSync(message, raw)
    writeFileSync(keyFile, recipient.certificatePem + recipient.privateKeyPem)
    const program = fileURLToPath(new URL('./open-memory.ts', import.meta.url))
    const answer = execFileSync(process.execPath, [program, message, keyFile], { encoding: 'utf8' })
    return JSON.parse(answer) as { idle: number; peak: number }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const ms = (value: number | undefined) => (value === undefined ? '–' : value.toFixed(2)).padStart(9)
const times = (value: number | undefined, base: number) =>
  (value === undefined ? '' : (value / base).toFixed(2)).padStart(8)
const mb = (bytes: number) => `${(bytes / 1e6).toFixed(0)} MB`

if (import.meta.main) {
  const { values } = parseArgs({ options: { quick: { type: 'boolean', default: false } } })
  await benchOpen(values.quick, (line) => process.stdout.write(`${line}\n`))
}
