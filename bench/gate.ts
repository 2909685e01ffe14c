import { parseArgs } from 'node:util'
import { SaxesParser } from 'saxes'
import { passGate, type Expectations } from '../src/documents/gate.ts'
import { ccdOf, type Person } from '../test/neighbours/ccd.ts'

/** One line of the result: medians over rounds taken in turns. */
export interface GateFigure {
  readonly bytes: number
  readonly ms: number
  /** The same parser over the same text, asked for nothing but well-formedness with namespaces. */
  readonly floorMs: number
  /** The bytes decoded as UTF-8, and nothing else. */
  readonly decodeMs: number
  readonly ofFloor: number
  /** Resident memory above that of before, at its highest while the gate reads; the document itself was there already. */
  readonly peakBytes: number
}

const madeAt = new Date('2026-06-01T12:00:00Z')
const ellen: Person = {
  id: 'ellen',
  identifiers: [{ system: 'urn:oid:2.16.840.1.113883.19.5', value: 'E1001' }],
  family: 'Ross',
  given: 'Ellen',
  birthDate: '1956-08-14',
}
const expected: Expectations = {
  patient: ellen,
  aliases: new Map(),
  documentCodes: ['34133-9'],
  occurredAt: madeAt,
  freshnessToleranceMs: 0,
  bytesMax: 26 * 1024 * 1024,
  sensitiveData: 'excluded',
  timezone: 'UTC',
  at: madeAt,
}
/** As they come from a socket or from the database. */
const chunkBytes = 64 * 1024

/**
 * The gate over C-CDAs of these sizes, from their chunks to the verdict.
 *
 * @param print takes each line as it is ready
 */
export async function benchGate(
  sizes: readonly number[],
  rounds: number,
  print: (line: string) => void,
): Promise<GateFigure[]> {
  print('gate, C-CDA to verdict: milliseconds')
  print('       bytes   bluepost   saxes alone   decoding alone   of saxes   peak memory above before')
  const figures: GateFigure[] = []
  for (const bytes of sizes) {
    const document = ccdOf(ellen, { effectiveTime: madeAt, bytes })
    const times = { ours: [] as number[], floor: [] as number[], decode: [] as number[] }
    // The first round warms the JIT, and is not counted.
    for (let round = -1; round < rounds; round++) {
      const ours = await timed(() => gate(document))
      const floor = await timed(() => parse(document))
      const decode = await timed(() => decodeOnly(document))
      if (round < 0) continue
      times.ours.push(ours)
      times.floor.push(floor)
      times.decode.push(decode)
    }
    const ms = median(times.ours)
    const floorMs = median(times.floor)
    const figure = {
      bytes,
      ms,
      floorMs,
      decodeMs: median(times.decode),
      ofFloor: ms / floorMs,
      peakBytes: await peakOf(document),
    }
    figures.push(figure)
    print(
      `${bytes.toLocaleString('en').padStart(12)}   ${ms.toFixed(2).padStart(8)}   ${floorMs.toFixed(2).padStart(11)}   ${figure.decodeMs.toFixed(2).padStart(14)}   ${figure.ofFloor.toFixed(2).padStart(8)}   ${(figure.peakBytes / 1048576).toFixed(1).padStart(19)} MiB`,
    )
  }
  return figures
}

async function gate(document: Buffer): Promise<void> {
  const result = await passGate(chunksOf(document), expected)
  if (!result.passed) throw new Error(`the document of the benchmark does not pass: ${result.because}`)
}

function parse(document: Buffer): void {
  const parser = new SaxesParser({ xmlns: true, position: false })
  const decoder = new TextDecoder('utf-8', { fatal: true })
  for (const chunk of chunksOf(document)) parser.write(decoder.decode(chunk, { stream: true }))
  parser.close()
}

function decodeOnly(document: Buffer): void {
  const decoder = new TextDecoder('utf-8', { fatal: true })
  let characters = 0
  for (const chunk of chunksOf(document)) characters += decoder.decode(chunk, { stream: true }).length
  if (characters === 0) throw new Error('nothing was decoded')
}

function* chunksOf(document: Buffer): Generator<Buffer> {
  for (let from = 0; from < document.length; from += chunkBytes)
    yield document.subarray(from, from + chunkBytes)
}

async function peakOf(document: Buffer): Promise<number> {
  const before = process.memoryUsage.rss()
  let peak = before
  function* watched(): Generator<Buffer> {
    for (const chunk of chunksOf(document)) {
      peak = Math.max(peak, process.memoryUsage.rss())
      yield chunk
    }
  }
  await passGate(watched(), expected)
  return Math.max(peak, process.memoryUsage.rss()) - before
}

async function timed(work: () => unknown): Promise<number> {
  const began = performance.now()
  await work()
  return performance.now() - began
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { quick: { type: 'boolean' } } })
  const kilobyte = 1000
  await benchGate(
    [50, 500, 5000, 25_000].map((size) => size * kilobyte),
    values.quick === true ? 3 : 9,
    (line) => process.stdout.write(`${line}\n`),
  )
}
