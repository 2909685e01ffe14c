export type UnreadableCode =
  | 'hl7-empty'
  | 'hl7-no-msh'
  | 'hl7-separators'
  | 'hl7-batch'
  | 'hl7-charset'
  | 'hl7-too-many-segments'
  | 'hl7-too-many-repetitions'

/** These bytes are not one HL7v2 message. `because` is for people and never quotes the message. */
export class Hl7Unreadable extends Error {
  readonly code: UnreadableCode
  readonly because: string

  constructor(code: UnreadableCode, because: string) {
    super(`${code}: ${because}`)
    this.name = 'Hl7Unreadable'
    this.code = code
    this.because = because
  }
}
