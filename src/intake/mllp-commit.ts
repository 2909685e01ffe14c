import { betweenFrames } from '../lib/mllp.ts'
import type { Fragment, MllpFrame, Peer, Receipt } from './mllp-receiver.ts'

/** Content of the blocks <SB> <ACK|NAK> <EB><CR> (MLLP release 2, §2.4). */
const acknowledged = Buffer.from([0x06])
const notAcknowledged = Buffer.from([0x15])

interface Receiving {
  frame(frame: MllpFrame, peer: Peer): Promise<Receipt>
  fragment(fragment: Fragment, peer: Peer): Promise<Receipt>
}

/**
 * MLLP release 2 around what receives for release 1: every frame is answered by a commit block, which speaks of the
 * transport alone – 0x06: these bytes are on disk, 0x15: they are not, send them again. What the message itself asks for
 * (MSA) follows as a frame of its own, but never after 0x15: the repeat will bring it. The sender’s commit blocks for
 * our replies are no messages and get no answer.
 */
export function withCommitBlocks(receiving: Receiving): Receiving {
  return {
    async frame(frame, peer) {
      if (isCommitBlock(frame.bytes)) return {}
      return committed(await receiving.frame(frame, peer))
    },
    async fragment(fragment, peer) {
      const receipt = await receiving.fragment(fragment, peer)
      // A frame that never ended gets no commit block in release 2 either; a refusal of the whole does.
      return receipt.reply === undefined ? receipt : committed(receipt)
    },
  }
}

function isCommitBlock(bytes: Buffer): boolean {
  return bytes.length === 1 && (bytes[0] === 0x06 || bytes[0] === 0x15)
}

function committed({ reply, isLost, isNotStored, isUnreadable }: Receipt): Receipt {
  if (isLost || isNotStored) return { reply: notAcknowledged, isNotStored: true }
  return {
    reply: reply === undefined ? acknowledged : Buffer.concat([acknowledged, betweenFrames, reply]),
    ...(isUnreadable && { isUnreadable }),
  }
}
