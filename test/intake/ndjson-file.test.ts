import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { NdjsonFile } from '../../src/intake/ndjson-file.ts'
import { Unsplittable, type Piece } from '../../src/intake/split.ts'

function cut(text: string, sizes: readonly number[] = [1e9], bytesMax = 10_000): Piece[] {
  const patients = new Map()
  const read = () => {
    const bytes = Buffer.from(text)
    const splitter = new NdjsonFile(bytesMax, patients)
    const pieces: Piece[] = []
    for (let at = 0, nth = 0; at < bytes.length; nth++) {
      const size = sizes[nth % sizes.length]!
      pieces.push(...splitter.push(bytes.subarray(at, at + size)))
      at += size
    }
    return [...pieces, ...splitter.end()]
  }
  read()
  return read()
}

const eob = (id: string, patient = 'Patient/p') =>
  JSON.stringify({ resourceType: 'ExplanationOfBenefit', id, patient: { reference: patient } })
const ellen = JSON.stringify({ resourceType: 'Patient', id: 'p', name: [{ family: 'Róss' }] })

test('any way of cutting the file into chunks gives the same resources', () => {
  const text = `\ufeff${eob('1')}\r\n\n${ellen}\n${eob('2')}\n{ broken\n${eob('3', '#x')}`
  const whole = cut(text)
  expect(whole.map(({ controlId }) => controlId)).toEqual([
    'ExplanationOfBenefit/1/_history/',
    'ExplanationOfBenefit/2/_history/',
    'line/5',
    'ExplanationOfBenefit/3/_history/',
  ])
  expect(whole[0]!.content.toString()).toContain('Róss')
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1 }), (sizes) => {
      expect(cut(text, sizes)).toEqual(whole)
    }),
    { numRuns: 60 },
  )
})

test.each([
  ['', /empty/],
  ['\n \n', /empty/],
  ['[{"resourceType":"Patient"}]', /^line 1 is no FHIR resource: .*not an array/],
  ['{\n  "resourceType": "Patient"\n}', /^line 1 is no FHIR resource/],
  [`${eob('1')}\n${'x'.repeat(10_001)}`, /^line 2 is longer than 10000 bytes/],
])('what is no NDJSON is refused with place and remedy: %#', (text, told) => {
  let because: unknown
  try {
    cut(text)
  } catch (error) {
    because = error instanceof Unsplittable ? error.because : error
  }
  expect(because).toMatch(told)
})

test('100,000 resources go through in bounded memory', () => {
  const splitter = new NdjsonFile(100_000, new Map())
  const before = process.memoryUsage().heapUsed
  let count = 0
  let peak = 0
  for (let at = 0; at < 100_000; at += 100) {
    const chunk = Buffer.from(Array.from({ length: 100 }, (_, nth) => `${eob(String(at + nth))}\n`).join(''))
    for (const piece of splitter.push(chunk)) {
      count++
      expect(piece.content.length).toBeLessThan(500)
    }
    if (at % 10_000 === 0) peak = Math.max(peak, process.memoryUsage().heapUsed)
  }
  for (const _ of splitter.end()) count++
  expect(count).toBe(100_000)
  expect(peak - before).toBeLessThan(200 * 1024 * 1024)
})
