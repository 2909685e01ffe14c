import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import type { Piece } from '../../src/intake/split.ts'
import { Unsplittable } from '../../src/intake/split.ts'
import { X12Claims } from '../../src/intake/x12-claims.ts'

const isa =
  'ISA*00*          *00*          *ZZ*PLAN           *ZZ*ASHBY          *260302*2000*^*00501*000000042*0*P*:~'
const gs = 'GS*HP*PLAN*ASHBY*20260302*2000*7*X*005010X221A1~'
const header =
  'BPR*I*100*C*ACH~\nTRN*1*77*1512345678~\nDTM*405*20260302~\nN1*PR*PLAN~\nN1*PE*ASHBY*XX*1234567893~'
const claim = (number: string, status = '1') =>
  `CLP*A${number}*${status}*100*80**12*ICN${number}~\nNM1*QC*1*ROSS*ELLEN****MI*M${number}~\nDTM*232*20260220~`

function remittance(claims: readonly string[], { se = 0, ge = 1, iea = 1 } = {}): string {
  const body = ['ST*835*0001~', header, 'LX*1~', ...claims].join('\n')
  const segments = body.split('~').length - 1 + 1 + se
  return `${isa}\n${gs}\n${body}\nSE*${segments}*0001~\nGE*${ge}*7~\nIEA*${iea}*000000042~\n`
}

function cut(text: string, sizes: readonly number[] = [text.length]): Piece[] {
  const bytes = Buffer.from(text, 'latin1')
  const splitter = new X12Claims()
  const pieces: Piece[] = []
  let at = 0
  for (let nth = 0; at < bytes.length; nth++) {
    const size = Math.max(1, sizes[nth % sizes.length] ?? 1)
    pieces.push(...splitter.push(bytes.subarray(at, at + size)))
    at += size
  }
  pieces.push(...splitter.end())
  return pieces
}

function refusal(text: string): string {
  try {
    cut(text)
  } catch (error) {
    if (error instanceof Unsplittable) return error.because
    throw error
  }
  return 'it was cut'
}

test('each claim becomes an interchange of its own, with what it shares with the others', () => {
  const [first, second, ...more] = cut(remittance([claim('1'), claim('2', '22')]))
  expect(more).toEqual([])
  const text = second!.content.toString('latin1')
  expect(text).toBe(
    `${isa}\n${gs}\nST*835*0001~\n${header}\nLX*1~\n${claim('2', '22')}\nSE*11*0001~\nGE*1*7~\nIEA*1*000000042~\n`,
  )
  expect([first!.controlId, second!.controlId]).toEqual(['835/000000042/7/0001/1', '835/000000042/7/0001/2'])
  expect(second!.sender).toBe('PLAN|PLAN')
  // It is one again when it is read again.
  expect(cut(text)[0]!.content.toString('latin1')).toBe(text)
})

test('any way of cutting the file into chunks gives the same claims', () => {
  const texts = [
    remittance([claim('1'), claim('2'), claim('3', '4')]),
    remittance([claim('1')]).replaceAll('\n', ''),
    remittance([claim('1')]).replaceAll('\n', '\r\n') + remittance([]),
    `\ufeff${remittance([claim('1')])}`,
    remittance([claim('1'), claim('2')])
      .replaceAll('\n', '')
      .replaceAll('~', '\n'),
    remittance([claim('1'), claim('2')])
      .replaceAll('~\n', '~')
      .replace(/(.{300})/g, '$1\r\n'),
  ].map((text) => Buffer.from(text).toString('latin1'))
  fc.assert(
    fc.property(
      fc.constantFrom(...texts),
      fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1 }),
      (text, sizes) => {
        expect(cut(text, sizes)).toEqual(cut(text))
      },
    ),
    { numRuns: 200 },
  )
})

