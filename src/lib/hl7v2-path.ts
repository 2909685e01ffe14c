/** Beyond this a path names nothing that a sender could have meant. */
const pathNumberMax = 999

/** Where a value stands: `PID-3.4.1`, `PID-3[2].1`, `OBX[2]-5`. All numbers count from 1. */
export interface Hl7Path {
  readonly segment: string
  readonly occurrence?: number
  readonly field: number
  readonly repetition?: number
  readonly component?: number
  readonly subcomponent?: number
}

/** Where a value stands inside one repetition: `4.1`. */
export interface RelativePath {
  readonly component: number
  readonly subcomponent?: number
}

type PathReading<Path> =
  { readonly valid: true; readonly path: Path } | { readonly valid: false; readonly because: string }

/**
 * Reads a path such as `PID-3.4.1`, `PID-3[2].1` or `OBX[2]-5`.
 *
 * @example parsePath('PV1-19.1')  // { valid: true, path: { segment: 'PV1', field: 19, component: 1 } }
 */
export function parsePath(text: string): PathReading<Hl7Path> {
  const found =
    /^([A-Z][A-Z0-9]{2})(?:\[([0-9]{1,4})\])?-([0-9]{1,4})(?:\[([0-9]{1,4})\])?(?:\.([0-9]{1,4})(?:\.([0-9]{1,4}))?)?$/.exec(
      text,
    )
  if (found === null)
    return {
      valid: false,
      because: `${JSON.stringify(text.slice(0, 60))} is not a path; write SEG-field.component.subcomponent, such as PID-3.4.1`,
    }
  const [, segment, occurrence, field, repetition, component, subcomponent] = found
  for (const number of [occurrence, field, repetition, component, subcomponent])
    if (number !== undefined && (Number(number) < 1 || Number(number) > pathNumberMax))
      return { valid: false, because: `numbers in a path count from 1 to ${pathNumberMax}` }
  if (component !== undefined && segment === 'MSH' && Number(field) <= 2)
    return { valid: false, because: 'MSH-1 and MSH-2 are the separators themselves and have no components' }
  return {
    valid: true,
    path: {
      segment: segment!,
      ...(occurrence !== undefined && { occurrence: Number(occurrence) }),
      field: Number(field),
      ...(repetition !== undefined && { repetition: Number(repetition) }),
      ...(component !== undefined && { component: Number(component) }),
      ...(subcomponent !== undefined && { subcomponent: Number(subcomponent) }),
    },
  }
}

/** Reads a path inside a repetition: `4` or `4.1`. */
export function parseRelativePath(text: string): PathReading<RelativePath> {
  const found = /^([0-9]{1,3})(?:\.([0-9]{1,3}))?$/.exec(text)
  if (found === null || Number(found[1]) < 1 || (found[2] !== undefined && Number(found[2]) < 1))
    return {
      valid: false,
      because: `${JSON.stringify(text.slice(0, 60))} is not a path inside a repetition; write component.subcomponent, such as 4.1`,
    }
  return {
    valid: true,
    path: { component: Number(found[1]), ...(found[2] !== undefined && { subcomponent: Number(found[2]) }) },
  }
}

/** Paths written in code and in checked plans are few; reading each once is enough. */
const knownPathsMax = 1_000
const knownPaths = new Map<string, Hl7Path>()
const knownRelativePaths = new Map<string, RelativePath>()

/** @throws TypeError where the text is no path: a mistake of the code that asks */
export function pathOf(path: string | Hl7Path): Hl7Path {
  return typeof path === 'string' ? known(path, knownPaths, parsePath) : path
}

/** @throws TypeError as {@link pathOf} */
export function relativePathOf(path: string | RelativePath): RelativePath {
  return typeof path === 'string' ? known(path, knownRelativePaths, parseRelativePath) : path
}

function known<Path>(
  text: string,
  paths: Map<string, Path>,
  read: (text: string) => PathReading<Path>,
): Path {
  const found = paths.get(text)
  if (found !== undefined) return found
  const reading = read(text)
  if (!reading.valid) throw new TypeError(reading.because)
  if (paths.size < knownPathsMax) paths.set(text, reading.path)
  return reading.path
}
