/** Smaller buffers may share Node's pool, and are not worth it. */
const bytesMin = 16 * 1024

/**
 * Gives the memory of a large buffer back now instead of at some garbage collection: buffers count little with the
 * collector, so a stream of them leaves tens of megabytes lying about, each page touched for the first time. The buffer
 * is empty afterwards. One that is a part of something larger is left alone.
 */
export function freeMemory(bytes: Buffer): void {
  const { buffer } = bytes
  // Shared memory has no transfer, and nobody alone may give it back.
  if (bytes.length >= bytesMin && bytes.length === buffer.byteLength && 'transfer' in buffer)
    buffer.transfer(0)
}
