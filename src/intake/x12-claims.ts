import { X12Reader, X12Unreadable, type X12Segment } from '../lib/x12.ts'
import { Unsplittable, type Piece, type Splitter } from './split.ts'

/** Of what all claims of a transaction share: a few kB. */
const headerBytesMax = 256 * 1024
/** Of one claim with its service lines; an 835 has at most 999 of them. */
const claimBytesMax = 4 * 1024 * 1024

interface Transaction {
  readonly start: X12Segment
  readonly isRemittance: boolean
  segments: number
  /** From ST to the first LX. */
  readonly header: X12Segment[]
  /** The LX loop: LX, TS3, TS2. */
  loop: X12Segment[]
  claim: X12Segment[] | undefined
  bytes: number
  claims: number
}

interface Interchange {
  readonly start: X12Segment
  groups: number
  pieces: number
  group: { readonly start: X12Segment; transactions: number } | undefined
  transaction: Transaction | undefined
}

/**
 * Cuts X12 interchanges into one message for each claim (CLP) of an 835 (005010X221A1): an interchange of its own, with the
 * envelope, payment, payer and payee it came with, valid in itself. Of every other transaction (837, 277CA, 999, TA1) the
 * envelope alone becomes a message, so that its fate is known and no claim that is merely submitted is kept. Counts and
 * control numbers of all envelopes are checked: a file that lacks a part is not taken at all.
 */
export class X12Claims implements Splitter {
  readonly #reader = new X12Reader()
  #interchange: Interchange | undefined
  #last: X12Segment | undefined

  push(chunk: Buffer): Iterable<Piece> {
    return this.#pieces(this.#reader.push(chunk))
  }

  *end(): Iterable<Piece> {
    yield* this.#pieces(this.#reader.end())
    if (this.#last === undefined) throw new Unsplittable('the file is empty: ask the sender for it again')
    if (this.#interchange !== undefined)
      throw new Unsplittable(
        `the file ends after segment ${this.#last.number} without IEA: it was cut off, ask the sender for it again`,
      )
  }

  *#pieces(segments: Iterable<X12Segment>): Generator<Piece> {
    try {
      for (const segment of segments) {
        this.#last = segment
        yield* this.#take(segment)
      }
    } catch (error) {
      if (error instanceof X12Unreadable)
        throw new Unsplittable(`${error.because}. Ask the sender for a correct file`)
      throw error
    }
  }

  *#take(segment: X12Segment): Generator<Piece> {
    const interchange = this.#interchange
    if (segment.id === 'ISA') {
      if (interchange !== undefined)
        throw wrong(segment, 'a new interchange begins before IEA of the last one')
      this.#interchange = { start: segment, groups: 0, pieces: 0, group: undefined, transaction: undefined }
      return
    }
    if (interchange === undefined) throw wrong(segment, 'it belongs to no interchange: ISA is missing')
    const { transaction } = interchange
    if (transaction !== undefined) {
      yield* this.#inTransaction(interchange, transaction, segment)
      return
    }
    switch (segment.id) {
      case 'GS':
        if (interchange.group !== undefined)
          throw wrong(segment, 'a new group begins before GE of the last one')
        interchange.groups++
        interchange.group = { start: segment, transactions: 0 }
        return
      case 'ST':
        if (interchange.group === undefined) throw wrong(segment, 'it belongs to no group: GS is missing')
        interchange.group.transactions++
        interchange.transaction = transactionFrom(segment)
        return
      case 'GE':
        if (interchange.group === undefined) throw wrong(segment, 'no group is open')
        checkCount(segment, interchange.group.transactions, 'transactions')
        checkControl(segment, interchange.group.start, 6)
        interchange.group = undefined
        return
      case 'IEA':
        if (interchange.group !== undefined) throw wrong(segment, 'the group before it has no GE')
        checkCount(segment, interchange.groups, 'groups')
        checkControl(segment, interchange.start, 13)
        if (interchange.pieces === 0) yield pieceOf(interchange, [])
        this.#interchange = undefined
        return
      case 'TA1':
        if (interchange.group === undefined) {
          yield pieceOf(interchange, [segment])
          return
        }
    }
    throw wrong(segment, 'it stands outside of every transaction: ST is missing')
  }

