import { execFileSync } from 'node:child_process'
import {
  constants,
  createCipheriv,
  createHash,
  diffieHellman,
  generateKeyPairSync,
  publicEncrypt,
  randomBytes,
  sign,
  X509Certificate,
} from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { isMainThread, parentPort, Worker } from 'node:worker_threads'
import { base64InLines } from '../src/lib/base64-lines.ts'
import type { Algorithms } from '../src/seal/algorithms.ts'
import { makeSealer } from '../src/seal/seal.ts'
import type { Issued } from '../test/pki/pki.ts'
import { aDocument, anOrder, aTown, type Town } from '../test/seal/an-order.ts'
import { pkijsEnveloped, pkijsSigned } from '../test/seal/pkijs-made.ts'

const sizes = [
  { name: '50 KB', bytes: 50_000, rounds: 120 },
  { name: '500 KB', bytes: 500_000, rounds: 40 },
  { name: '5 MB', bytes: 5_000_000, rounds: 8 },
  { name: '25 MB', bytes: 25_000_000, rounds: 3 },
]
const stepBytes = 57 * 1152
const pkijsTimesAtLeast = 6
const threadsTimesAtLeast = 1.6

const crowds = [
  { name: '50 KB', bytes: 50_000, count: 800 },
  { name: '500 KB', bytes: 500_000, count: 160 },
  { name: '5 MB', bytes: 5_000_000, count: 24 },
]

interface Kind {
  readonly name: string
  readonly algorithms: Partial<Algorithms>
  readonly keyType: 'rsa2048' | 'ec256'
}
const kinds: Kind[] = [
  { name: 'PKCS#1, AES-256-CBC', algorithms: { content: 'aes-256-cbc' }, keyType: 'rsa2048' },
  { name: 'PKCS#1, AES-128-CBC', algorithms: { content: 'aes-128-cbc' }, keyType: 'rsa2048' },
  {
    name: 'OAEP, AES-256-CBC',
    algorithms: { content: 'aes-256-cbc', keyTransport: 'oaep-sha256' },
    keyType: 'rsa2048',
  },
  { name: 'ECDH, AES-256-CBC', algorithms: { content: 'aes-256-cbc' }, keyType: 'ec256' },
  { name: 'ECDH, AES-256-GCM', algorithms: { content: 'aes-256-gcm' }, keyType: 'ec256' },
]

/**
 * Sealing with each algorithm (base64, SHA-256, the content cipher, base64 again, one RSA-2048 signature, one key) beside
 * the same Node primitives alone, beside PKI.js as it comes, and beside the two processes of `openssl cms`.
 */
async function benchSealAlgorithms(isQuick: boolean, print: (line: string) => void): Promise<void> {
  const town = aTown()
  const other = openssl(town)
  const one = makeSealer({ threads: 1, signers: [town.ashby] })
  print('Seal: one thread, one signer, one recipient, one message at a time; medians in ms per message')
  print('  C-CDA   made with                floor     here   ratio      pkijs   × here   openssl   × here')
  const pkijsTimes: string[] = []
  for (const { name, bytes, rounds } of sizes) {
    const document = randomBytes(bytes)
    for (const kind of kinds) {
      const recipient = town.member('ellen.ross@direct.somephr.example', { keyType: kind.keyType })
      const order = () =>
        anOrder(town, {
          documents: [aDocument(document)],
          recipients: [recipient.certificate],
          algorithms: kind.algorithms,
        })
      const here = async () => {
        for await (const chunk of one.seal(order(), { freesTaken: true }).chunks) void chunk
      }
      const total = isQuick ? Math.ceil(rounds / 8) : rounds
      const [floorMs, hereMs] = await alternately([floorOf(document, town, recipient, kind), here], total)
      const rare = isQuick ? 1 : Math.max(2, Math.ceil(rounds / 12))
      // PKI.js has no PKCS#1 v1.5 key transport and makes no AuthEnvelopedData; above some MB it takes seconds.
      const canPkijs =
        (kind.algorithms.keyTransport === 'oaep-sha256' || kind.keyType === 'ec256') &&
        kind.algorithms.content === 'aes-256-cbc' &&
        bytes <= 5_000_000
      const [pkijsMs] = canPkijs
        ? await alternately([() => sealByPkijs(document, town, recipient)], rare)
        : [undefined]
      const [opensslMs] = other
        ? await alternately([() => other.seal(document, recipient, kind)], rare)
        : [undefined]
      if (bytes === 50_000 && pkijsMs !== undefined) pkijsTimes.push((pkijsMs / hereMs!).toFixed(1))
      print(
        `  ${name.padEnd(7)} ${kind.name.padEnd(20)}${ms(floorMs)}${ms(hereMs)}${times(hereMs, floorMs!)}` +
          `${ms(pkijsMs).padStart(11)}${times(pkijsMs, hereMs!)}${ms(opensslMs).padStart(10)}${times(opensslMs, hereMs!)}`,
      )
    }
  }
  print(
    `  at 50 KB ${pkijsTimes.join(' and ')} times as fast as pkijs (OAEP, ECDH), wanted ≥ ${pkijsTimesAtLeast}`,
  )
  await one.close()
  other?.remove()
  await threads(town, isQuick, print)
}

