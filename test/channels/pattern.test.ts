import { describe, expect, test } from '@jest/globals'
import { readPattern } from '../../src/channels/pattern.ts'

describe('patterns that people write are taken', () => {
  test.each([
    ['^[0-9]{8}$', '20260302', true],
    ['^(MR|PI)$', 'PI', true],
    ['^A0[1-8]$', 'A09', false],
    ['^4W', '4W-402', true],
    ['\\.br\\\\$', 'x.br\\', true],
    ['^(?:ICU|PSY).*$', 'ICU-1', true],
    ['^[a-z+*?(){}]+$', 'a+b', true],
    ['^\\p{Lu}', 'Éa', true],
    ['^[A-Z]+-[0-9]+-[0-9]+$', 'ICU-4-12', true],
  ])('%s', (text, value, matches) => {
    const reading = readPattern(text)
    expect(reading.valid && reading.pattern.test(value)).toBe(matches)
  })
})

describe('patterns that could take for ever on some value are refused, with what to write instead', () => {
  test.each([
    ['(a+)+$', 'the pattern repeats a group'],
    ['(a|a){20}$', 'the pattern repeats a group'],
    ['(?:a*)*b', 'the pattern repeats a group'],
    ['a*a*a*b', 'the pattern has more than 2 loops (* + {n,m}) and may begin anywhere'],
    ['^a*a*a*b|c', 'the pattern has more than 2 loops (* + {n,m}) and may begin anywhere'],
    ['.*.*.*.*x', 'the pattern has more than 3 open quantifiers (* + ? {n,m})'],
    ['a{1,9}b{1,9}c{1,9}d{1,9}', 'the pattern has more than 3 open quantifiers (* + ? {n,m})'],
    ['(a|a)(a|a)(a|a)', 'the pattern has alternatives and more than 2 groups'],
    ['(a)\\1', 'the pattern uses a back reference'],
    ['(?<n>a)\\k<n>', 'the pattern uses a back reference'],
    ['(?=a)b', 'the pattern looks ahead or behind'],
    ['(?<!a)b', 'the pattern looks ahead or behind'],
    ['x'.repeat(201), 'the pattern is longer than 200 characters'],
    ['[0-9', 'the pattern is not a regular expression'],
  ])('%s', (text, because) => {
    expect(readPattern(text)).toMatchObject({ valid: false, because, remedy: expect.stringMatching(/./) })
  })
})

test('what is taken is answered at once, whatever the value: 200 letters are the longest that meets a pattern', () => {
  for (const text of ['a*a*b', '^a*a*a*b', '(a|a)(a|a)a*a*b', '^(a|a)(a|a)a*a*b', 'a?a*a*b', '\\w+\\w+!']) {
    const reading = readPattern(text)
    if (!reading.valid) throw new Error(`${text}: ${reading.because}`)
    // 200³ steps at most; a fourth power would be a second each, and a hundred of them the limit of this test.
    for (let n = 0; n < 5; n++) expect(reading.pattern.test('a'.repeat(200))).toBe(false)
  }
})
