/** A mutation of BER that mostly leaves it readable up to the place it touches; repeatable by its seed. */
export interface Mutator {
  /** One to three changes. */
  mutated(bytes: Buffer): Buffer
  /** Below `limit`. */
  draw(limit: number): number
}

/** @param strangers whole values to be put in the place of others */
export function mutator(seed: number, strangers: readonly Buffer[]): Mutator {
  const draw = drawing(seed)
  const changes: ((bytes: Buffer, one: Place, other: Place) => Buffer)[] = [
    // Any bit of it.
    (bytes, { start, end }) => {
      const out = Buffer.from(bytes)
      out[start + draw(end - start)]! ^= 1 << draw(8)
      return out
    },
    // Another tag, a length that lies, a length without end.
    (bytes, { start }) => replaced(bytes, start, start + 1, Buffer.from([draw(256)])),
    (bytes, { start }) => replaced(bytes, start + 1, start + 2, Buffer.from([draw(256)])),
    (bytes, { start, content }) => replaced(bytes, start + 1, content, Buffer.from([0x80])),
    (bytes, { start, content, end }) =>
      Buffer.concat([
        bytes.subarray(0, start + 1),
        Buffer.from([0x80]),
        bytes.subarray(content, end),
        Buffer.alloc(2),
        bytes.subarray(end),
      ]),
    (bytes, { start, content }) =>
      replaced(bytes, start + 1, content, Buffer.from([0x84, 0x7f, 0xff, 0xff, draw(256)])),
    // Left out, doubled, emptied, exchanged for another of the message or a stranger’s.
    (bytes, { start, end }) => fitted(bytes, start, end, Buffer.alloc(0)),
    (bytes, { start, end }) =>
      fitted(bytes, start, end, Buffer.concat([bytes.subarray(start, end), bytes.subarray(start, end)])),
    (bytes, { start, content, end }) => replaced(bytes, start + 1, Math.max(content, end), Buffer.alloc(1)),
    (bytes, { start, end }, other) => fitted(bytes, start, end, bytes.subarray(other.start, other.end)),
    (bytes, { start, end }) => fitted(bytes, start, end, strangers[draw(strangers.length)]!),
    // Cut off, and wrapped many times.
    (bytes, { start }) => bytes.subarray(0, start + draw(4)),
    (bytes, { start, end }) => {
      const depth = 1 + draw(60)
      const heads = Buffer.alloc(depth * 2, Buffer.from([0x30, 0x80]))
      return Buffer.concat([
        bytes.subarray(0, start),
        heads,
        bytes.subarray(start, end),
        Buffer.alloc(depth * 2),
        bytes.subarray(end),
      ])
    },
  ]
  return {
    draw,
    mutated(bytes) {
      let out = bytes
      for (let count = 1 + draw(3); count > 0 && out.length > 4; count--) {
        const places = placesIn(out)
        if (places.length === 0) break
        const [one, other] = [places[draw(places.length)]!, places[draw(places.length)]!]
        out = changes[draw(changes.length)]!(out, one, other)
      }
      return out
    },
  }
}

/** Xorshift: the same numbers for the same seed everywhere. */
function drawing(seed: number): (limit: number) => number {
  let state = seed | 1
  return (limit) => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) % limit
  }
}

interface Place {
  readonly start: number
  readonly content: number
  readonly end: number
}

/** Values of any depth, as far as their lengths can be followed. */
function placesIn(bytes: Buffer): Place[] {
  const places: Place[] = []
  const walk = (from: number, end: number) => {
    for (let at = from; at + 2 <= end && places.length < 400;) {
      const first = bytes[at + 1]!
      const octets = first > 0x80 ? first & 0x7f : 0
      if (first === 0x80 || octets > 4 || at + 2 + octets > end) return
      const content = at + 2 + octets
      const length = octets === 0 ? first : bytes.readUIntBE(at + 2, octets)
      if (content + length > end) return
      places.push({ start: at, content, end: content + length })
      if (bytes[at]! & 0x20) walk(content, content + length)
      at = content + length
    }
  }
  walk(0, bytes.length)
  return places
}

function replaced(bytes: Buffer, from: number, to: number, by: Buffer): Buffer {
  return Buffer.concat([bytes.subarray(0, from), by, bytes.subarray(to)])
}

/** Like {@link replaced}, and the lengths of all that hold it follow: the change is deep inside, the rest stays readable. */
function fitted(bytes: Buffer, from: number, to: number, by: Buffer): Buffer {
  const around = placesIn(bytes)
    .filter((one) => one.content <= from && to <= one.end && bytes[one.start]! & 0x20)
    .filter((one) => one.start !== from || one.end !== to)
  let out = replaced(bytes, from, to, by)
  let grown = by.length - (to - from)
  for (const one of around.reverse()) {
    const head = headOf(bytes[one.start]!, one.end - one.content + grown)
    out = replaced(out, one.start, one.content, head)
    grown += head.length - (one.content - one.start)
  }
  return out
}

function headOf(tag: number, length: number): Buffer {
  if (length < 0x80) return Buffer.from([tag, length])
  const octets = length < 0x100 ? 1 : length < 0x10000 ? 2 : 3
  const head = Buffer.alloc(2 + octets)
  head[0] = tag
  head[1] = 0x80 | octets
  head.writeUIntBE(length, 2, octets)
  return head
}
