import { Ajv2020 } from 'ajv/dist/2020.js'
import type { ErrorObject, ValidateFunction } from 'ajv/dist/2020.js'
import { channelSchema } from './channel-schema.ts'
import { mappingSchema } from './mapping-schema.ts'
import { didYouMean, nearest, problemsPerFileMax } from './problem.ts'
import type { Problem } from './problem.ts'
import type { JsonSchema } from './schema-parts.ts'
import type { Place, YamlFile } from './yaml-file.ts'

/** Whether a file has the shape of a channel or a mapping; one finding for each thing that is wrong, in words. */
export function lintShape(
  yaml: YamlFile,
  kind: 'channel' | 'mapping',
  value: unknown = yaml.value,
): Problem[] {
  const validate = validatorOf(kind === 'channel' ? channelSchema : mappingSchema)
  if (validate(value)) return []
  const problems: Problem[] = []
  // Nobody reads more, and some files are made to have a hundred thousand.
  const errors = (validate.errors ?? []).slice(0, problemsPerFileMax + 1)
  const misspelled = new Set(errors.map(misspelledKey))
  for (const error of errors) {
    // A key that is there under a wrong name is not missing, too.
    if (error.keyword === 'required' && misspelled.has(`${error.instancePath}/${missingKey(error)}`)) continue
    const problem = problemOf(yaml, error)
    if (problem !== undefined) problems.push(problem)
  }
  return problems
}

/** The pointer of the key that was probably meant by an unknown one. */
function misspelledKey(error: ErrorObject): string | undefined {
  const near = error.keyword === 'additionalProperties' ? meantBy(error) : undefined
  return near && `${error.instancePath}/${near}`
}

function missingKey({ params }: ErrorObject): string {
  return String((params as Record<string, unknown>)['missingProperty'])
}

function meantBy({ params, parentSchema, data }: ErrorObject): string | undefined {
  // A name that is used already cannot have been meant.
  const free = Object.keys((parentSchema as Described).properties ?? {}).filter(
    (each) => !Object.hasOwn(data ?? {}, each),
  )
  return nearest(String((params as Record<string, unknown>)['additionalProperty']), free)
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

interface Described {
  readonly type?: unknown
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
      const near = meantBy(error)
      return yaml.problem(
        [...place, key],
        'unknown-key',
        `the key "${key}" is not known here`,
        near === undefined ? `possible here: ${known.join(', ')}` : `did you mean "${near}"?`,
        'key',
      )
    }
    case 'required': {
      const key = missingKey(error)
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
        `write ${String(place.at(-1))}: ${String(params['allowedValue'])}`,
      )
    case 'oneOf':
      return undefined
    default:
      return yaml.problem(
        place,
        schema.description?.startsWith('a number with a unit') === true ? 'duration' : 'wrong-value',
        `${label} is not what belongs here`,
        remedyFor(schema),
      )
  }
}

function remedyFor({ type, description, properties = {} }: Described): string {
  if (type === 'boolean') return 'write true or false'
  const keys = type === 'object' ? Object.keys(properties) : []
  return `write ${description ?? 'another value'}${keys.length === 0 ? '' : `, with keys: ${keys.join(', ')}`}`
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
