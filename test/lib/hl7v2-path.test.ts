import { describe, expect, test } from '@jest/globals'
import { parsePath, parseRelativePath, pathOf } from '../../src/lib/hl7v2-path.ts'

describe('a path names segment, field, component and subcomponent', () => {
  test.each([
    ['PID-3', { segment: 'PID', field: 3 }],
    ['PID-3.4.1', { segment: 'PID', field: 3, component: 4, subcomponent: 1 }],
    ['PID-3[2].1', { segment: 'PID', field: 3, repetition: 2, component: 1 }],
    ['OBX[12]-5', { segment: 'OBX', occurrence: 12, field: 5 }],
    ['ZB1-1', { segment: 'ZB1', field: 1 }],
    ['MSH-9.2', { segment: 'MSH', field: 9, component: 2 }],
  ])('%s', (text, path) => {
    expect(parsePath(text)).toEqual({ valid: true, path })
  })

  test.each([
    '',
    'PID',
    'PID.3',
    'PID3',
    'pid-3',
    'PID-0',
    'PID-3.0',
    'PID[0]-3',
    'PID-1000',
    'PID-3.4.1.1',
    'PID-3[1][2]',
    ' PID-3',
    'PID-3 ',
    '1ID-3',
    'MSH-2.1',
  ])('“%s” is none, with the reason', (text) => {
    const reading = parsePath(text)
    expect(reading).toMatchObject({ valid: false, because: expect.stringMatching(/path|MSH-1/) })
  })

  test('in code, a wrong path is a mistake of the code', () => {
    expect(() => pathOf('PID.3')).toThrow(TypeError)
  })
})

describe('a path inside a repetition names component and subcomponent', () => {
  test.each([
    ['5', { component: 5 }],
    ['4.2', { component: 4, subcomponent: 2 }],
  ])('%s', (text, path) => {
    expect(parseRelativePath(text)).toEqual({ valid: true, path })
  })

  test.each(['', '0', '4.0', 'PID-3', '4.1.1', '1000'])('“%s” is none', (text) => {
    expect(parseRelativePath(text).valid).toBe(false)
  })
})
