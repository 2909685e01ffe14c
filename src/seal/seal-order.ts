import type { Algorithms } from './algorithms.ts'

/** One Direct message to be sealed. Addresses are bare (`name@direct.example.org`), certificates DER. */
export interface SealOrder extends Addressing {
  /** Inner only: it may name the patient. */
  readonly subject: string
  readonly dataHolder: string
  readonly patientName: string
  /** The patient asked for continuous transmit: `Recurring: Yes`. */
  readonly recurring: boolean
  /** Ask for a notification of delivery beside that of processing; asked where nothing is said. */
  readonly asksForDelivery?: boolean
  /** Body text instead of {@link contextSentence}; one line or several, LF between them. */
  readonly contextText?: string
  /** The C-CDA first, further documents after it. */
  readonly documents: readonly SealDocument[]
}

/** What every sealed message needs, whatever is inside. */
export interface Addressing {
  readonly from: string
  readonly to: readonly string[]
  /** With its angle brackets; the same outside and inside, since notifications quote it. */
  readonly messageId: string
  /** Date header and signing time. */
  readonly date: Date
  /** Every trusted certificate of every recipient. */
  readonly recipients: readonly Buffer[]
  readonly algorithms?: Partial<Algorithms>
}

export interface SealDocument {
  readonly fileName: string
  /** Such as `application/xml`; without parameters. */
  readonly mediaType: string
  /** Octets, exactly: lengths stand before the content. */
  readonly bytes: number
  readonly chunks: () => AsyncIterable<Uint8Array>
}

/** An order as a sealing thread gets it: the documents' bytes come separately. */
export type PlainOrder = Omit<SealOrder, 'documents'> & {
  readonly documents: readonly Omit<SealDocument, 'chunks'>[]
}

/** The attribution of Blue Button+ §F.3. */
export function contextSentence(dataHolder: string, patientName: string): string {
  return `This message was sent by ${dataHolder} at the request of ${patientName}.`
}

export function wrongLength(index: number, bytes: number): Error {
  return new Error(`document ${index + 1} does not have the ${bytes} bytes that were announced`)
}
