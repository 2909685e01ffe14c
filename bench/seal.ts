import { execFileSync } from 'node:child_process'
import {
  constants,
  createCipheriv,
  createHash,
  publicEncrypt,
  randomBytes,
  sign,
  X509Certificate,
} from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { makeSealer } from '../src/seal/seal.ts'
import { sealing } from '../src/seal/sealing.ts'
import { makeSignature } from '../src/seal/signature.ts'
import { chunkBytesMax } from '../src/store/blobs.ts'
import { anOrder, aTown } from '../test/seal/an-order.ts'

const sizes = [
  { name: '50 KB', bytes: 50_000, atMost: 1.8, rounds: 400 },
  { name: '500 KB', bytes: 500_000, atMost: 1.5, rounds: 120 },
  { name: '5 MB', bytes: 5_000_000, atMost: 1.5, rounds: 24 },
  { name: '25 MB', bytes: 25_000_000, atMost: 1.5, rounds: 6 },
]
/** As documents come from the store. */
const sourceBytes = chunkBytesMax
const stepBytes = 57 * 1152
const memoryAtMost = 1.5
/** Messages under way at once; the engine takes up to eight steps at a time. */
const queueLength = 4

/**
 * Sealing beside the same Node primitives alone: base64, SHA-256, AES-256-CBC, base64 again, one RSA-2048 signature, one
 * key wrapped; without MIME, ASN.1, line ends or threads, and in the steps that suit the processor's cache best.
 */
export async function benchSeal(isQuick: boolean, print: (line: string) => void): Promise<void> {
  const town = aTown()
  const recipient = new X509Certificate(town.phr.certificate).publicKey
  const signature = makeSignature([town.ashby])
  const sealer = makeSealer({ threads: 1, signers: [town.ashby] })
  const first = Buffer.alloc((stepBytes / 3) * 4)
  const second = Buffer.alloc(first.length * 2)

  const floor = (document: Buffer) => {
    const hash = createHash('sha256')
    const key = randomBytes(32)
    const cipher = createCipheriv('aes-256-cbc', key, randomBytes(16))
    for (let from = 0; from < document.length; from += stepBytes) {
      const text = document.toString('base64', from, Math.min(from + stepBytes, document.length))
      const encoded = first.subarray(0, first.write(text, 'latin1'))
      hash.update(encoded)
      second.write(cipher.update(encoded).toString('base64'), 'latin1')
    }
    cipher.final()
    sign('sha256', hash.digest(), town.ashby.privateKey)
    publicEncrypt({ key: recipient, padding: constants.RSA_PKCS1_PADDING }, key)
  }
  const orderOf = (document: Buffer) =>
    anOrder(town, {
      documents: [
        {
          fileName: 'ccd.xml',
          mediaType: 'application/xml',
          bytes: document.length,
          chunks: async function* () {
            for (let from = 0; from < document.length; from += sourceBytes)
              yield document.subarray(from, from + sourceBytes)
          },
        },
      ],
    })
  const here = async (document: Buffer) => {
    const order = orderOf(document)
    await sealing(
      order,
      signature,
      () => order.documents[0]!.chunks(),
      () => {},
    )
  }
  const inThread = async (document: Buffer) => {
    // As the engine takes them: each chunk’s memory goes back once it is stored.
    for await (const chunk of sealer.seal(orderOf(document), { freesTaken: true }).chunks) void chunk
  }

  const queued = async (document: Buffer) => {
    // As the engine works: the next message is there before the one before it is done.
    await Promise.all(Array.from({ length: queueLength }, () => inThread(document)))
  }

  print('Seal: one sealing thread, one signer, one recipient; medians in ms per message')
  print(
    `  C-CDA      floor   queue of ${queueLength}   ratio   one alone   ratio   wanted   one without thread`,
  )
  for (const { name, bytes, atMost, rounds } of sizes) {
    const document = randomBytes(bytes)
    const total = isQuick ? Math.ceil(rounds / 4) : rounds
    const times = await alternately([floor, here, inThread, queued], document, total)
    const [floorMs, hereMs, aloneMs, queueMs] = times.map(median) as [number, number, number, number]
    const ratio = (time: number) => (time / floorMs).toFixed(2).padStart(8)
    const eachMs = queueMs / queueLength
    print(
      `  ${name.padEnd(7)}${ms(floorMs)}${ms(eachMs).padStart(13)}${ratio(eachMs)}${ms(aloneMs).padStart(12)}${ratio(aloneMs)}` +
        `    ≤ ${atMost.toFixed(1)}${ms(hereMs).padStart(18)}`,
    )
  }
  await sealer.close()

  print(
    'Memory while a 25 MB C-CDA is sealed, in a process of its own (resident, threads and buffers included)',
  )
  for (const [taking, words] of [
    ['frees', 'taker gives each chunk back'],
    ['keeps', 'taker leaves it to the collector'],
  ] as const) {
    const { idle, peak } = memoryOf(25_000_000, taking)
    const grown = peak - idle
    print(
      `  ${words.padEnd(33)} idle ${mb(idle)}, peak ${mb(peak)}: ${mb(grown)} more, ${(grown / 25_000_000).toFixed(2)} of the payload, wanted ≤ ${memoryAtMost}`,
    )
  }
}

/** Times each contender in small blocks, in turns, so that a busy machine is busy for all and each runs warm. */
async function alternately(
  contenders: readonly ((document: Buffer) => unknown)[],
  document: Buffer,
  rounds: number,
): Promise<number[][]> {
  const times: number[][] = contenders.map(() => [])
  const block = Math.max(1, Math.ceil(rounds / 6))
  for (let round = -block; round < rounds; round += block)
    for (const [index, contender] of contenders.entries())
      for (let count = 0; count < block; count++) {
        const start = performance.now()
        await contender(document)
        // The first block warms up.
        if (round >= 0) times[index]!.push(performance.now() - start)
      }
  return times
}

function memoryOf(bytes: number, taking: 'frees' | 'keeps'): { idle: number; peak: number } {
  const folder = mkdtempSync(join(tmpdir(), 'bluepost-bench-'))
  try {
    const file = join(folder, 'ccd.xml')
    writeFileSync(file, Buffer.alloc(bytes, 'ClinicalDocument '))
    const program = fileURLToPath(new URL('./seal-memory.ts', import.meta.url))
    const answer = execFileSync(process.execPath, [program, file, String(bytes), taking], {
      encoding: 'utf8',
    })
    return JSON.parse(answer) as { idle: number; peak: number }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!
const ms = (value: number) => value.toFixed(2).padStart(9)
const mb = (bytes: number) => `${(bytes / 1e6).toFixed(0)} MB`

if (import.meta.main) {
  const { values } = parseArgs({ options: { quick: { type: 'boolean', default: false } } })
  await benchSeal(values.quick, (line) => process.stdout.write(`${line}\n`))
}
