/**
 * A channel as it runs: one source, its filters, its mapping with the lookup tables, its times; all references resolved
 * and all values checked. Made whole by channels/load.ts or not at all.
 */
export interface ChannelPlan {
  readonly name: string
  readonly title?: string
  readonly owner?: string
  /** False: nothing listens and nothing is fetched; what is stored is kept. */
  readonly enabled: boolean
  readonly source: Source
  /** IANA name; reads the times of messages that state no zone, neither themselves nor in MSH-7. */
  readonly timezone: string
  /** Messages with the same values here are decided one after the other, in the order received. */
  readonly order?: { readonly key: readonly ValuePath[] }
  readonly dedupe?: Dedupe
  readonly filter: readonly FilterRule[]
  readonly mapping: MappingPlan
  readonly hold?: Hold
  /** Channels with the same name here share visit, document and claim numbers; default: the channel’s own name. */
  readonly visits?: string
  /**
   * What a message brings along: its C-CDA is the clinical summary, or a claim stands for it (`summary`); or it goes along
   * with one (`additional`). Absent: nothing is taken out of messages.
   */
  readonly attach?: 'summary' | 'additional'
  /** ADT only: merges, moves, links and deletions of records are followed; they never meet the filter. */
  readonly identity?: 'follow'
  readonly on: { readonly mappingError: 'quarantine'; readonly lookupMiss: 'quarantine' }
  readonly alerts: readonly Alert[]
  readonly retention: Retention
  readonly tests: readonly ChannelTest[]
  /** SHA-256 over everything that decides: source, filters, mapping, tables, times; not over titles and tests. */
  readonly revision: string
}

export type Source =
  MllpSource | HttpSource | FhirSubscriptionSource | FhirPollSource | FhirExportSource | FileDropSource

/** What a source gives, and a mapping reads. */
export type InputKind = 'hl7v2' | 'fhir' | 'x12'

export function inputOf(source: Pick<Source, 'type'> & { readonly format?: unknown }): InputKind {
  if (source.type === 'mllp') return 'hl7v2'
  if (source.type !== 'file-drop' && source.type !== 'http') return 'fhir'
  return source.format === 'hl7v2' ? 'hl7v2' : source.format === 'x12-835' ? 'x12' : 'fhir'
}

/** The name of a secret in the settings; its value never enters a plan. */
export interface SecretReference {
  readonly secret: string
}

/** Acknowledged when the message is on disk, and only then. */
export interface AckPlan {
  /** Enhanced where MSH-15 or MSH-16 is valued, else original (HL7 v2.5.1 ch. 2.9). */
  readonly mode: 'auto'
  readonly after: 'stored'
  /** AE or CE: the sender may send again. */
  readonly onStoreError: 'retryable'
  /** AR or CR: the sender must not send the same bytes again. */
  readonly onInvalid: 'final'
}

export interface MllpSource {
  readonly type: 'mllp'
  readonly listen: { readonly host: string; readonly port: number }
  readonly tls?: {
    readonly cert: SecretReference
    readonly key: SecretReference
    readonly clientCa?: SecretReference
    readonly clientAuth: 'none' | 'required'
  }
  /** The character set of messages with an empty MSH-18, by its name in HL7 table 0211; else UTF-8, then windows-1252. */
  readonly encoding?: string
  readonly maxMessageBytes: number
  /** Of MLLP. In release 2 each frame is answered by a commit block, whatever the message itself asks for. */
  readonly release: 1 | 2
  readonly ack: AckPlan
}

/** Messages that are posted to `/inbound/CHANNEL`. */
export interface HttpSource {
  readonly type: 'http'
  readonly format: 'hl7v2' | 'fhir'
  readonly verify: { readonly header: string; readonly secret: SecretReference }
  /** As for MLLP. */
  readonly encoding?: string
  readonly maxMessageBytes: number
  readonly ack: AckPlan
}

