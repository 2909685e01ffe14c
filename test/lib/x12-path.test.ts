import { expect, test } from '@jest/globals'
import { readX12, setX12 } from '../../src/lib/x12-message.ts'
import { parseX12Part, parseX12Path, parseX12Segment } from '../../src/lib/x12-path.ts'

const isa = (repetition = '^') =>
  `ISA*00*          *00*          *ZZ*PLAN           *ZZ*ASHBY          *260302*2000*${repetition}*00501*000000042*0*P*:~`
const body = [
  'GS*HP*PLAN*ASHBY*20260302*2015*7*X*005010X221A1~',
  'ST*835*0001~',
  'CLP* A1 *1*100*80~',
  'NM1*IL*1*ROSS*WILLIAM****MI*M1~',
  'NM1*QC*1*ROSS*ELLEN****MI*M2^M3~',
  'SVC*HC:99213:25*100*80~',
  'SVC*HC:99214*1*1~',
].join('\n')
const message = (text = isa() + body) => readX12(Buffer.from(text))
const at = (path: string, one = message()) => {
  const reading = parseX12Path(path)
  if (!reading.valid) throw new Error(reading.because)
  return one.first(reading.path)
}

test('paths name segment, first element, element, component, or elements that are read as one', () => {
  expect(at('CLP-1')).toBe('A1')
  expect(at('NM1-9')).toBe('M1')
  expect(at('NM1[QC]-9')).toBe('M2')
  expect(at('NM1[74]-9')).toBeUndefined()
  expect(at('SVC-1.2')).toBe('99213')
  expect(at('SVC-1')).toBe('HC:99213:25')
  expect(at('SVC-1.9')).toBeUndefined()
  expect(at('CLP-40')).toBeUndefined()
  expect(at('GS-4-5')).toBe('202603022015')
  expect(at('ISA-16')).toBe(':')
  expect(at('ISA-11')).toBe('^')
  expect([...message().all({ segment: 'SVC', element: 1, component: 2 })]).toEqual(['99213', '99214'])
})

test('an ISA11 that is a letter separates nothing', () => {
  expect(at('NM1[QC]-9', message(isa('U') + body))).toBe('M2^M3')
})

test('names are UTF-8 where that is valid, else windows-1252', () => {
  const text = `${isa()}\nNM1*QC*1*MÜLLER~`
  expect(at('NM1[QC]-3', readX12(Buffer.from(text)))).toBe('MÜLLER')
  expect(at('NM1[QC]-3', readX12(Buffer.from(text, 'latin1')))).toBe('MÜLLER')
})

test('what is no path is refused in words', () => {
  for (const text of [
    'CLP',
    'CLP02',
    'CLP-0',
    'CLP-100',
    'clp-1',
    'NM1[QCQC]-1',
    'NM1[]-1',
    'GS-5-4',
    'GS-4-5.1',
    'PID-3.4.1',
    '',
  ])
    expect(parseX12Path(text)).toMatchObject({ valid: false })
  expect(parseX12Segment('NM1[QC]')).toEqual({ valid: true, path: { segment: 'NM1', qualifier: 'QC' } })
  expect(parseX12Segment('NM1-3').valid).toBe(false)
  expect(parseX12Part('1.2')).toEqual({ valid: true, path: { element: 1, component: 2 } })
  expect(parseX12Part('x').valid).toBe(false)
})

test('a message of several claims is not opened: which one would be meant?', () => {
  expect(() => message(`${isa()}${body}\nCLP*A2*1~`)).toThrow(/several claims/)
  expect(() => message('')).toThrow(/no segment/)
})

test('one element is changed, and nothing else', () => {
  const changed = setX12(Buffer.from(isa() + body), 'NM1[QC]-9', 'X')
  expect(at('NM1[QC]-9', readX12(changed))).toBe('X')
  expect(at('NM1[IL]-9', readX12(changed))).toBe('M1')
  expect(at('SVC-1.3', readX12(setX12(changed, 'SVC-1.3', '26')))).toBe('26')
  expect(at('CLP-9', readX12(setX12(changed, 'CLP-9', 'new')))).toBe('new')
  expect(at('ISA-15', readX12(setX12(changed, 'ISA-15', 'T')))).toBe('T')
  for (const [path, value] of [
    ['CLP-1', 'a*b'],
    ['CLP-1', 'a~b'],
    ['ISA-15', 'TT'],
    ['REF-1', 'x'],
    ['GS-4-5', 'x'],
    ['CLP', 'x'],
  ] as const)
    expect(() => setX12(changed, path, value)).toThrow()
})
