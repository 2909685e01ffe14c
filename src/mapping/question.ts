import type { Condition, MappingRow, Test, ValuePath } from '../domain/channel.ts'
import { inWords } from './condition.ts'

/** A condition as a sentence, from the condition that is asked: `MSH-9.2 is one of A03, A13`. */
export function question(condition: Condition): string {
  if ('holds' in condition) return condition.holds.text
  if ('all' in condition) return joined(condition.all, ' and ')
  if ('any' in condition) return joined(condition.any, ' or ')
  if ('of' in condition)
    return `${condition.of === 'some' ? 'some' : 'no'} ${condition.path.text} ${words(condition.test)}`
  return `${places(condition.paths)} ${words(condition.test)}`
}

/** Where a row takes its value from, as a sentence. */
export function sourceOf(row: MappingRow): string {
  if (row.type === 'constant') return `always ${String(row.value)}`
  if (row.type === 'each')
    return `each ${row.path.text}${row.keep === undefined ? '' : ` where ${question(row.keep)}`}`
  const table = row.table === undefined ? '' : `, table ${row.table.name}`
  const reading = row.as === 'text' ? '' : ` as ${row.as}`
  return `${places(row.paths)}${reading}${table}`
}

function joined(conditions: readonly Condition[], word: string): string {
  if (conditions.length === 1) return question(conditions[0]!)
  return conditions
    .map((one) => ('all' in one || 'any' in one ? `(${question(one)})` : question(one)))
    .join(word)
}

function places(paths: readonly ValuePath[]): string {
  return paths.length === 1
    ? paths[0]!.text
    : `the first of ${paths.map(({ text }) => text).join(', ')} that is there`
}

function words(test: Test): string {
  switch (test.type) {
    case 'in':
      return test.values.size === 1
        ? `is ${[...test.values].join()}`
        : `is one of ${[...test.values].join(', ')}`
    case 'not-in':
      return test.values.size === 1
        ? `is not ${[...test.values].join()}`
        : `is none of ${[...test.values].join(', ')}`
    case 'present':
      return test.present ? 'is there' : 'is not there'
    case 'matches':
      return `has the form ${test.pattern.source}`
    case 'newer-than':
      return `is less than ${inWords(test.ageMsMax)} ago`
    case 'same-as':
      return `is the same as ${test.path.text}`
    case 'differs-from':
      return `differs from ${test.path.text}`
  }
}
