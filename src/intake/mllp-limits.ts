import { frameBytesMax } from '../domain/limits.ts'

export interface MllpLimits {
  /** Content of one frame. */
  readonly frameBytesMax: number
  /** Nothing completed, nothing owed, for so long: the connection is cut. Cloverleaf’s is 30 s; quiet feeds need more. */
  readonly idleMsMax: number
  /** From 0x0B to 0x1C. */
  readonly frameMsMax: number
  /** How long a 0x1C waits for its 0x0D before the frame counts as whole. */
  readonly endBlockWaitMsMax: number
  /** TLS handshake. */
  readonly handshakeMsMax: number
  readonly connectionsMax: number
  /** Frames of one connection without an answer yet; reading pauses here. */
  readonly framesInFlightMax: number
  /** Their bytes. */
  readonly bytesInFlightMax: number
  /** Replies of one connection that its peer has not read yet. */
  readonly unreadReplyBytesMax: number
  /** Unfinished frames and frames in flight of all connections together. */
  readonly heldBytesMax: number
  /** Frames and fragments of one connection in a row that nobody could read, before it is cut. */
  readonly unreadableInARowMax: number
  /** Bytes outside frames of one connection in a row, before it is cut: this is no MLLP. */
  readonly junkBytesMax: number
  /** How long a connection that is being ended may take for its owed replies, and again for the peer’s goodbye. */
  readonly lingerMsMax: number
}

export const mllpLimits: MllpLimits = {
  frameBytesMax,
  idleMsMax: 10 * 60 * 1000,
  frameMsMax: 60 * 1000,
  endBlockWaitMsMax: 100,
  handshakeMsMax: 10 * 1000,
  connectionsMax: 512,
  framesInFlightMax: 64,
  bytesInFlightMax: 16 * 1024 * 1024,
  unreadReplyBytesMax: 64 * 1024,
  heldBytesMax: 512 * 1024 * 1024,
  unreadableInARowMax: 20,
  junkBytesMax: 1024 * 1024,
  lingerMsMax: 5 * 1000,
}