export interface FhirSubscriptionSource {
  readonly type: 'fhir-subscription'
  readonly server: string
  readonly topic?: string
  /** For R4 servers without topics: the search that a plain Subscription watches. */
  readonly fallbackCriteria?: string
  readonly payload: 'empty' | 'id-only' | 'full-resource'
  readonly verify: { readonly header: string; readonly secret: SecretReference }
  readonly heartbeatMs?: number
  readonly gaps: 'replay' | 'ignore'
  readonly sweep?: { readonly everyMs: number; readonly lookbackMs: number }
}

export interface FhirPollSource {
  readonly type: 'fhir-poll'
  readonly server: string
  /** Relative to the server; `{cursor}` stands for where the last page ended. */
  readonly query: string
  readonly everyMs: number
  readonly cursor: { readonly field: string; readonly overlapMs: number }
}

/** FHIR Bulk Data: the server writes what changed into files (`$export`), which are fetched when they are ready. */
export interface FhirExportSource {
  readonly type: 'fhir-export'
  readonly server: string
  readonly level: 'system' | 'patient' | 'group'
  /** The id of the Group, with that level. */
  readonly group?: string
  /** What is asked for. Patients are no messages: they go with the resources that are about them. */
  readonly types: readonly string[]
  /** Searches that narrow a type, such as `ExplanationOfBenefit?status=active,cancelled`. */
  readonly typeFilters: readonly string[]
  /** What changed after this moment is in the first export; default: after the channel was first seen. */
  readonly since?: string
  readonly everyMs: number
  /** Origins beside the server’s own that its jobs and files may lie on. */
  readonly fileOrigins: readonly string[]
}

/** A directory in which others put files; each is moved out of it when its messages are on disk. */
export interface FileDropSource {
  readonly type: 'file-drop'
  readonly directory: string
  /** Of file names: `*` stands for any characters, `?` for one. */
  readonly pattern: string
  readonly format: 'hl7v2' | 'x12-835' | 'ndjson'
  /** Where files go that were taken, and those that could not be. */
  readonly archive: string
  readonly quarantine: string
  readonly everyMs: number
}

export interface Dedupe {
  readonly key: readonly ValuePath[]
  readonly windowMs: number
  readonly onSame: 'replay-ack' | 'drop'
  /** Same key, other bytes. */
  readonly onDifferent: 'process' | 'quarantine'
}

/** Quiet time before anything is prepared, in which a cancel still withdraws it. */
export interface Hold {
  readonly forMs: number
  /** An event that cancels withdraws what it takes back. */
  readonly cancelWhen?: 'cancels'
  /** Events of one patient within the time become one transmission. */
  readonly merge?: 'patient'
}

export interface Alert {
  readonly when: 'silent' | 'quarantined'
  readonly forMs?: number
  readonly over?: number
  readonly withinMs?: number
  /** Local time of day, `06:00-22:00`. */
  readonly between?: string
  readonly notify: string
}

export interface Retention {
  readonly contentMs: number
  readonly metadataMs: number
  readonly errorsMs: number
}

/** Where a value stands in the input: an HL7v2 path, a path inside one repetition, or a FHIRPath expression. */
export type ValuePath =
  | { readonly type: 'hl7v2'; readonly text: string; readonly path: FieldPath }
  | { readonly type: 'repetition'; readonly text: string; readonly path: PartPath }
  | { readonly type: 'fhirpath'; readonly text: string }
  | { readonly type: 'x12'; readonly text: string; readonly path: X12FieldPath }
  | { readonly type: 'x12-segment'; readonly text: string; readonly path: X12SegmentPath }
  | { readonly type: 'x12-part'; readonly text: string; readonly path: X12PartPath }

/** PID-3[2].4.1; all numbers count from 1. */
export interface FieldPath {
  readonly segment: string
  readonly occurrence?: number
  readonly field: number
  readonly repetition?: number
  readonly component?: number
  readonly subcomponent?: number
}

/** NM1[QC]: all segments of a name, or those with this first element. */
export interface X12SegmentPath {
  readonly segment: string
  readonly qualifier?: string
}

