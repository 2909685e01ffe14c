import { describe, expect, test } from '@jest/globals'
import { setElement } from '../../src/channels/set-element.ts'

const eob = {
  resourceType: 'ExplanationOfBenefit',
  status: 'active',
  type: { coding: [{ code: 'pharmacy' }] },
}

test.each([
  ['status', 'draft', { status: 'draft' }],
  ['type.coding[0].code', 'oral', { type: { coding: [{ code: 'oral' }] } }],
  ['type.coding[1].code', 'oral', { type: { coding: [{ code: 'pharmacy' }, { code: 'oral' }] } }],
  ['type.text', 'Pharmacy', { type: { text: 'Pharmacy', coding: [{ code: 'pharmacy' }] } }],
  ['meta.security[0].code', 'HTEST', { meta: { security: [{ code: 'HTEST' }] } }],
  ['period.end', '2026-03-02', { period: { end: '2026-03-02' } }],
  ['count', 3, { count: 3 }],
])('%s is set, and what is missing on the way is made', (path, value, expected) => {
  const before = structuredClone(eob)
  expect(setElement(eob, path, value)).toEqual({ ...eob, ...expected })
  expect(eob).toEqual(before)
})

test('an empty text takes the element away', () => {
  expect(setElement(eob, 'status', '')).toEqual({ resourceType: eob.resourceType, type: eob.type })
  expect(setElement(eob, 'type.coding[0]', '')).toMatchObject({ type: { coding: [] } })
})

describe('what is no path is refused', () => {
  test.each([
    ['', 'is no path to an element'],
    ['a..b', 'is no path to an element'],
    ['type.coding[x]', 'is no path to an element'],
    ['__proto__.polluted', 'is no path to an element'],
    ['type.constructor', 'is no path to an element'],
    ["type.coding.where(code = 'x')", 'is no path to an element'],
    ['status.code', 'leads through a plain value'],
    ['type.coding.code', 'leads through a list: write code behind [0]'],
    ['status[0]', 'leads through something that is no list'],
    ['type.coding[999]', 'leads to a place beyond 100'],
  ])('%s', (path, because) => {
    expect(() => setElement(eob, path, 'x')).toThrow(because)
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined()
  })
})