/** What a second thread brings: many messages of one size at once, on one thread and on two. */
async function threads(town: Town, isQuick: boolean, print: (line: string) => void): Promise<void> {
  const [one, two] = [await primitivesIn(1), await primitivesIn(2)]
  print(
    `Two threads beside one; this machine’s own figure, the primitives alone in threads that share nothing: ${((2 * one) / two).toFixed(2)}`,
  )
  for (const { name, bytes, count } of crowds)
    await crowd(town, name, randomBytes(bytes), isQuick ? Math.ceil(count / 4) : count, print)
}

async function crowd(
  town: Town,
  name: string,
  document: Buffer,
  count: number,
  print: (line: string) => void,
): Promise<void> {
  const all = async (sealer: ReturnType<typeof makeSealer>) => {
    const start = performance.now()
    await Promise.all(
      Array.from({ length: count }, async () => {
        const order = anOrder(town, { documents: [aDocument(document)] })
        for await (const chunk of sealer.seal(order, { freesTaken: true }).chunks) void chunk
      }),
    )
    return performance.now() - start
  }
  const sealers = [1, 2].map((threads) => makeSealer({ threads, signers: [town.ashby] }))
  const took: number[][] = [[], []]
  for (let round = 0; round < 6; round++)
    for (const [index, sealer] of sealers.entries()) {
      const ms = await all(sealer)
      // The first round warms up.
      if (round > 0) took[index]!.push(ms)
    }
  for (const sealer of sealers) await sealer.close()
  const [one, two] = took.map(median) as [number, number]
  print(
    `  ${name}, ${count} at once: one thread ${((count * 1000) / one).toFixed(0)}/s, two threads ${((count * 1000) / two).toFixed(0)}/s: ` +
      `${(one / two).toFixed(2)} times, wanted ≥ ${threadsTimesAtLeast}`,
  )
}

/** Milliseconds until every one of so many threads has done the same work with the primitives alone. */
async function primitivesIn(threads: number): Promise<number> {
  const workers = Array.from({ length: threads }, () => new Worker(new URL(import.meta.url)))
  const said = (worker: Worker) => new Promise<void>((resolve) => worker.once('message', () => resolve()))
  await Promise.all(workers.map(said))
  const start = performance.now()
  for (const worker of workers) worker.postMessage('go')
  await Promise.all(workers.map(said))
  const took = performance.now() - start
  await Promise.all(workers.map((worker) => worker.terminate()))
  return took
}

function workAlone(): void {
  const town = aTown()
  const work = floorOf(randomBytes(500_000), town, town.phr, kinds[0]!)
  for (let round = 0; round < 20; round++) work()
  parentPort!.once('message', () => {
    for (let round = 0; round < 300; round++) work()
    parentPort!.postMessage('done')
  })
  parentPort!.postMessage('ready')
}

