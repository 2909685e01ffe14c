import type { PlainOrder } from './seal-order.ts'
import type { Signer } from './signature.ts'

/** What a sealing thread is started with. Keys travel as KeyObjects, by structured clone, never as text. */
export interface ThreadStart {
  readonly signers: readonly Signer[]
}

/** To the thread. Document pieces come in order, document by document, each document closed by `ended`. */
export type ToThread =
  | { readonly id: number; readonly what: 'order'; readonly order: PlainOrder }
  | { readonly id: number; readonly what: 'piece'; readonly memory: ArrayBuffer; readonly bytes: number }
  | { readonly id: number; readonly what: 'ended' }
  | { readonly id: number; readonly what: 'taken' }
  | { readonly id: number; readonly what: 'cancel' }

/** From the thread. */
export type FromThread =
  | { readonly id: number; readonly what: 'announced'; readonly bytes: number }
  | { readonly id: number; readonly what: 'sealed'; readonly memory: ArrayBuffer }
  /** The memory of a piece that has been read: room for another one. */
  | { readonly id: number; readonly what: 'returned'; readonly memory: ArrayBuffer }
  | { readonly id: number; readonly what: 'done'; readonly bytes: number }
  | {
      readonly id: number
      readonly what: 'failed'
      readonly message: string
      readonly unsafe?: { readonly where: string; readonly because: string }
    }

/** Octets of one document piece: 1,152 base64 lines, so that encoding carries nothing over. */
export const pieceBytes = 57 * 1152
/** Pieces of one order on their way to the thread. */
export const piecesMax = 4
/** Sealed chunks of one order that nobody has taken yet; about 120 kB each. */
export const chunksMax = 6
