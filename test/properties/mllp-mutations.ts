import { readdirSync, readFileSync } from 'node:fs'
import fc from 'fast-check'
import { adt, framed } from '../intake/adt.ts'

const samples = new URL('../../channels/samples/', import.meta.url)

/** Frames as senders send them: the shipped samples, all acknowledgment modes, batches, charsets, odd separators. */
const frames: readonly Buffer[] = [
  ...readdirSync(samples)
    .filter((name) => name.endsWith('.hl7'))
    .map((name) => readFileSync(new URL(name, samples), 'latin1').replace(/\r?\n/g, '\r')),
  adt('original'),
  adt('enhanced', { 15: 'AL', 16: 'AL' }),
  adt('silent', { 15: 'NE', 16: 'NE' }),
  adt('only-errors', { 15: 'ER', 16: 'ER' }),
  adt('charset', { 3: 'H\xc3\x94PITAL', 18: 'UNICODE UTF-8' }),
  adt('old', { 12: '2.3' }).replaceAll('\r', '\n'),
  '\xef\xbb\xbf' + adt('marked'),
  'MSH#:;!@#ADT1#ASHBY###2026##ADT:A03#17#P#2.5\rPID#1\r',
  `FHS|^~\\&\rBHS|^~\\&\r${adt('b1')}${adt('b2', { 15: 'AL' })}BTS|2\rFTS|1\r`,
].map((content) => Buffer.from(framed(content), 'latin1'))

const places = 65_536

/** Where, as a part of the length, so that shrinking stays meaningful. */
const place = fc.nat(places - 1)
/** Framing bytes and delimiters often, any byte else. */
const byte = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(0x0b, 0x1c, 0x0d) },
  { weight: 1, arbitrary: fc.constantFrom(0x0a, 0x00, 0x7c, 0x5e, 0x7e, 0x5c, 0x26, 0x20, 0xff) },
  { weight: 2, arbitrary: fc.integer({ min: 0, max: 255 }) },
)

type Mutation = (bytes: Buffer) => Buffer

const at = (bytes: Buffer, where: number): number => Math.floor((where * (bytes.length + 1)) / places)

const mutation: fc.Arbitrary<Mutation> = fc.oneof(
  fc.tuple(place, byte).map(([where, value]): Mutation => (bytes) => {
    const changed = Buffer.from(bytes)
    if (changed.length > 0) changed[Math.min(at(bytes, where), changed.length - 1)] = value
    return changed
  }),
  fc.tuple(place, fc.array(byte, { minLength: 1, maxLength: 4 })).map(
    ([where, values]): Mutation =>
      (bytes) =>
        Buffer.concat([
          bytes.subarray(0, at(bytes, where)),
          Buffer.from(values),
          bytes.subarray(at(bytes, where)),
        ]),
  ),
  place.map(
    (where): Mutation =>
      (bytes) =>
        bytes.subarray(0, at(bytes, where)),
  ),
  place.map(
    (where): Mutation =>
      (bytes) =>
        bytes.subarray(at(bytes, where)),
  ),
  fc.tuple(place, place).map(([one, other]): Mutation => (bytes) => {
    const [from, to] = [at(bytes, Math.min(one, other)), at(bytes, Math.max(one, other))]
    return Buffer.concat([bytes.subarray(0, from), bytes.subarray(to)])
  }),
  // A part once more, in place: a resent segment, a doubled start block, two frames in one.
  fc.tuple(place, place).map(([one, other]): Mutation => (bytes) => {
    const [from, to] = [at(bytes, Math.min(one, other)), at(bytes, Math.max(one, other))]
    return Buffer.concat([bytes.subarray(0, to), bytes.subarray(from)])
  }),
)

/** The most bytes a mutated input has. */
export const mutatedBytesMax = 8192

/** A frame or two after one to five mishaps. */
export const mutated: fc.Arbitrary<Buffer> = fc
  .tuple(
    fc.array(fc.constantFrom(...frames), { minLength: 1, maxLength: 2 }),
    fc.array(mutation, { minLength: 1, maxLength: 5 }),
  )
  .map(([whole, mutations]) =>
    mutations
      .reduce((bytes: Buffer, mutate) => mutate(bytes), Buffer.concat(whole))
      .subarray(0, mutatedBytesMax),
  )

/** Cuts bytes into the reads of a socket. */
export const splits = fc.array(place, { maxLength: 4 }).map((wheres) => (bytes: Buffer): Buffer[] => {
  const cuts = [0, ...wheres.map((where) => at(bytes, where)).sort((a, b) => a - b), bytes.length]
  return cuts.slice(1).map((to, nth) => bytes.subarray(cuts[nth], to))
})
