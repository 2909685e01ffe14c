/**
 * Inbound messages are decided lane by lane, each in the order of arrival; messages of one patient share a lane. More
 * lanes mean less waiting for strangers, and one advisory lock each while it is worked on.
 */
const laneCount = 256

/** The lane of an order key (FNV-1a, 32 bits). It is stored with the message: changing it needs an empty backlog. */
export function laneOf(key: string): number {
  let hash = 0x811c9dc5
  for (let at = 0; at < key.length; at++) {
    hash ^= key.charCodeAt(at)
    hash = Math.imul(hash, 0x01000193)
  }
  return (hash >>> 0) % laneCount
}
