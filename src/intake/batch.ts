import { startOfHeader } from './msh.ts'

/** Batches of more messages than this come as files, not over MLLP. */
export const messagesPerFrameMax = 1000

/**
 * The messages of a frame: one, nearly always. A batch, with its envelope (FHS BHS … BTS FTS, HL7 v2.5.1 ch. 2.10.3) or
 * without, comes apart at its MSH segments, so that one bad message does not take the others with it. The envelope is
 * dropped: it says nothing about any patient.
 *
 * @returns views of the frame; undefined where there are more than {@link messagesPerFrameMax}
 */
export function messagesIn(frame: Buffer): Buffer[] | undefined {
  const first = startOfHeader(frame)
  const isEnvelope = isSegment(frame, first, ['FHS', 'BHS'])
  // The usual frame is done here, at the cost of one search.
  if (!isEnvelope && frame.indexOf('MSH', first + 3, 'latin1') === -1) return [frame]
  if (!isEnvelope && !isSegment(frame, first, ['MSH'])) return [frame]

  const separator = frame[first + 3]
  const starts: number[] = []
  for (let at = first; at !== -1; at = frame.indexOf('MSH', at + 3, 'latin1')) {
    const isSegmentStart = at === first || frame[at - 1] === 0x0d || frame[at - 1] === 0x0a
    if (!isSegmentStart || frame[at + 3] !== separator || !isSegment(frame, at, ['MSH'])) continue
    starts.push(at)
    if (starts.length > messagesPerFrameMax) return undefined
  }
  if (starts.length === 0 || (starts.length === 1 && !isEnvelope)) return [frame]
  return starts.map((start, nth) =>
    frame.subarray(start, endOfMessage(frame, start, starts[nth + 1] ?? frame.length)),
  )
}

/** Where the envelope goes on, or else `end`. */
function endOfMessage(frame: Buffer, start: number, end: number): number {
  for (let at = start + 3; at < end; at++) {
    const isSegmentStart = frame[at - 1] === 0x0d || frame[at - 1] === 0x0a
    if (isSegmentStart && isSegment(frame, at, ['BTS', 'FTS', 'BHS', 'FHS'])) return at
  }
  return end
}

function isSegment(frame: Buffer, at: number, names: readonly string[]): boolean {
  const name = frame.toString('latin1', at, at + 3)
  return names.includes(name) && at + 3 < frame.length
}
