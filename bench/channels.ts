import { cpSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { parseDocument } from 'yaml'
import { loadChannels } from '../src/channels/load.ts'
import { runTests } from '../src/channels/run-tests.ts'
import { acknowledgments } from '../src/engine/channel-tests.ts'

/** Seconds for all channels: ours and the floor, in turns within the same run. */
export interface ChannelsFigure {
  readonly work: string
  readonly seconds: number
  readonly floorSeconds: number
  readonly timesFloor: number
}

const root = join(import.meta.dirname, '..')

/**
 * What an analyst waits for with 200 channels and more than 2,000 tests: lint, and the tests. The channels are the shipped
 * ones, again and again under names, ports and directories of their own.
 *
 * The floor reads the same files and parses their YAML, and does nothing else.
 */
export function benchChannels(
  channels: number,
  rounds: number,
  print: (line: string) => void,
): ChannelsFigure[] {
  const folder = mkdtempSync(join(tmpdir(), 'bluepost-bench-'))
  try {
    writeChannels(folder, channels)
    const files = {
      channelsDirectory: join(folder, 'channels'),
      mappingsDirectory: join(folder, 'mappings'),
      environment: {},
      secrets: { secret: () => 'secret' },
      fhirServers: ['clinic-r4', 'payer-r4'],
    }
    const times = { lint: [] as number[], test: [] as number[], floor: [] as number[] }
    let tests = 0
    for (let round = 0; round < rounds; round++) {
      const floorMs = took(() => parseAlone(folder))
      let loaded = loadChannels(files)
      const lintMs = took(() => (loaded = loadChannels(files)))
      const errors = loaded.problems.filter(({ severity }) => severity === 'error')
      if (errors.length > 0 || loaded.plans.length !== channels)
        throw new Error(`the channels cannot be loaded: ${errors[0]?.what ?? 'one is missing'}`)
      const testMs = took(() => {
        const { results } = runTests(loaded.plans, acknowledgments)
        if (results.some(({ passed }) => !passed)) throw new Error('a test failed: bluepost test says which')
        tests = results.length
      })
      times.floor.push(floorMs)
      times.lint.push(lintMs)
      times.test.push(testMs)
    }
    print(`channels: lint and test of ${channels} channels with ${tests} tests, seconds`)
    print('                        bluepost      floor   times floor')
    return (['lint', 'test'] as const).map((work) => {
      const [seconds, floorSeconds] = [median(times[work]) / 1000, median(times.floor) / 1000]
      const figure = { work, seconds, floorSeconds, timesFloor: seconds / floorSeconds }
      print(
        `${work.padEnd(20)} ${seconds.toFixed(2).padStart(10)} ${floorSeconds.toFixed(2).padStart(10)} ${figure.timesFloor.toFixed(2).padStart(10)}`,
      )
      return figure
    })
  } finally {
    rmSync(folder, { recursive: true })
  }
}

function writeChannels(folder: string, channels: number): void {
  cpSync(join(root, 'mappings'), join(folder, 'mappings'), { recursive: true })
  mkdirSync(join(folder, 'channels'))
  cpSync(join(root, 'channels/samples'), join(folder, 'channels/samples'), { recursive: true })
  const shipped = readdirSync(join(root, 'channels')).filter((name) => name.endsWith('.yaml'))
  for (let n = 0; n < channels; n++) {
    const name = `${shipped[n % shipped.length]!.replace('.yaml', '')}-${n}`
    const text = readFileSync(join(root, 'channels', shipped[n % shipped.length]!), 'utf8')
      .replace(/^channel: .*$/m, `channel: ${name}`)
      .replace(/port: '\$\{\w+:-\d+\}'/, `port: ${10_000 + n}`)
      .replace(/directory: '\$\{\w+:-([^}]*)\}'/, `directory: '$1-${n}'`)
    writeFileSync(join(folder, 'channels', `${name}.yaml`), text)
  }
}

function parseAlone(folder: string): void {
  for (const part of ['channels', 'mappings'])
    for (const name of readdirSync(join(folder, part)))
      if (name.endsWith('.yaml')) parseDocument(readFileSync(join(folder, part, name), 'utf8'))
}

function took(work: () => unknown): number {
  const start = performance.now()
  work()
  return performance.now() - start
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { quick: { type: 'boolean' } } })
  benchChannels(200, values.quick === true ? 1 : 5, (line) => process.stdout.write(`${line}\n`))
}