  *#inTransaction(interchange: Interchange, transaction: Transaction, segment: X12Segment): Generator<Piece> {
    if (['ISA', 'GS', 'ST', 'GE', 'IEA'].includes(segment.id))
      throw wrong(segment, 'the transaction before it has no SE')
    transaction.segments++
    if (segment.id === 'SE') {
      checkCount(segment, transaction.segments, 'segments')
      checkControl(segment, transaction.start, 2)
      yield* claimOf(interchange, transaction)
      if (transaction.claims === 0) yield pieceOf(interchange, transaction.header)
      interchange.transaction = undefined
      return
    }
    if (!transaction.isRemittance) return
    transaction.bytes += segment.text.length
    switch (segment.id) {
      case 'LX':
      case 'PLB':
        yield* claimOf(interchange, transaction)
        transaction.loop = [segment]
        return
      case 'CLP':
        yield* claimOf(interchange, transaction)
        transaction.claim = [segment]
        return
    }
    const { claim, loop, header } = transaction
    if (claim !== undefined) claim.push(segment)
    else (loop.length > 0 ? loop : header).push(segment)
    if (transaction.bytes > (claim === undefined ? headerBytesMax : claimBytesMax))
      throw wrong(
        segment,
        `what belongs to one ${claim === undefined ? 'header' : 'claim'} is larger than any is`,
      )
  }
}

function transactionFrom(start: X12Segment): Transaction {
  const isRemittance = start.elements[1]?.trim() === '835'
  return {
    start,
    isRemittance,
    segments: 1,
    header: [start],
    loop: [],
    claim: undefined,
    bytes: 0,
    claims: 0,
  }
}

function* claimOf(interchange: Interchange, transaction: Transaction): Generator<Piece> {
  const { claim, header, loop } = transaction
  transaction.bytes = 0
  if (claim === undefined) return
  transaction.claims++
  transaction.claim = undefined
  yield pieceOf(interchange, [...header, ...loop, ...claim], transaction.claims)
}

/** An interchange with these segments alone: envelope counts are those of what is in it. */
function pieceOf(interchange: Interchange, segments: readonly X12Segment[], claim = 0): Piece {
  interchange.pieces++
  const { start, group } = interchange
  const { element, terminator } = start.separators
  const transaction = segments.find(({ id }) => id === 'ST')
  const number = (one: X12Segment | undefined, at: number) => one?.elements[at]?.trim() ?? ''
  const join = (...elements: (string | number)[]) => elements.join(element)
  const isInGroup = transaction !== undefined && group !== undefined
  const lines = [
    start.text,
    ...(isInGroup ? [group.start.text] : []),
    ...segments.map(({ text }) => text),
    ...(isInGroup
      ? [join('SE', segments.length + 1, number(transaction, 2)), join('GE', 1, number(group.start, 6))]
      : []),
    join('IEA', isInGroup ? 1 : 0, number(start, 13)),
  ]
  const lineEnd = /[\r\n]/.test(terminator) ? terminator : `${terminator}\n`
  return {
    content: Buffer.from(lines.map((line) => line + lineEnd).join(''), 'latin1'),
    controlId: [
      number(transaction, 1) || (segments[0]?.id ?? 'ISA'),
      number(start, 13),
      ...(isInGroup ? [number(group.start, 6), number(transaction, 2)] : []),
      claim > 0 ? claim : interchange.pieces,
    ]
      .join('/')
      .slice(0, 199),
    sender: printable(`${number(start, 6)}|${isInGroup ? number(group.start, 2) : ''}`),
    flags: [],
  }
}

/** Texts go into the database: no NUL, and nothing that is not ASCII. */
function printable(latin1: string): string {
  return latin1.replace(/[^\x20-\x7e]/g, '?').slice(0, 240)
}

function checkCount(segment: X12Segment, counted: number, what: string): void {
  const stated = segment.elements[1]?.trim() ?? ''
  if (!/^\d{1,10}$/.test(stated) || Number(stated) !== counted)
    throw wrong(
      segment,
      `it does not state the ${counted} ${what} that were counted: parts are missing or doubled`,
    )
}

function checkControl(segment: X12Segment, start: X12Segment, at: number): void {
  const [ours, theirs] = [segment.elements[2]?.trim() ?? '', start.elements[at]?.trim() ?? '']
  const isSame = ours === theirs || (/^\d+$/.test(ours + theirs) && Number(ours) === Number(theirs))
  if (!isSame) throw wrong(segment, `its control number is not that of ${start.id} before it`)
}

function wrong({ id, number, byte }: X12Segment, because: string): Unsplittable {
  return new Unsplittable(
    `${id}, segment ${number} at byte ${byte}: ${because}. Ask the sender for a correct file`,
  )
}
