/**
 * Our own MSH-10s: 20 characters, the most that versions before 2.7 allow; unique across processes and restarts as far
 * as their eight random bytes are.
 *
 * @param seed at least 8 random bytes, drawn once per process
 */
export function makeControlIds(seed: Buffer): () => string {
  const prefix = seed.readBigUInt64BE().toString(36).toUpperCase().padStart(13, '0').slice(-13)
  let count = 0
  return () => prefix + (count++ % 36 ** 7).toString(36).toUpperCase().padStart(7, '0')
}