/** 1.2, inside one segment; `through`: the last of several elements that are read as one (GS-4-5). */
export interface X12PartPath {
  readonly element: number
  readonly through?: number
  readonly component?: number
}

/** NM1[QC]-9; all numbers count from 1. */
export interface X12FieldPath extends X12SegmentPath, X12PartPath {}

/** 4.1, inside one repetition. */
export interface PartPath {
  readonly component: number
  readonly subcomponent?: number
}

/** A question about the input. Of several paths, the first that gives a value answers. */
export type Condition =
  | { readonly all: readonly Condition[] }
  | { readonly any: readonly Condition[] }
  | { readonly holds: ValuePath }
  | { readonly paths: readonly ValuePath[]; readonly test: Test }
  /** Of all segments and repetitions that a path may mean: `some` – at least one, `none` – not a single one. */
  | { readonly of: 'some' | 'none'; readonly path: ValuePath; readonly test: Test }

export type Test =
  | { readonly type: 'in'; readonly values: ReadonlySet<string> }
  /** Holds where there is no value, too. */
  | { readonly type: 'not-in'; readonly values: ReadonlySet<string> }
  | { readonly type: 'present'; readonly present: boolean }
  | { readonly type: 'matches'; readonly pattern: RegExp }
  | { readonly type: 'newer-than'; readonly ageMsMax: number }
  /** Compared with another value of the same message; two that are not there are the same. */
  | { readonly type: 'same-as'; readonly path: ValuePath }
  /** Holds only where both are there and differ: what is missing says nothing about a change. */
  | { readonly type: 'differs-from'; readonly path: ValuePath }

/** One rule of the filter: a message that does not satisfy it is filtered, or waits for a person, with the reason. */
export interface FilterRule {
  /** The rule is asked only of messages that satisfy this. */
  readonly when?: Condition
  readonly condition: Condition
  /** The reason in the analyst’s words; without it, one is made from the rule. */
  readonly because?: string
  readonly otherwise: 'filtered' | 'quarantined'
  /** Where it stands: `channels/adt-discharge.yaml:25`. */
  readonly at: string
}

/** A table of rows that turns an input into one trigger event. */
export interface MappingPlan {
  readonly name: string
  readonly input: InputKind
  readonly rows: readonly MappingRow[]
  readonly tables: ReadonlyMap<string, LookupTable>
}

export interface LookupTable {
  readonly name: string
  readonly rows: ReadonlyMap<string, string>
}

/** How a value is read: as it stands, or as a date, a point in time, or the assigning authority of an identifier. */
export type Reading = 'text' | 'datetime' | 'date' | 'assigner'

/** Of several rows with the same target, the first that gives a value fills it. */
export type MappingRow = ValueRow | ConstantRow | EachRow

interface RowPart {
  readonly to: string
  readonly when?: Condition
  readonly required: boolean
  readonly at: string
}

export interface ValueRow extends RowPart {
  readonly type: 'value'
  readonly paths: readonly ValuePath[]
  readonly as: Reading
  readonly table?: LookupTable
  /** What a value means that the table does not have. */
  readonly miss: 'quarantine' | 'skip'
}

export interface ConstantRow extends RowPart {
  readonly type: 'constant'
  readonly value: string | boolean
}

/** One entry for each repetition that `keep` lets pass; one that lacks a required part is left out. */
export interface EachRow extends RowPart {
  readonly type: 'each'
  readonly path: ValuePath
  readonly keep?: Condition
  readonly rows: readonly (ValueRow | ConstantRow)[]
}

/** A test written inside the channel file. */
export interface ChannelTest {
  readonly name: string
  readonly now: Date
  /** The message, with `set` already applied; or a FHIR resource. */
  readonly input: Uint8Array | Readonly<Record<string, unknown>>
  readonly expect: {
    readonly decision: 'trigger' | 'filtered' | 'quarantined'
    readonly because?: string
    readonly code?: string
    /** Every part named here must be as said; parts that are not named are not looked at. */
    readonly event?: Readonly<Record<string, unknown>>
    readonly ack?: string
  }
  readonly at: string
}
