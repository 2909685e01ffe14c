import { describe, expect, test } from '@jest/globals'
import { askFhirpath, checkFhirpath, fhirpathFunctions } from '../../src/mapping/fhirpath.ts'

const patient = {
  resourceType: 'Patient',
  id: 'p1',
  active: true,
  extension: [{ url: 'http://x', valueString: 'ext' }],
  name: [
    { use: 'official', family: 'Ross', given: ['Ellen', 'Q'] },
    { use: 'maiden', family: 'Hale', given: ['Ellen'] },
  ],
}
const given = ['Ellen', 'Q', 'Ellen']

/** An expression for each allowed function, and what the FHIRPath specification says it gives. */
const specified: Readonly<
  Record<(typeof fhirpathFunctions)[number], readonly [expression: string, result: readonly unknown[]]>
> = {
  all: ['Patient.name.all(family.exists())', [true]],
  combine: ['Patient.name[0].given.combine(Patient.name[1].given)', given],
  contains: ["Patient.name[0].family.contains('os')", [true]],
  count: ['Patient.name.count()', [2]],
  distinct: ['Patient.name.given.distinct()', ['Ellen', 'Q']],
  empty: ['Patient.photo.empty()', [true]],
  endsWith: ["Patient.name[0].family.endsWith('ss')", [true]],
  exclude: ["Patient.name.given.exclude('Q')", ['Ellen', 'Ellen']],
  exists: ["Patient.name.exists(use = 'maiden')", [true]],
  extension: ["Patient.extension('http://x').value", ['ext']],
  first: ['Patient.name.given.first()', ['Ellen']],
  hasValue: ['Patient.active.hasValue()', [true]],
  iif: ["iif(Patient.active, 'yes', 'no')", ['yes']],
  indexOf: ["Patient.name[0].family.indexOf('s')", [2]],
  intersect: ['Patient.name[0].given.intersect(Patient.name[1].given)', ['Ellen']],
  isDistinct: ['Patient.name.given.isDistinct()', [false]],
  join: ["Patient.name[0].given.join(' ')", ['Ellen Q']],
  last: ['Patient.name.given.last()', ['Ellen']],
  length: ['Patient.name[0].family.length()', [4]],
  lower: ['Patient.name[0].family.lower()', ['ross']],
  not: ['Patient.active.not()', [false]],
  ofType: ['Patient.ofType(Patient).id', ['p1']],
  select: ['Patient.name.select(family)', ['Ross', 'Hale']],
  skip: ['Patient.name.given.skip(2)', ['Ellen']],
  startsWith: ["Patient.name[0].family.startsWith('Ro')", [true]],
  subsetOf: ['Patient.name[1].given.subsetOf(Patient.name[0].given)', [true]],
  substring: ['Patient.name[0].family.substring(1, 2)', ['os']],
  tail: ['Patient.name.given.tail()', ['Q', 'Ellen']],
  take: ['Patient.name.given.take(2)', ['Ellen', 'Q']],
  toString: ['Patient.active.toString()', ['true']],
  union: ['Patient.name[0].given.union(Patient.name[1].given)', ['Ellen', 'Q']],
  upper: ['Patient.name[0].family.upper()', ['ROSS']],
  where: ["Patient.name.where(use = 'maiden').family", ['Hale']],
}

describe('each allowed function gives what the specification says', () => {
  test.each(fhirpathFunctions.map((name) => [name]))('%s', (name) => {
    const [expression, result] = specified[name]
    expect(checkFhirpath(expression)).toEqual({ valid: true })
    expect(askFhirpath(expression, patient)).toEqual(result)
  })
})

describe('refused, with the reason', () => {
  test.each([
    [
      'a function that silently returns nothing',
      'Patient.name.family.trim()',
      'the FHIRPath function trim() is not allowed',
    ],
    [
      'a regular expression of the analyst’s',
      "Patient.id.matches('(a+)+$')",
      'the FHIRPath function matches() is not allowed',
    ],
    ['the clock', 'now()', 'the FHIRPath function now() is not allowed'],
    [
      'a function deep inside',
      "Patient.name.where(given.exists(split(',')))",
      'the FHIRPath function split() is not allowed',
    ],
    ['a function nobody has', 'Patient.frobnicate()', 'the FHIRPath function frobnicate() is not allowed'],
    ['a variable', '%context.id', 'the FHIRPath variable %context is not allowed'],
    ['half an expression', 'Patient.name = ', 'the FHIRPath expression cannot be read'],
    ['nothing', '', 'the FHIRPath expression cannot be read'],
    ['a program', `Patient.id = '${'x'.repeat(500)}'`, 'the expression is longer than 500 characters'],
  ])('%s', (_, expression, because) => {
    expect(checkFhirpath(expression)).toMatchObject({ valid: false, because })
  })

  test('five hundred brackets do not exhaust the stack', () => {
    expect(typeof checkFhirpath(`${'('.repeat(249)}1${')'.repeat(249)}`).valid).toBe('boolean')
  })
})

describe('what the engine would drop or misread without a word is refused', () => {
  test.each([
    ["Encounter.status = 'finished' Encounter.class.exists()", 'the FHIRPath expression cannot be read'],
    ["Encounter.status = 'finished' garbage", 'the FHIRPath expression cannot be read'],
    ['Encounter.period.end)', 'the FHIRPath expression has a ) that nothing opens'],
    ['(Encounter.period.end', 'the FHIRPath expression lacks ) at its end'],
    ['Encounter.where(a = 1', 'the FHIRPath expression lacks ) at its end'],
    ["Encounter.status = 'finished", "the FHIRPath expression opens ' and never closes it"],
    [
      'Encounter.status // really',
      'the FHIRPath expression has a comment; write it behind #, as in all of the file',
    ],
    ['Encounter.where(a = 1 b = 2)', 'the FHIRPath function where() takes 1 arguments, not 2'],
    ['Encounter.status.substring()', 'the FHIRPath function substring() takes 1 or 2 arguments, not 0'],
    ['Encouter.status', 'FHIR has no resource Encouter'],
    ["Encounter.status = 'a' and encounter.x = Encountr.y", 'FHIR has no resource Encountr'],
    ['Encounter.period.end, 3', 'the FHIRPath expression cannot be read'],
  ])('%s', (expression, because) => {
    expect(checkFhirpath(expression)).toMatchObject({ valid: false, because })
  })

  test.each([
    "Encounter.identifier.where(system = 'http://x.example/Y.z').value",
    "Encounter.class.code in ('AMB' | 'it\\'s (')",
    'Encounter.participant[0].individual.reference',
    "(Encounter.status = 'finished') and (Encounter.period.end.exists())",
    'period.end',
    '$this.value',
    'Observation.value.ofType(Quantity).value > 3',
    '{}',
  ])('and this is not: %s', (expression) => {
    expect(checkFhirpath(expression)).toEqual({ valid: true })
  })
})
