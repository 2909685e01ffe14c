import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { loadChannels } from '../src/channels/load.ts'
import { evaluate } from '../src/mapping/evaluate.ts'
import { laneKey } from '../src/mapping/lane-key.ts'

/** One kind of work, messages per second: ours and the floor, in turns within the same run. */
export interface MappingFigure {
  readonly work: string
  readonly perSecond: number
  readonly floorPerSecond: number
  readonly ofFloor: number
}

const rounds = 5

/**
 * Messages per second that the shipped channel decides, on one core and without any input or output: a 1.5 KB ADT through
 * all filters and rows to a trigger event, one that the second filter stops, and the lane key alone.
 *
 * The floor does nothing but decode the bytes and split them at CR and `|`, without reading MSH-2, character sets,
 * repetitions, escapes, paths, times or tables.
 *
 * @param seconds measured for each kind of work
 */
export function benchMapping(seconds: number, print: (line: string) => void): MappingFigure[] {
  const root = join(import.meta.dirname, '..')
  const { plans } = loadChannels({
    channelsDirectory: join(root, 'channels'),
    mappingsDirectory: join(root, 'mappings'),
    environment: {},
  })
  const plan = plans.find(({ name }) => name === 'adt-discharge')
  if (plan === undefined)
    throw new Error('the shipped channel adt-discharge cannot be loaded: bluepost lint says why')
  const at = new Date('2026-03-02T17:00:00Z')
  const discharge = padded(readFileSync(join(root, 'channels/samples/a03.hl7')))
  const update = Buffer.from(discharge.toString('latin1').replace('ADT^A03', 'ADT^A08'), 'latin1')
  const works: readonly (readonly [string, () => boolean])[] = [
    ['mapped to an event', () => evaluate(plan, discharge, at).decision === 'trigger'],
    ['stopped by a filter', () => evaluate(plan, update, at).decision === 'filtered'],
    ['lane key alone', () => laneKey(plan, discharge) !== undefined],
  ]
  print(`mapping, ${discharge.length} bytes ADT, one core: messages per second`)
  print('                        bluepost      floor   of floor')
  const floor = () => splitAlone(discharge)
  for (const run of [...works.map(([, one]) => one), floor]) rate(run, 0.2)
  return works.map(([work, run]) => {
    const ours: number[] = []
    const least: number[] = []
    for (let round = 0; round < rounds; round++) {
      ours.push(rate(run, seconds / rounds / 2))
      least.push(rate(floor, seconds / rounds / 2))
    }
    const [perSecond, floorPerSecond] = [median(ours), median(least)]
    const figure = { work, perSecond, floorPerSecond, ofFloor: perSecond / floorPerSecond }
    print(
      `${work.padEnd(20)} ${number(perSecond)} ${number(floorPerSecond)} ${figure.ofFloor.toFixed(2).padStart(10)}`,
    )
    return figure
  })
}

/** The sample with observations and insurance behind it, as real ones have: 1.5 KB. */
function padded(sample: Buffer): Buffer {
  const lines = sample.toString('latin1').trimEnd().split(/\r?\n/)
  for (let n = 1; lines.join('\r').length < 1_440; n++)
    lines.push(`OBX|${n}|NM|8867-4^Heart rate^LN||${60 + n}|/min^^UCUM|60-100|N|||F|||20260302100000-0500`)
  return Buffer.from(`${lines.join('\r')}\r`, 'latin1')
}

function splitAlone(bytes: Buffer): boolean {
  let fields = 0
  for (const segment of bytes.toString('utf8').split('\r')) fields += segment.split('|').length
  return fields > 0
}

/** How often per second a piece of work is done; fails where it does not do what it should. */
function rate(run: () => boolean, seconds: number): number {
  const start = process.hrtime.bigint()
  const until = start + BigInt(Math.round(seconds * 1e9))
  let done = 0
  let now = start
  while (now < until) {
    for (let n = 0; n < 100; n++) if (!run()) throw new Error('the work was not done')
    done += 100
    now = process.hrtime.bigint()
  }
  return (done / Number(now - start)) * 1e9
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!
}

function number(value: number): string {
  return Math.round(value).toLocaleString('en-US').padStart(10)
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { quick: { type: 'boolean' } } })
  benchMapping(values.quick === true ? 2 : 8, (line) => process.stdout.write(`${line}\n`))
}
