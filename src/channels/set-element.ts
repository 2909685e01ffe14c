import type { Values } from './surroundings.ts'

/** `type.coding[0].code`: names joined by dots, places in lists counted from 0, as in FHIRPath. */
const stepPattern = /^([A-Za-z_][A-Za-z0-9_]{0,63})((?:\[\d{1,3}\])*)$/

/** No list of a sample is longer. */
const indexMax = 100

/**
 * A FHIR resource with one element set, for tests: objects and lists on the way are made. An empty text takes the element
 * away, as it does in an HL7v2 field.
 *
 * @throws TypeError where the path is none, or leads through something that holds no elements
 * @example setElement(resource, 'type.coding[0].code', 'pharmacy')
 */
export function setElement(resource: Values, path: string, value: unknown): Values {
  const steps = stepsOf(path)
  return set(resource, steps, value, path) as Values
}

function stepsOf(path: string): readonly (string | number)[] {
  return path.split('.').flatMap((part) => {
    const found = stepPattern.exec(part)
    if (found === null || ['__proto__', 'constructor', 'prototype'].includes(found[1]!))
      throw new TypeError(`"${path}" is no path to an element`)
    const indexes = [...found[2]!.matchAll(/\d+/g)].map(([digits]) => Number(digits))
    if (indexes.some((index) => index > indexMax))
      throw new TypeError(`"${path}" leads to a place beyond ${indexMax}`)
    return [found[1]!, ...indexes]
  })
}

function set(
  holder: unknown,
  [step, ...rest]: readonly (string | number)[],
  value: unknown,
  path: string,
): unknown {
  if (step === undefined) return value
  if (typeof step === 'number') {
    if (holder !== undefined && !Array.isArray(holder))
      throw new TypeError(`"${path}" leads through something that is no list`)
    const list: unknown[] = [...((holder as readonly unknown[] | undefined) ?? [])]
    while (list.length < step) list.push({})
    list[step] = set(list[step], rest, value, path)
    return value === '' && rest.length === 0 ? list.toSpliced(step, 1) : list
  }
  if (holder !== undefined && (typeof holder !== 'object' || holder === null || Array.isArray(holder)))
    throw new TypeError(
      Array.isArray(holder)
        ? `"${path}" leads through a list: write ${step} behind [0]`
        : `"${path}" leads through a plain value`,
    )
  const { [step]: before, ...others } = (holder ?? {}) as Record<string, unknown>
  if (value === '' && rest.length === 0) return others
  return { ...holder, [step]: set(before, rest, value, path) }
}
