/** A message as it was cut out of a file. */
export interface Piece {
  /** Whole in itself: what was around it in the file and concerns it is part of it. */
  readonly content: Buffer
  /** What names it at its sender, with the same value each time the file is read. */
  readonly controlId: string
  readonly sender: string
  readonly flags: readonly string[]
}

/** Cuts a file into messages while it is read. Holds one message at most. */
export interface Splitter {
  /** @throws Unsplittable */
  push(chunk: Buffer): Iterable<Piece>
  /** The file is at its end. @throws Unsplittable where it should not be */
  end(): Iterable<Piece>
}

/** The file cannot be cut into messages: nothing of it is taken. `because` says what, where and what to do, without PHI. */
export class Unsplittable extends Error {
  readonly because: string

  constructor(because: string) {
    super(because)
    this.name = 'Unsplittable'
    this.because = because
  }
}
