import { describe, expect, test } from '@jest/globals'
import { betweenFrames, frameFor, MllpDecoder, type MllpEvent } from '../../src/lib/mllp.ts'

const bytes = (text: string): Buffer => Buffer.from(text, 'latin1')

/** Events as short texts, easy to compare. */
function told(events: readonly MllpEvent[]): string[] {
  return events.map((event) => {
    const content = event.bytes.toString('latin1')
    if (event.what === 'frame')
      return event.endBlockComplete ? `frame ${content}` : `frame without CR ${content}`
    return event.what === 'junk' ? `junk ${content}` : `fragment ${content}: ${event.because}`
  })
}

function decode(text: string, frameBytesMax = 1000): string[] {
  return told(new MllpDecoder(frameBytesMax).push(bytes(text)))
}

describe('frames', () => {
  test('a frame is what stands between 0x0B and 0x1C 0x0D', () => {
    expect(decode('\x0bMSH|1\rPID|1\r\x1c\r')).toEqual(['frame MSH|1\rPID|1\r'])
  })

  test('several frames in one read are several frames', () => {
    expect(decode('\x0bA\x1c\r\x0bB\x1c\r\x0bC\x1c\r')).toEqual(['frame A', 'frame B', 'frame C'])
  })

  test('a frame split at any place, also within its end block, is the same frame', () => {
    const stream = bytes('x\x0bMSH|one\x1c\r\x0bMSH|two\x1c\r')
    for (let first = 0; first <= stream.length; first++)
      for (let second = first; second <= stream.length; second++) {
        const decoder = new MllpDecoder(1000)
        const events = [
          ...decoder.push(stream.subarray(0, first)),
          ...decoder.push(stream.subarray(first, second)),
          ...decoder.push(stream.subarray(second)),
        ]
        expect(told(events)).toEqual(['junk x', 'frame MSH|one', 'frame MSH|two'])
      }
  })

  test('one byte at a time gives the same frames and holds no more than twice their bytes', () => {
    const decoder = new MllpDecoder(1 << 20)
    const content = 'M'.repeat(100_000)
    let most = 0
    const events: MllpEvent[] = []
    for (const byte of bytes(`\x0b${content}\x1c\r`)) {
      events.push(...decoder.push(Buffer.from([byte])))
      most = Math.max(most, decoder.heldBytes)
    }
    expect(told(events)).toEqual([`frame ${content}`])
    expect(most).toBeLessThanOrEqual(2 * content.length)
    expect(decoder.heldBytes).toBe(0)
  })

  test('a frame within one chunk is a view of it, not a copy', () => {
    const chunk = bytes('\x0bMSH|1\x1c\r')
    const [event] = new MllpDecoder(1000).push(chunk)
    expect(event?.bytes.buffer).toBe(chunk.buffer)
  })

  test('frameFor and the decoder are inverse; joined contents come out as several frames', () => {
    expect(decode(frameFor(bytes('MSH|1')).toString('latin1'))).toEqual(['frame MSH|1'])
    const two = Buffer.concat([bytes('CA'), betweenFrames, bytes('AA')])
    expect(decode(frameFor(two).toString('latin1'))).toEqual(['frame CA', 'frame AA'])
  })
})

describe('senders that do it their own way', () => {
  test('bytes before the start block are junk', () => {
    expect(decode('\r\nGET / HTTP/1.1\r\n\x0bA\x1c\r')).toEqual(['junk \r\nGET / HTTP/1.1\r\n', 'frame A'])
  })

  test('a second start block without an end gives up what came before', () => {
    expect(decode('\x0bMSH|half\x0bMSH|whole\x1c\r')).toEqual([
      'fragment MSH|half: start-block-inside-frame',
      'frame MSH|whole',
    ])
  })

  test('a doubled start block is one', () => {
    expect(decode('\x0b\x0bA\x1c\r')).toEqual(['frame A'])
  })

  test('an end block without its 0x0D ends the frame, whatever follows', () => {
    expect(decode('\x0bA\x1c\x0bB\x1c\r')).toEqual(['frame without CR A', 'frame B'])
    expect(decode('\x0bA\x1c\n\x0bB\x1c\r')).toEqual(['frame without CR A', 'frame B'])
    expect(decode('\x0bA\x1cPID|\x0bB\x1c\r')).toEqual(['frame without CR A', 'junk PID|', 'frame B'])
  })

  test('a 0x1C at the end of a read waits for the next byte until it is told not to', () => {
    const decoder = new MllpDecoder(1000)
    expect(decoder.push(bytes('\x0bA\x1c'))).toEqual([])
    expect(decoder.awaitsEndOfFrame).toBe(true)
    expect(told(decoder.settle())).toEqual(['frame without CR A'])
    expect(decoder.settle()).toEqual([])
    // The 0x0D comes late after all: it belongs to the frame that is gone.
    expect(told(decoder.push(bytes('\r\x0bB\x1c\r')))).toEqual(['frame B'])
  })

  test('what is unfinished when the stream ends is a fragment; a frame that lacks only its 0x0D is a frame', () => {
    const half = new MllpDecoder(1000)
    half.push(bytes('\x0bMSH|half'))
    expect(told(half.end('connection-ended'))).toEqual(['fragment MSH|half: connection-ended'])
    const whole = new MllpDecoder(1000)
    whole.push(bytes('\x0bMSH|whole\x1c'))
    expect(told(whole.end('connection-ended'))).toEqual(['frame without CR MSH|whole'])
  })
})

describe('limits', () => {
  test('a frame of exactly the limit is taken, one byte more is refused with its beginning', () => {
    expect(decode('\x0b12345\x1c\r', 5)).toEqual(['frame 12345'])
    expect(decode('\x0b123456\x1c\r\x0bA\x1c\r', 5)).toEqual(['fragment 12345: frame-too-large'])
  })

  test('a frame grows over the limit in pieces and is refused as soon as it does', () => {
    const decoder = new MllpDecoder(5)
    expect(decoder.push(bytes('\x0b123'))).toEqual([])
    expect(told(decoder.push(bytes('456')))).toEqual(['fragment 12345: frame-too-large'])
    expect(decoder.push(bytes('\x0bA\x1c\r'))).toEqual([])
    expect(decoder.heldBytes).toBe(0)
  })

  test.each([
    ['start blocks', '\x0b'],
    ['start blocks with content', '\x0bA'],
    ['end blocks', '\x1c'],
    ['empty frames', '\x0b\x1c\r'],
    ['line ends', '\r'],
  ])('a read full of %s is taken in one go and in linear time', (_, unit) => {
    const flood = bytes(unit.repeat(Math.ceil((1 << 16) / unit.length)))
    const searched = countSearchedBytes(flood)
    new MllpDecoder(1 << 20).push(flood)
    expect(searched()).toBeLessThan(4 * flood.length)
  })
})

/** Counts how many bytes indexOf has looked at in this buffer and its views. */
function countSearchedBytes(buffer: Buffer): () => number {
  let searched = 0
  const count = function (this: Buffer, value: number, from = 0): number {
    const found = Uint8Array.prototype.indexOf.call(this, value, from)
    searched += (found === -1 ? this.length : found + 1) - from
    return found
  }
  const watch = (view: Buffer): Buffer => {
    Object.defineProperty(view, 'indexOf', { value: count })
    const subarray = view.subarray.bind(view)
    Object.defineProperty(view, 'subarray', {
      value: (start?: number, end?: number) => watch(subarray(start, end)),
    })
    return view
  }
  watch(buffer)
  return () => searched
}