test('a file that was changed anywhere is cut or refused, and nothing else', () => {
  const whole = remittance([claim('1'), claim('2')])
  fc.assert(
    fc.property(
      fc.nat(whole.length - 1),
      fc.integer({ min: 0, max: 255 }),
      fc.boolean(),
      (at, byte, isCutOff) => {
        const text = isCutOff
          ? whole.slice(0, at)
          : whole.slice(0, at) + String.fromCharCode(byte) + whole.slice(at + 1)
        // Cut off anywhere before the last terminator, nothing is taken.
        if (isCutOff && at < whole.length - 2) expect(refusal(text)).not.toBe('it was cut')
        else refusal(text)
      },
    ),
    { numRuns: 500 },
  )
})

test('counts and control numbers that do not fit are refused with their place', () => {
  expect(refusal(remittance([claim('1')], { se: -1 }))).toMatch(
    /^SE, segment 13 at byte \d+: it does not state the 11 segments that were counted/,
  )
  expect(refusal(remittance([claim('1')], { ge: 2 }))).toMatch(/^GE, .*1 transactions/)
  expect(refusal(remittance([claim('1')], { iea: 2 }))).toMatch(/^IEA, .*1 groups/)
  expect(refusal(remittance([claim('1')]).replace('IEA*1*000000042', 'IEA*1*000000043'))).toMatch(
    /control number/,
  )
  expect(refusal(remittance([claim('1')]).replace(/IEA.*\n/, ''))).toMatch(/without IEA: it was cut off/)
  expect(refusal(`${isa}\n${remittance([])}`)).toMatch(/^ISA, segment 2 .*before IEA of the last one/)
  expect(refusal('')).toMatch(/empty/)
  expect(refusal('hello')).toMatch(/the file is no X12/)
  expect(refusal(remittance([]).replace('PLAN  ', 'PLAN '))).toMatch(/ISA06 is too short or too long/)
  for (const because of [refusal(remittance([claim('1')], { se: 1 }))])
    expect(because).not.toMatch(/ROSS|ICN/)
})

test('what is no remittance leaves its envelope alone', () => {
  const other = `${isa}\n${gs}\nST*837*0001~\nCLM*secret~\nSE*3*0001~\nGE*1*7~\nIEA*1*000000042~\n`
  const [piece] = cut(other)
  expect(piece!.content.toString()).toContain('ST*837*0001~')
  expect(piece!.content.toString()).not.toContain('secret')
  expect(cut(`${isa}TA1*000000001*260302*1200*A*000~IEA*0*000000042~`)[0]!.content.toString()).toContain(
    'TA1*',
  )
  expect(cut(`${isa}IEA*0*000000042~`)).toHaveLength(1)
  expect(cut(remittance([]))[0]!.content.toString()).toContain('BPR*I')
})

test('separators and repetition are those of each ISA', () => {
  const odd = remittance([claim('9')])
    .replaceAll('~\n', '_')
    .replaceAll('*', '|')
    .replaceAll('^', '!')
  const [one, two] = cut(remittance([claim('1')]) + odd)
  expect(one!.content.toString()).toContain('CLP*A1*')
  expect(two!.content.toString()).toContain('CLP|A9|')
  // ISA11 of older senders names a standard.
  expect(cut(remittance([claim('1')]).replace('*^*', '*U*'))).toHaveLength(1)
})

test('100,000 claims go through in bounded memory', () => {
  const splitter = new X12Claims()
  const text = (part: string) => Buffer.from(part)
  let pieces = 0
  let peak = 0
  const count = (found: Iterable<Piece>) => {
    for (const { content } of found) {
      pieces++
      if (pieces % 10_000 === 0) peak = Math.max(peak, process.memoryUsage().heapUsed)
      expect(content.length).toBeLessThan(1_000)
    }
  }
  const before = process.memoryUsage().heapUsed
  count(splitter.push(text(`${isa}\n${gs}\nST*835*0001~\n${header}\nLX*1~\n`)))
  for (let at = 0; at < 100_000; at += 100)
    count(splitter.push(text(Array.from({ length: 100 }, (_, nth) => claim(String(at + nth))).join('\n'))))
  count(splitter.push(text(`SE*${100_000 * 3 + 8}*0001~GE*1*7~IEA*1*000000042~`)))
  count(splitter.end())
  expect(pieces).toBe(100_000)
  expect(peak - before).toBeLessThan(200 * 1024 * 1024)
})
