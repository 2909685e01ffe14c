import type { Authority, Issued } from '../pki/pki.ts'
import type { CcdChoices, Person } from './ccd.ts'
import type { Engine } from './engine.ts'
import type { Fault } from './fhir-faults.ts'
import type { StoredDocument } from './fhir-resources.ts'
import type { AnswerPlan, DoorFault, InboxMessage, Letter, RefusedMessage } from './hisp-orders.ts'
import type { LoadResult, SendingHabits, SendingResult } from './hospital.ts'
import type { Neighbour } from './neighbour.ts'

export interface TownOptions {
  /** postgres:// URL of a database of its own; default: the engine’s embedded one in the town’s directory. */
  database?: string
  /** Laid over bluepost.yaml, key by key of the top level. */
  settings?: Record<string, unknown>
  environment?: Record<string, string>
  /** Ellen’s authorization, made when the engine is up. */
  authorization?: AuthorizationWishes | false
  /** Ellen’s document on the FHIR server; `false`: she has none yet. */
  document?: { bytes?: number; effectiveTime?: Date } | false
  /** Which software the recipient’s HISP opens messages with; default: the openssl binary where there is one. */
  cms?: 'openssl' | 'pkijs'
  /** `false`: everything is ready, the engine not yet started. */
  starts?: boolean
  /** Each line the engine logs. */
  onLog?: (line: Record<string, unknown>) => void
}

export interface AuthorizationWishes {
  person?: Person
  destination?: string
  destinations?: string[]
  frequency?: 'once' | 'continuous' | `interval: ${string}`
  triggers?: string[]
  validFrom?: Date
  validUntil?: Date
}

/** A transmission as the API lists it. */
export interface SeenTransmission {
  id: string
  state: string
  messageId?: string | null
  code?: string | null
  because?: string | null
}

export interface Town {
  readonly directory: string
  readonly config: string
  readonly root: Authority
  /** The sender’s certificate for direct.ashby.example, and the recipient’s. */
  readonly certificates: { readonly sender: Issued; readonly recipient: Issued }
  readonly engine: Engine
  readonly hospital: Hospital
  readonly clinic: Clinic
  readonly names: Neighbour
  readonly phr: Phr
  /** Ellen’s document on the FHIR server, unless the town was built without. */
  readonly ellensCcd: StoredDocument | undefined
  /** The patient’s request, through the API. */
  authorize(wishes?: AuthorizationWishes): Promise<{ id: string }>
  revoke(authorizationId: string, because?: string): Promise<void>
  transmissions(authorizationId?: string): Promise<SeenTransmission[]>
  /** State of the newest transmission about a person, or `nothing`. */
  fateOf(person: Person): Promise<string>
  /** Until nothing is on its way any more: nothing undecided, unsent, unanswered or unopened. Needs `database`. */
  settles(withinMs?: number): Promise<void>
  /** Until the condition holds; it is asked again and again. */
  until(what: string, condition: () => Promise<boolean> | boolean, withinMs?: number): Promise<void>
  close(): Promise<void>
}

export interface Hospital {
  readonly process: Neighbour
  /** The port of the channel it sends to. */
  readonly sendsTo: number
  /** Sends one message or several, and waits for their acknowledgements. */
  sends(messages: string | readonly string[], habits?: SendingHabits): Promise<SendingResult[]>
  sendsLoad(people: readonly Person[], count: number, habits?: SendingHabits): Promise<LoadResult>
}

export interface Clinic {
  readonly process: Neighbour
  admits(person: Person): Promise<void>
  publishes(
    person: Person,
    choices?: Omit<CcdChoices, 'effectiveTime'> & { effectiveTime?: Date } & Record<string, unknown>,
  ): Promise<StoredDocument>
  fails(fault: Fault | null): Promise<void>
  set(settings: Record<string, unknown>): Promise<void>
}

export interface Phr {
  readonly process: Neighbour
  /** By which software messages are opened. */
  readonly opensWith: string
  /** What has arrived and was found good, one entry per Message-ID. */
  readonly inbox: readonly InboxMessage[]
  readonly refused: readonly RefusedMessage[]
  /** How messages are answered from now on; null: as usual. */
  answers(plan: AnswerPlan | null): Promise<void>
  /** What messages meet at the door from now on; null: nothing. */
  door(fault: DoorFault | null): Promise<void>
  /** An MDN about the newest message (or the one named). */
  sendsMdn(
    disposition: 'processed' | 'dispatched' | 'failed' | 'denied' | 'error',
    plan?: AnswerPlan & { messageId?: string },
  ): Promise<void>
  /** Somebody of this HISP writes; gives what the engine’s listener answered. */
  writes(letter: Letter): Promise<string>
  contentOf(sha256: string): Promise<Buffer>
}
