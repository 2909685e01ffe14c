import type { MappingPlan } from '../domain/channel.ts'

/** What a channel file may refer to. What is undefined is not known here, and not checked. */
export interface Surroundings {
  readonly mappings: readonly string[]
  readonly mapping: (name: string) => MappingPlan | 'broken' | undefined
  readonly hasSecret: ((name: string) => boolean) | undefined
  readonly fhirServers: readonly string[] | undefined
  /** The bytes of a sample, or why there are none. */
  readonly sample: (path: string) => Buffer | string
}

/** A mapping of the YAML file, of the shape that the schema asks for. */
export type Values = Readonly<Record<string, unknown>>

/** A text under its key, or nothing: for optional parts of a plan. */
export function textAt<Key extends string>(value: Values, key: Key): { readonly [K in Key]?: string } {
  return (typeof value[key] === 'string' ? { [key]: value[key] } : {}) as { [K in Key]?: string }
}
