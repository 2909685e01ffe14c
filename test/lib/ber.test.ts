import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { berLimitsUsual, toDer } from '../../src/lib/ber.ts'
import { der, derChildren, derContent, DerError, derHead, derSetOf, readDer } from '../../src/lib/der.ts'

const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex')

describe('BER becomes DER', () => {
  test.each([
    ['a definite value stays as it is', '30 05 04 03 61 62 63', '30 05 04 03 61 62 63'],
    ['an indefinite length becomes definite', '30 80 04 03 61 62 63 00 00', '30 05 04 03 61 62 63'],
    ['a long length becomes short', '30 82 00 06 04 81 03 61 62 63', '30 05 04 03 61 62 63'],
    ['pieces are joined', '24 80 04 01 61 24 80 04 01 62 00 00 04 01 63 00 00', '04 03 61 62 63'],
    ['an octet string without pieces is empty', '24 00', '04 00'],
    ['the members of a SET come in order', '31 06 02 01 02 02 01 01', '31 06 02 01 01 02 01 02'],
    ['context tags keep theirs', 'a0 80 04 01 61 00 00', 'a0 03 04 01 61'],
  ])('%s', (_, ber, expected) => expect(toDer(hex(ber))).toEqual(hex(expected)))

  test('a SET is put in order after its members have become DER', () => {
    // As BER the first is smaller (24 …); as DER it is the larger one of the two.
    expect(toDer(hex('31 0a 04 02 61 61 24 04 04 02 60 60'))).toEqual(hex('31 08 04 02 60 60 04 02 61 61'))
  })

  test('bytes of an Uint8Array that starts within its buffer are the right ones', () => {
    const within = new Uint8Array([9, 9, 0x04, 0x01, 0x61, 9])
    expect(toDer(within.subarray(2, 5))).toEqual(hex('04 01 61'))
  })
})

describe('limits', () => {
  const nested = (levels: number) =>
    Buffer.concat([...Array<Buffer>(levels).fill(hex('30 80')), Buffer.alloc(levels * 2)])

  test.each([
    ['nothing', Buffer.alloc(0)],
    ['something behind it', hex('04 01 61 00')],
    ['no end', hex('30 80 04 01 61')],
    ['a piece of another type', hex('24 03 02 01 61')],
    ['levels without end', nested(33)],
  ])('%s is refused', (_, bytes) => expect(() => toDer(bytes)).toThrow(DerError))

  test('definite levels, pieces in pieces, values and octets are bounded', () => {
    let deep = der(0x30)
    let split = der(0x24)
    for (let level = 0; level < 40; level++) {
      deep = der(0x30, deep)
      split = der(0x24, split)
    }
    expect(() => toDer(deep)).toThrow(/nested deeper than 32/)
    expect(() => toDer(split)).toThrow(/nested deeper than 32/)
    const many = der(0x30, Buffer.alloc(2 * 20_001, hex('05 00')))
    expect(() => toDer(many)).toThrow(/more than 20000 values/)
    expect(() => toDer(der(0x24, Buffer.alloc(2 * 20_001, hex('04 00'))))).toThrow(/more than 20000 values/)
    expect(() => toDer(der(0x04, Buffer.alloc(10)), { ...berLimitsUsual, octetsMax: 11 })).toThrow(
      /longer than 11/,
    )
  })
})

test('whatever way a tree is written as BER, its DER is the same', () => {
  type Tree = { tag: number; content: Buffer } | { tag: number; members: Tree[] }
  const leaf = fc
    .tuple(fc.constantFrom(0x02, 0x04, 0x0c, 0x80), fc.uint8Array({ maxLength: 200 }))
    .map(([tag, content]): Tree => ({ tag, content: Buffer.from(content) }))
  const trees = fc.letrec<{ tree: Tree }>((tie) => ({
    tree: fc.oneof(
      { maxDepth: 4, withCrossShrink: true },
      leaf,
      fc
        .tuple(fc.constantFrom(0x30, 0x31, 0xa0), fc.array(tie('tree'), { maxLength: 4 }))
        .map(([tag, members]): Tree => ({ tag, members })),
    ),
  })).tree
  const asDer = (tree: Tree): Buffer =>
    'content' in tree
      ? der(tree.tag, tree.content)
      : tree.tag === 0x31
        ? derSetOf(0x31, tree.members.map(asDer))
        : der(tree.tag, ...tree.members.map(asDer))
  const asBer = (tree: Tree, draw: () => number): Buffer => {
    const end = Buffer.alloc(2)
    if ('members' in tree) {
      const members = tree.members.map((one) => asBer(one, draw))
      return draw() % 2 === 0
        ? Buffer.concat([Buffer.from([tree.tag, 0x80]), ...members, end])
        : der(tree.tag, ...members)
    }
    const { tag, content } = tree
    if (tag === 0x04 && draw() % 2 === 0) {
      const cut = draw() % (content.length + 1)
      return der(0x24, der(0x04, content.subarray(0, cut)), der(0x04, content.subarray(cut)))
    }
    const [identifier = 0] = derHead(tag, 0)
    const length = Buffer.alloc(4)
    length.writeUInt32BE(content.length)
    return draw() % 2 === 0
      ? Buffer.concat([Buffer.from([identifier, 0x84]), length, content])
      : der(tag, content)
  }
  fc.assert(
    fc.property(trees, fc.infiniteStream(fc.nat(1000)), (tree, stream) => {
      const draw = () => Number(stream.next().value)
      expect(toDer(asBer(tree, draw))).toEqual(asDer(tree))
    }),
  )
})

test('noise is refused or converted, and what is converted stays', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (noise) => {
      try {
        const once = toDer(noise)
        expect(toDer(once)).toEqual(once)
        expect(derContent(readDer(once)).length).toBeLessThanOrEqual(noise.length)
        if (readDer(once).constructed) derChildren(readDer(once))
      } catch (error) {
        expect(error).toBeInstanceOf(DerError)
      }
    }),
    { numRuns: 2000 },
  )
})