/** The same octets through the same primitives, in steps that suit the cache: no MIME, no ASN.1, no threads. */
function floorOf(document: Buffer, town: Town, recipient: Issued, { algorithms, keyType }: Kind): () => void {
  const publicKey = new X509Certificate(recipient.certificate).publicKey
  const first = Buffer.alloc((stepBytes / 3) * 4)
  const second = Buffer.alloc(first.length * 2)
  const cipherName = algorithms.content!
  const keyBytes = cipherName.startsWith('aes-128') ? 16 : 32
  return () => {
    const hash = createHash('sha256')
    const key = randomBytes(keyBytes)
    const cipher = createCipheriv(
      cipherName as 'aes-256-gcm',
      key,
      randomBytes(cipherName.endsWith('gcm') ? 12 : 16),
    )
    for (let from = 0; from < document.length; from += stepBytes) {
      const text = document.toString('base64', from, Math.min(from + stepBytes, document.length))
      const encoded = first.subarray(0, first.write(text, 'latin1'))
      hash.update(encoded)
      second.write(cipher.update(encoded).toString('base64'), 'latin1')
    }
    cipher.final()
    sign('sha256', hash.digest(), town.ashby.privateKey)
    if (keyType === 'ec256') {
      const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
      const secret = diffieHellman({ privateKey, publicKey })
      const wrap = createCipheriv(
        'id-aes256-wrap',
        createHash('sha256').update(secret).digest(),
        Buffer.alloc(8, 0xa6),
      )
      wrap.update(key)
      wrap.final()
    } else if (algorithms.keyTransport === 'oaep-sha256')
      publicEncrypt({ key: publicKey, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' }, key)
    else publicEncrypt({ key: publicKey, padding: constants.RSA_PKCS1_PADDING }, key)
  }
}

function contentOf(document: Buffer): Buffer {
  return Buffer.concat([
    Buffer.from('Content-Type: application/xml\r\nContent-Transfer-Encoding: base64\r\n\r\n'),
    base64InLines(document),
  ])
}

async function sealByPkijs(document: Buffer, town: Town, recipient: Issued): Promise<void> {
  const content = contentOf(document)
  const signature = await pkijsSigned(content, { signers: [town.ashby] })
  const entity = Buffer.concat([
    Buffer.from('Content-Type: multipart/signed; boundary=b0undary\r\n\r\n--b0undary\r\n'),
    content,
    Buffer.from('\r\n--b0undary\r\nContent-Transfer-Encoding: base64\r\n\r\n'),
    base64InLines(signature),
    Buffer.from('\r\n--b0undary--\r\n'),
  ])
  base64InLines(await pkijsEnveloped(entity, { recipients: [recipient] }))
}

/** Signs and encrypts in two processes, as shell scripts do; undefined where there is no openssl binary with cms. */
function openssl(town: Town) {
  const folder = mkdtempSync(join(tmpdir(), 'bluepost-bench-seal-'))
  const run = (...words: string[]) =>
    execFileSync('openssl', words, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] })
  try {
    run('cms', '-help')
  } catch {
    rmSync(folder, { recursive: true })
    return undefined
  }
  writeFileSync(join(folder, 'ours.pem'), town.ashby.certificatePem + town.ashby.privateKeyPem)
  return {
    seal(document: Buffer, recipient: Issued, { algorithms }: Kind) {
      writeFileSync(join(folder, 'plain'), contentOf(document))
      writeFileSync(join(folder, 'theirs.pem'), recipient.certificatePem)
      run('cms', '-sign', '-binary', '-in', 'plain', '-signer', 'ours.pem', '-out', 'signed')
      const cipher = algorithms.content!.replace(/^aes-(\d+)-cbc$/, 'aes$1')
      const padding =
        algorithms.keyTransport === 'oaep-sha256'
          ? ['-keyopt', 'rsa_padding_mode:oaep', '-keyopt', 'rsa_oaep_md:sha256']
          : []
      run(
        ...['cms', '-encrypt', '-binary', '-in', 'signed', `-${cipher}`, '-out', 'sealed'],
        ...['-recip', 'theirs.pem', ...padding],
      )
    },
    remove: () => rmSync(folder, { recursive: true }),
  }
}

/** In small blocks, in turns, so that a busy machine is busy for all and each runs warm. */
async function alternately(contenders: readonly (() => unknown)[], rounds: number): Promise<number[]> {
  const took: number[][] = contenders.map(() => [])
  const block = Math.max(1, Math.ceil(rounds / 4))
  for (let round = -block; round < rounds; round += block)
    for (const [index, contender] of contenders.entries())
      for (let count = 0; count < block; count++) {
        const start = performance.now()
        await contender()
        if (round >= 0) took[index]!.push(performance.now() - start)
      }
  return took.map(median)
}

const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!
const ms = (value: number | undefined) => (value === undefined ? '–' : value.toFixed(2)).padStart(9)
const times = (value: number | undefined, floor: number) =>
  (value === undefined ? '' : (value / floor).toFixed(2)).padStart(8)

if (isMainThread) {
  const { values } = parseArgs({ options: { quick: { type: 'boolean', default: false } } })
  await benchSealAlgorithms(values.quick, (line) => process.stdout.write(`${line}\n`))
} else workAlone()
