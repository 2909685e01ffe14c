import type { Condition, Test, ValuePath } from '../domain/channel.ts'
import { holds, timeFrom, valueAt, valuesAt } from './input.ts'
import type { Input, Quarantined } from './input.ts'
import { quotable } from './quotable.ts'

/** A value longer than this never meets a pattern: matching time stays bounded. */
const patternInputLengthMax = 200

/** Whether a condition holds, or why nobody can say. @throws Error where a FHIRPath expression fails */
export function ask(condition: Condition, input: Input, at: Date): boolean | Quarantined {
  if ('holds' in condition) return holds(input, condition.holds)
  if ('all' in condition) {
    for (const each of condition.all) {
      const answer = ask(each, input, at)
      if (answer !== true) return answer
    }
    return true
  }
  if ('any' in condition) {
    for (const each of condition.any) {
      const answer = ask(each, input, at)
      if (answer !== false) return answer
    }
    return false
  }
  if ('of' in condition) {
    const { path, test } = condition
    let answered = false
    for (const value of valuesAt(input, path)) {
      const answer = askOf({ path, value }, [path], test, input, at)
      if (typeof answer !== 'boolean') return answer
      answered ||= answer
    }
    return answered === (condition.of === 'some')
  }
  const { paths, test } = condition
  return askOf(firstOf(paths, input), paths, test, input, at)
}

function askOf(
  found: { readonly path: ValuePath; readonly value: string } | undefined,
  paths: readonly ValuePath[],
  test: Test,
  input: Input,
  at: Date,
): boolean | Quarantined {
  switch (test.type) {
    case 'in':
      return found !== undefined && test.values.has(found.value)
    case 'not-in':
      return found === undefined || !test.values.has(found.value)
    case 'present':
      return (found !== undefined) === test.present
    case 'matches':
      return (
        found !== undefined && found.value.length <= patternInputLengthMax && test.pattern.test(found.value)
      )
    case 'newer-than': {
      if (found === undefined)
        return {
          code: 'age-unknown',
          because: `${textOf(paths)} gives no time: its age cannot be judged`,
          where: textOf(paths),
        }
      const time = timeFrom(input, found.value)
      if (!time.valid)
        return {
          code: 'datetime-unreadable',
          because: `${found.path.text} is not a time: ${time.because}`,
          where: found.path.text,
        }
      return at.getTime() - time.at.getTime() <= test.ageMsMax
    }
    case 'same-as':
      return found?.value === valueAt(input, test.path)
    case 'differs-from': {
      const other = valueAt(input, test.path)
      return found !== undefined && other !== undefined && found.value !== other
    }
  }
}

/** The first of several paths that gives a value. */
export function firstOf(
  paths: readonly ValuePath[],
  input: Input,
): { readonly path: ValuePath; readonly value: string } | undefined {
  for (const path of paths) {
    const value = valueAt(input, path)
    if (value !== undefined) return { path, value }
  }
  return undefined
}

/** Why a condition that does not hold does not, in words without PHI: `MSH-9.2 is A08, not one of A03, A13`. */
export function explain(condition: Condition, input: Input): string {
  if ('holds' in condition) return `“${condition.holds.text}” does not hold`
  if ('all' in condition)
    return condition.all.length === 1 ? explain(condition.all[0]!, input) : 'not all of its conditions hold'
  if ('any' in condition)
    return condition.any.length === 1 ? explain(condition.any[0]!, input) : 'none of its conditions holds'
  if ('of' in condition) {
    const { path, test } = condition
    const wanted = test.type === 'in' ? ` is ${[...test.values].join(', ')}` : ' is as wanted'
    return condition.of === 'some' ? `no ${path.text}${wanted}` : `some ${path.text}${wanted}`
  }
  const { paths, test } = condition
  const found = firstOf(paths, input)
  const name = (found?.path ?? paths[0]!).text
  const shown = found && quotable(found.path, found.value)
  switch (test.type) {
    case 'in': {
      const wanted = [...test.values]
      const list = wanted.length === 1 ? wanted[0]! : `one of ${wanted.join(', ')}`
      if (found === undefined) return `${name} is empty, not ${list}`
      return shown === undefined ? `${name} is not ${list}` : `${name} is ${shown}, not ${list}`
    }
    case 'not-in':
      return shown === undefined
        ? `${name} has a value that is excluded`
        : `${name} is ${shown}, which is excluded`
    case 'present':
      return test.present ? `${textOf(paths)} is empty` : `${name} is not empty`
    case 'matches':
      return found === undefined ? `${name} is empty` : `${name} does not have the expected form`
    case 'same-as':
      return `${name} is not the same as ${test.path.text}`
    case 'differs-from':
      return `${name} does not differ from ${test.path.text}`
    case 'newer-than':
      return `${name} is more than ${inWords(test.ageMsMax)} old`
  }
}

function textOf(paths: readonly ValuePath[]): string {
  return paths.map((path) => path.text).join(' and ')
}

/** 3 days, 10 minutes: a span in the largest unit that fits. */
export function inWords(ms: number): string {
  for (const [unit, length] of [
    ['day', 86_400_000],
    ['hour', 3_600_000],
    ['minute', 60_000],
    ['second', 1_000],
  ] as const)
    if (ms >= length && ms % length === 0) return `${ms / length} ${unit}${ms === length ? '' : 's'}`
  return `${ms} ms`
}
