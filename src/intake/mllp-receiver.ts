import type { FragmentReason } from '../lib/mllp.ts'

/** One connection of one sender. The same object for all that comes over it: what must keep its order, keeps it by this. */
export interface Peer {
  /** Address and port, for logs and for the stored message. */
  readonly address: string
}

export interface MllpFrame {
  readonly bytes: Buffer
  /** False where 0x1C was not followed by 0x0D. */
  readonly endBlockComplete: boolean
}

/** Bytes that never became a frame. */
export interface Fragment {
  readonly bytes: Buffer
  readonly because: FragmentReason | 'bytes-outside-frames'
}

export interface Receipt {
  /** What goes back, without the frame around it; nothing where the sender wants nothing or nobody could read it. */
  readonly reply?: Buffer
  /** Set where the reply says that nothing is stored, and that the same bytes may come again. */
  readonly isNotStored?: true
  /** Set where nothing is stored and the sender asked for no answer to that: losing the connection tells it. */
  readonly isLost?: true
  /** Set where the content was no HL7 at all. */
  readonly isUnreadable?: true
}

/** Takes what the connections of a listener deliver. */
export interface MllpReceiver {
  /** Called in the order of the frames, without waiting for the one before. Replies go out in the same order. */
  receive(frame: MllpFrame, peer: Peer): Promise<Receipt>
  /** Keeps bytes that never became a frame, with the reason; may answer, too. */
  onFragment(fragment: Fragment, peer: Peer): Promise<Receipt>
}
