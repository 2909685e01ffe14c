import type { Desk } from './condition-plan.ts'
import { readScalar } from './yaml-file.ts'
import type { Place } from './yaml-file.ts'

type Environment = Readonly<Record<string, string | undefined>>

/** Tests and filters say what a channel means: they are the same in every environment. */
const neverSubstituted = new Set(['channel', 'version', 'filter', 'map', 'tests'])

/** `${NAME}` and `${NAME:-default}` from the environment; undefined, with findings, where a variable is missing. */
export function substituted(
  desk: Desk,
  environment: Environment,
): Readonly<Record<string, unknown>> | undefined {
  const before = desk.problems.length
  const walk = (value: unknown, place: Place): unknown => {
    if (typeof value === 'string') return substitutedText(desk, value, place, environment)
    if (Array.isArray(value)) return value.map((each, index) => walk(each, [...place, index]))
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(
      Object.entries(value).map(([key, each]) => [
        key,
        place.length === 0 && neverSubstituted.has(key) ? each : walk(each, [...place, key]),
      ]),
    )
  }
  const result = walk(desk.yaml.value, []) as Readonly<Record<string, unknown>>
  return desk.problems.length > before ? undefined : result
}

function substitutedText(
  desk: Desk,
  text: string,
  place: Place,
  environment: Environment,
): string | number | boolean {
  if (!text.includes('${')) return text
  const result = text.replace(/\$\{([^}]*)\}/g, (whole, inside: string) => {
    const found = /^([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?$/s.exec(inside)
    if (found === null) {
      desk.problems.push(
        desk.yaml.problem(
          place,
          'variable-missing',
          `${whole} is not a variable`,
          'write ${NAME} or ${NAME:-default}',
        ),
      )
      return ''
    }
    // As in a shell, :- stands in for an empty variable, too.
    const [, name, fallback] = found
    const value = environment[name!]
    const given = fallback === undefined ? value : value === undefined || value === '' ? fallback : value
    if (given !== undefined) return given
    desk.problems.push(
      desk.yaml.problem(
        place,
        'variable-missing',
        `the environment variable ${name} is not set`,
        `set it, or write a default: "\${${name}:-value}"`,
      ),
    )
    return ''
  })
  return readScalar(result)
}
