/** The first bytes of a run are kept as evidence; the rest is counted. */
const bytesKeptMax = 4096

/** Bytes outside of frames, up to the next frame. */
export class JunkRun {
  #kept = Buffer.alloc(0)
  #bytes = 0

  /** All of the run, kept or not. */
  get bytes(): number {
    return this.#bytes
  }

  add(bytes: Buffer): void {
    this.#bytes += bytes.length
    const room = bytesKeptMax - this.#kept.length
    if (room > 0) this.#kept = Buffer.concat([this.#kept, bytes.subarray(0, room)])
  }

  /** Ends the run. Line ends, blanks and NULs between frames are a habit of many senders and no loss: undefined. */
  take(): Buffer | undefined {
    const kept = this.#kept
    this.#kept = Buffer.alloc(0)
    this.#bytes = 0
    const isHarmless = kept.every((byte) => byte === 0x0d || byte === 0x0a || byte === 0x20 || byte === 0)
    return isHarmless ? undefined : kept
  }
}
