/** Longer patterns are programs. */
const patternLengthMax = 200

/** Quantifiers that may match more or less: with so few, and values cut at 200 characters, matching stays short. */
const openQuantifiersMax = 3

const alternativeGroupsMax = 2

/**
 * Of these, the ones that run on and on. Without ^ each is tried from every place of the value, which is one more: three
 * take half a second on 200 letters, two a few milliseconds.
 */
const loopsMax = 2

export type PatternReading =
  | { readonly valid: true; readonly pattern: RegExp }
  | { readonly valid: false; readonly because: string; readonly remedy: string }

/**
 * Compiles the regular expression of a `matches:`; refuses what could run for ever on some value: back references,
 * look-around, a repeated group, many open quantifiers.
 */
export function readPattern(text: string): PatternReading {
  if (text.length > patternLengthMax)
    return refused(
      `the pattern is longer than ${patternLengthMax} characters`,
      'use `in:` with the values, or a table',
    )
  let pattern: RegExp
  try {
    pattern = new RegExp(text, 'u')
  } catch {
    return refused('the pattern is not a regular expression', 'check brackets and backslashes')
  }
  // Escaped characters and classes cannot repeat anything: they stand for one character.
  const skeleton = text.replace(/\\[pP]\{[^}]*\}|\\u\{[^}]*\}|\\[^1-9k]/gu, 'x').replace(/\[[^\]]*\]/gu, 'x')
  if (/\\[1-9k]/u.test(skeleton)) return refused('the pattern uses a back reference', 'write the values out')
  if (/\(\?<?[=!]/u.test(skeleton))
    return refused('the pattern looks ahead or behind', 'use two conditions under all:')
  if (/\)(?:[*+?]|\{)/u.test(skeleton))
    return refused('the pattern repeats a group', 'write the repetitions out, or use `in:`')
  const open = skeleton.replace(/\(\?[:<]/gu, '(').match(/[*+?]|\{\d+,\d*\}/gu) ?? []
  if (open.length > openQuantifiersMax)
    return refused(
      `the pattern has more than ${openQuantifiersMax} open quantifiers (* + ? {n,m})`,
      'use {n} or two conditions',
    )
  const isAnchored = skeleton.startsWith('^') && !skeleton.includes('|')
  const loops = open.filter((one) => one !== '?').length
  if (loops > loopsMax && !isAnchored)
    return refused(
      `the pattern has more than ${loopsMax} loops (* + {n,m}) and may begin anywhere`,
      'begin it with ^, use {n}, or write two conditions',
    )
  // (a|a)(a|a)(a|a)… doubles the ways with every group.
  if (skeleton.includes('|') && (skeleton.match(/\(/gu) ?? []).length > alternativeGroupsMax)
    return refused(
      `the pattern has alternatives and more than ${alternativeGroupsMax} groups`,
      'use `in:` with the values, or any: with one condition each',
    )
  return { valid: true, pattern }
}

function refused(because: string, remedy: string): PatternReading {
  return { valid: false, because, remedy }
}
