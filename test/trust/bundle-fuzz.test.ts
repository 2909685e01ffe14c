import { expect, jest, test } from '@jest/globals'
import fc from 'fast-check'
import { readBundle } from '../../src/trust/bundle.ts'
import { readCertificate } from '../../src/trust/certificate.ts'
import { armoured, asBer, makeBundle, signBundle } from '../pki/bundle.ts'
import { anEcRoot, at } from '../pki/chains/chain-case.ts'

jest.setTimeout(120_000)

const roots = [anEcRoot(), anEcRoot()]
const ders = roots.map(({ certificate }) => certificate)
const signer = anEcRoot()
const reading = readCertificate(signer.certificate)
if (!reading.readable) throw new Error(reading.because)
const required = [reading.certificate]

const plain = makeBundle(ders)
const signed = signBundle(plain, [signer])
const originals = [
  plain,
  asBer(plain),
  armoured(plain),
  makeBundle(ders, Buffer.from('<xml/>')),
  signed,
  asBer(signed),
  signBundle(armoured(plain), [signer]),
  armoured(signed),
]

const place = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })
/** Octets changed, taken out, doubled, filled with nonsense; lengths set to the largest there are. */
const change = fc.oneof(
  fc.record({
    how: fc.constant('set' as const),
    at: place,
    octets: fc.uint8Array({ minLength: 1, maxLength: 6 }),
  }),
  fc.record({ how: fc.constant('cut' as const), at: place, length: fc.nat(40) }),
  fc.record({
    how: fc.constant('put' as const),
    at: place,
    octets: fc.uint8Array({ minLength: 1, maxLength: 40 }),
  }),
  fc.record({
    how: fc.constant('long' as const),
    at: place,
    octet: fc.constantFrom(0x80, 0x84, 0x86, 0xff, 0x1f, 0x24),
  }),
  fc.record({ how: fc.constant('end' as const), at: place }),
)

function changed(
  bytes: Buffer,
  one: typeof change extends fc.Arbitrary<infer Change> ? Change : never,
): Buffer {
  const from = Math.floor(one.at * bytes.length)
  switch (one.how) {
    case 'set':
      return Buffer.concat([bytes.subarray(0, from), one.octets, bytes.subarray(from + one.octets.length)])
    case 'cut':
      return Buffer.concat([bytes.subarray(0, from), bytes.subarray(from + one.length)])
    case 'put':
      return Buffer.concat([bytes.subarray(0, from), one.octets, bytes.subarray(from)])
    case 'long':
      return Buffer.concat([bytes.subarray(0, from), Buffer.from([one.octet]), bytes.subarray(from + 1)])
    case 'end':
      return bytes.subarray(0, from)
  }
}

test('100,000 mutated bundles: words or anchors, and only signed ones where a signer is required', () => {
  const genuine = new Set(ders.map((der) => der.toString('hex')))
  let read = 0
  let before = 0
  fc.assert(
    fc.property(
      fc.constantFrom(...originals),
      fc.array(change, { minLength: 1, maxLength: 3 }),
      (bytes, changes) => {
        const mutated = changes.reduce(changed, bytes)
        if (before === 0) before = process.memoryUsage().rss
        const anyone = readBundle(mutated, [], at)
        if (anyone.outcome === 'refused') expect(anyone.because.length).toBeLessThan(1000)
        const strict = readBundle(mutated, required, at)
        if (strict.outcome === 'refused') return
        read++
        for (const { der } of strict.bundle.anchors) expect(genuine.has(der.toString('hex'))).toBe(true)
      },
    ),
    { numRuns: 100_000 },
  )
  // Some changes are to what nobody looks at; were there none, this would test nothing.
  expect(read).toBeGreaterThan(100)
  expect(process.memoryUsage().rss - before).toBeLessThan(512 * 1024 * 1024)
})

test('depth, pieces and members without end cost bounded work', () => {
  const deep = Buffer.concat([Buffer.alloc(2_000_000, Buffer.from([0x30, 0x80])), Buffer.alloc(16)])
  const pieces = Buffer.concat([
    Buffer.from('308006092a864886f70d010702a080308002010131003080', 'hex'),
    Buffer.alloc(4_000_000, Buffer.from([0x24, 0x80])),
  ])
  const members = asBer(makeBundle([])).subarray(0, 20)
  for (const bytes of [
    deep,
    pieces,
    Buffer.concat([members, Buffer.alloc(4_000_000, Buffer.from([0x05, 0]))]),
  ])
    expect(readBundle(bytes, [], at)).toMatchObject({ outcome: 'refused', code: 'unreadable' })
})
