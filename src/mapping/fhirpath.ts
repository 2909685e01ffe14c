import { evalFhirPath, FunctionAtom, parseFhirPath, SymbolAtom } from '@medplum/core'
import type { FhirPathAtom } from '@medplum/core'

/**
 * The functions an analyst may use: each gives the specified result in the engine we use (test/mapping/fhirpath.test.ts
 * shows it). Others return nothing without a word (trim, split, descendants, encode), run regular expressions of the
 * analyst’s (matches, replaceMatches) or depend on the moment (now, today).
 */
export const fhirpathFunctions = [
  'all',
  'combine',
  'contains',
  'count',
  'distinct',
  'empty',
  'endsWith',
  'exclude',
  'exists',
  'extension',
  'first',
  'hasValue',
  'iif',
  'indexOf',
  'intersect',
  'isDistinct',
  'join',
  'last',
  'length',
  'lower',
  'not',
  'ofType',
  'select',
  'skip',
  'startsWith',
  'subsetOf',
  'substring',
  'tail',
  'take',
  'toString',
  'union',
  'upper',
  'where',
] as const

const allowed: ReadonlySet<string> = new Set(fhirpathFunctions)

/** Longer expressions are programs; nesting, and with it the depth of the parser, is bounded by this. */
const fhirpathLengthMax = 500

export type FhirpathReading =
  | { readonly valid: true }
  | { readonly valid: false; readonly because: string; readonly unknownFunction?: string }

/** Parses an expression and looks at every function and variable in it. */
export function checkFhirpath(expression: string): FhirpathReading {
  if (expression.length > fhirpathLengthMax)
    return { valid: false, because: `the expression is longer than ${fhirpathLengthMax} characters` }
  let atom: FhirPathAtom
  try {
    atom = parseFhirPath(expression)
  } catch {
    return { valid: false, because: 'the FHIRPath expression cannot be read' }
  }
  const seen = new Set<unknown>()
  const open: unknown[] = [atom]
  while (open.length > 0) {
    const part = open.pop()
    if (typeof part !== 'object' || part === null || seen.has(part)) continue
    seen.add(part)
    if (part instanceof FunctionAtom && !allowed.has(part.name))
      return {
        valid: false,
        because: `the FHIRPath function ${part.name}() is not allowed`,
        unknownFunction: part.name,
      }
    if (part instanceof SymbolAtom && part.name.startsWith('%'))
      return { valid: false, because: `the FHIRPath variable ${part.name} is not allowed` }
    open.push(...Object.values(part))
  }
  return { valid: true }
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
