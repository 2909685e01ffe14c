import { evalFhirPath, FunctionAtom, parseFhirPath, SymbolAtom } from '@medplum/core'
import type { FhirPathAtom } from '@medplum/core'
import { resourceTypes } from './resource-types.ts'

/**
 * The functions an analyst may use, with the numbers of arguments each takes: each gives the specified result in the engine
 * we use (test/mapping/fhirpath.test.ts shows it). Others return nothing without a word (trim, split, descendants, encode),
 * run regular expressions of the analyst’s (matches, replaceMatches) or depend on the moment (now, today).
 */
const functions = {
  all: [1, 1],
  combine: [1, 1],
  contains: [1, 1],
  count: [0, 0],
  distinct: [0, 0],
  empty: [0, 0],
  endsWith: [1, 1],
  exclude: [1, 1],
  exists: [0, 1],
  extension: [1, 1],
  first: [0, 0],
  hasValue: [0, 0],
  iif: [2, 3],
  indexOf: [1, 1],
  intersect: [1, 1],
  isDistinct: [0, 0],
  join: [0, 1],
  last: [0, 0],
  length: [0, 0],
  lower: [0, 0],
  not: [0, 0],
  ofType: [1, 1],
  select: [1, 1],
  skip: [1, 1],
  startsWith: [1, 1],
  subsetOf: [1, 1],
  substring: [1, 2],
  tail: [0, 0],
  take: [1, 1],
  toString: [0, 0],
  union: [1, 1],
  upper: [0, 0],
  where: [1, 1],
} as const satisfies Readonly<Record<string, readonly [least: number, most: number]>>

export const fhirpathFunctions = Object.keys(functions) as (keyof typeof functions)[]

/** Longer expressions are programs; nesting, and with it the depth of the parser, is bounded by this. */
const fhirpathLengthMax = 500

export type FhirpathReading =
  | { readonly valid: true }
  | {
      readonly valid: false
      readonly because: string
      readonly unknownFunction?: string
      readonly unknownType?: string
    }

/** Parses an expression, to its end, and looks at every function, variable and type in it. */
export function checkFhirpath(expression: string): FhirpathReading {
  if (expression.length > fhirpathLengthMax)
    return { valid: false, because: `the expression is longer than ${fhirpathLengthMax} characters` }
  const { outside, because } = withoutTexts(expression)
  if (because !== undefined) return { valid: false, because }
  let atom: FhirPathAtom
  try {
    // The engine stops where an expression could end, and drops the rest without a word: in brackets it cannot.
    atom = parseFhirPath(`(${expression})`)
  } catch {
    return { valid: false, because: 'the FHIRPath expression cannot be read' }
  }
  for (const [type] of outside.matchAll(/(?<![\w.%$`])[A-Z][A-Za-z]*(?=\s*\.)/g))
    if (!resourceTypes.includes(type))
      return { valid: false, because: `FHIR has no resource ${type}`, unknownType: type }
  const seen = new Set<unknown>()
  const open: unknown[] = [atom]
  while (open.length > 0) {
    const part = open.pop()
    if (typeof part !== 'object' || part === null || seen.has(part)) continue
    seen.add(part)
    if (part instanceof FunctionAtom) {
      const takes = Object.hasOwn(functions, part.name)
        ? functions[part.name as keyof typeof functions]
        : undefined
      if (takes === undefined)
        return {
          valid: false,
          because: `the FHIRPath function ${part.name}() is not allowed`,
          unknownFunction: part.name,
        }
      const given = part.args.length
      if (given < takes[0] || given > takes[1])
        return {
          valid: false,
          because: `the FHIRPath function ${part.name}() takes ${takes[0] === takes[1] ? takes[0] : takes.join(' or ')} arguments, not ${given}`,
        }
    }
    if (part instanceof SymbolAtom && part.name.startsWith('%'))
      return { valid: false, because: `the FHIRPath variable ${part.name} is not allowed` }
    open.push(...Object.values(part))
  }
  return { valid: true }
}

const closing: Readonly<Record<string, string>> = { '(': ')', '[': ']', '{': '}' }

/** The expression with its texts blanked, and why it cannot be one: the engine takes brackets and quotes as they come. */
function withoutTexts(expression: string): { readonly outside: string; readonly because?: string } {
  const open: string[] = []
  let outside = ''
  for (let at = 0; at < expression.length; at++) {
    const character = expression[at]!
    if (character === "'" || character === '"' || character === '`') {
      const end = endOfText(expression, at)
      if (end === -1)
        return { outside, because: `the FHIRPath expression opens ${character} and never closes it` }
      outside += `${character}${' '.repeat(end - at - 1)}${character}`
      at = end
      continue
    }
    if (/\/[/*]/.test(expression.slice(at, at + 2)))
      return {
        outside,
        because: 'the FHIRPath expression has a comment; write it behind #, as in all of the file',
      }
    if (closing[character] !== undefined) open.push(closing[character])
    else if (')]}'.includes(character) && open.pop() !== character)
      return { outside, because: `the FHIRPath expression has a ${character} that nothing opens` }
    outside += character
  }
  return open.length === 0
    ? { outside }
    : { outside, because: `the FHIRPath expression lacks ${open.toReversed().join('')} at its end` }
}

function endOfText(expression: string, start: number): number {
  for (let at = start + 1; at < expression.length; at++) {
    if (expression[at] === '\\') at++
    else if (expression[at] === expression[start]) return at
  }
  return -1
}

const compiledMax = 2_000
const compiled = new Map<string, FhirPathAtom>()

/** Evaluates a checked expression. @throws Error where the engine does, for instance on text where it needs a number */
export function askFhirpath(expression: string, resource: unknown): unknown[] {
  let atom = compiled.get(expression)
  if (atom === undefined) {
    atom = parseFhirPath(expression)
    if (compiled.size >= compiledMax) compiled.clear()
    compiled.set(expression, atom)
  }
  return evalFhirPath(atom, resource)
}
