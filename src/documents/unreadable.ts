/** Why bytes are no document that may be sent, and the step of the gate (domain.md 3) that says so. */
export class Unreadable extends Error {
  readonly step: 1 | 2 | 3 | 4 | 5
  readonly because: string

  constructor(step: Unreadable['step'], because: string) {
    super(because)
    this.step = step
    this.because = because
  }
}
