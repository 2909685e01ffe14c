import { Ajv2020 } from 'ajv/dist/2020.js'
import type { ErrorObject, ValidateFunction } from 'ajv/dist/2020.js'
import { closest, didYouMean } from './problem.ts'
import type { Problem } from './problem.ts'
import { schemas } from './schema.ts'
import type { JsonSchema } from './schema.ts'
import type { Place, YamlFile } from './yaml-file.ts'

/** Whether a file has the shape of a channel or a mapping; one finding for each thing that is wrong, in words. */
export function lintShape(
  yaml: YamlFile,
  kind: 'channel' | 'mapping',
  value: unknown = yaml.value,
): Problem[] {
  const validate = kind === 'channel' ? channelValidator() : mappingValidator()
  if (validate(value)) return []
  const problems: Problem[] = []
  for (const error of validate.errors ?? []) {
    const problem = problemOf(yaml, error)
    if (problem !== undefined) problems.push(problem)
  }
  return problems
}

let ajv: Ajv2020 | undefined
const validators = new Map<JsonSchema, ValidateFunction>()

function validatorOf(schema: JsonSchema): ValidateFunction {
  let validate = validators.get(schema)
  if (validate === undefined) {
    ajv ??= new Ajv2020({
      allErrors: true,
      verbose: true,
      discriminator: true,
      allowUnionTypes: true,
      strictTypes: false,
    })
    validate = ajv.compile(schema)
    validators.set(schema, validate)
  }
  return validate
}

const channelValidator = (): ValidateFunction => validatorOf(schemas().channel)
const mappingValidator = (): ValidateFunction => validatorOf(schemas().mapping)

interface Described {
  readonly description?: string
  readonly properties?: Record<string, unknown>
  readonly enum?: readonly unknown[]
}

function problemOf(yaml: YamlFile, error: ErrorObject): Problem | undefined {
  const place = placeOf(error.instancePath)
  const label = place.length === 0 ? 'the file' : `"${String(place.at(-1))}"`
  const schema = (error.parentSchema ?? {}) as Described
  const params = error.params as Record<string, unknown>
  switch (error.keyword) {
    case 'additionalProperties': {
      const key = String(params['additionalProperty'])
      const known = Object.keys(schema.properties ?? {})
      const there = Object.keys((error.data ?? {}) as object)
      // A name that is used already cannot have been meant.
      const free = known.filter((each) => !there.includes(each))
      const near = closest(key, free)
      return yaml.problem(
        [...place, key],
        'unknown-key',
        `the key "${key}" is not known here`,
        near === undefined ? `possible here: ${known.join(', ')}` : `did you mean "${near}"?`,
        'key',
      )
    }
    case 'required': {
      const key = String(params['missingProperty'])
      const missing = (schema.properties?.[key] ?? {}) as Described
      return yaml.problem(
        place,
        'missing-key',
        place.length === 0 ? `the key "${key}" is missing` : `the key "${key}" is missing in ${label}`,
        missing.description === undefined ? undefined : `add ${key}: ${missing.description}`,
        'key',
      )
    }
    case 'discriminator': {
      const options = ((schema.properties?.['type'] ?? {}) as Described).enum ?? []
      return params['error'] === 'mapping' && options.includes(params['tagValue'])
        ? undefined
        : enumProblem(yaml, [...place, 'type'], params['tagValue'], options)
    }
    case 'enum':
      // The tag of a source is told by the discriminator already.
      return place.join('/') === 'source/type'
        ? undefined
        : enumProblem(yaml, place, error.data, schema.enum ?? [])
    case 'const':
      return yaml.problem(
        place,
        'wrong-value',
        `${label} must be ${String(params['allowedValue'])}`,
        schema.description === undefined ? undefined : `it says: ${schema.description}`,
      )
    case 'oneOf':
      return undefined
    default:
      return yaml.problem(
        place,
        error.keyword === 'pattern' && schema.description?.startsWith('a number with a unit') === true
          ? 'duration'
          : 'wrong-value',
        `${label} is not what belongs here`,
        schema.description === undefined ? error.message : `write ${schema.description}`,
      )
  }
}

function enumProblem(yaml: YamlFile, place: Place, value: unknown, options: readonly unknown[]): Problem {
  const names = options.map(String)
  return yaml.problem(
    place,
    'wrong-value',
    `"${String(place.at(-1))}" is not one of those possible`,
    `possible: ${names.join(', ')}${typeof value === 'string' ? didYouMean(value, names) : ''}`,
  )
}

/** A JSON pointer as keys and indexes. */
function placeOf(pointer: string): Place {
  return pointer
    .split('/')
    .slice(1)
    .map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'))
    .map((step) => (/^(0|[1-9][0-9]*)$/.test(step) ? Number(step) : step))
}
