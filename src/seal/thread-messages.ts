import type { FailureCode } from '../domain/failure.ts'
import type { PlainOrder } from './seal-order.ts'
import type { KeyObject } from 'node:crypto'
import type { Digest } from './algorithms.ts'
import type { KeyHolder } from './own-key.ts'

/** What a sealing thread is started with. Keys travel as KeyObjects, by structured clone, never as text. */
export interface ThreadStart {
  readonly signers: readonly ThreadSigner[]
}

export interface ThreadSigner {
  readonly certificate: Uint8Array
  /** What a device keeps to itself stays outside: the thread asks for each signature. */
  readonly key: KeyObject | KeyHolder['type']
  readonly intermediates: readonly Uint8Array[]
}

/**
 * To the thread. A message between threads costs as much as sealing 5 kB, so there are few: pieces come in order,
 * document by document, and where one ends the thread knows from the lengths in the order.
 */
export type ToThread =
  | { readonly id: number; readonly what: 'order'; readonly order: PlainOrder }
  | { readonly id: number; readonly what: 'piece'; readonly memory: ArrayBuffer; readonly bytes: number }
  /** Somebody begins to take one batch. */
  | { readonly id: number; readonly what: 'taken' }
  | { readonly id: number; readonly what: 'cancel' }
  | DeviceAnswer

/** From the thread. */
export type FromThread = SealedBatch | SealingFailed

/** From the thread: a signature is needed by a key that lives in a device. */
export interface SignatureWanted {
  readonly what: 'sign'
  readonly question: number
  /** Place in {@link ThreadStart.signers}. */
  readonly signer: number
  readonly digest: Digest
  readonly bytes: Uint8Array
}

/** To the thread, in any order. */
export type DeviceAnswer =
  | { readonly what: 'signed'; readonly question: number; readonly signature: Uint8Array }
  | {
      readonly what: 'unsigned'
      readonly question: number
      readonly because: string
      readonly code: FailureCode | undefined
    }

export interface SealedBatch {
  readonly id: number
  readonly what: 'sealed'
  readonly chunks: readonly ArrayBuffer[]
  /** Octets of the whole sealed message. */
  readonly bytesInAll: number
  readonly isLast: boolean
  /** The memory of pieces that have been read: room for others. */
  readonly returned: readonly ArrayBuffer[]
}

export interface SealingFailed {
  readonly id: number
  readonly what: 'failed'
  /** For people, without PHI. */
  readonly because: string
  /** Undefined for what is nobody's failure but a bug. */
  readonly code?: FailureCode
}

/** Octets of one document piece; whole base64 lines, so that encoding carries nothing over. */
export const pieceBytes = 57 * 4608
/** Pieces of one order on their way to the thread, or not yet returned. */
export const piecesMax = 3
/** Sealed octets that make a batch; one piece becomes 490 kB. */
export const batchBytesWanted = 360 * 1024
/** Batches of one order that nobody has taken yet. */
export const batchesMax = 3
