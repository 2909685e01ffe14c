import type { Algorithms, KeyTransport } from './algorithms.ts'

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
  /** Everybody the message is meant for: what the signed message inside says. */
  readonly to: readonly string[]
  /**
   * Those of `to` that it really goes to, and what the header outside says; absent: all of them. Refused recipients are
   * left out (Applicability Statement; the reference implementation’s routing headers), while the message inside, which
   * is signed, still names them.
   */
  readonly outerTo?: readonly string[]
  /** With its angle brackets; the same outside and inside, since notifications quote it. */
  readonly messageId: string
  /** Date header and signing time. */
  readonly date: Date
  /** Every trusted certificate of everybody it really goes to; one that is there twice counts once. */
  readonly recipients: readonly RecipientCertificate[]
  readonly algorithms?: Partial<Algorithms>
}

/** In DER; with a key transport of its own where its HISP agreed to another one than the order says. */
export type RecipientCertificate =
  Buffer | { readonly certificate: Buffer; readonly keyTransport: KeyTransport }

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
