import type { SMTPServerDataStream } from 'smtp-server'

/** Whether the peer’s final dot was read. */
export function isComplete(stream: SMTPServerDataStream): boolean {
  return stream.readableEnded && stream.errored === null
}

/** The content, throwing where the connection ends before it or where it passes the limit. */
export async function* wholeMail(stream: SMTPServerDataStream): AsyncGenerator<Buffer> {
  for await (const chunk of stream.iterator({ destroyOnReturn: false })) {
    if (stream.sizeExceeded) break
    yield chunk as Buffer
  }
  if (stream.sizeExceeded) throw new Error('the mail is too large')
  if (!isComplete(stream)) throw new Error('the connection ended before the mail did')
}

/** Reads up to `octets` ahead, or to the end; what was read comes first again. Throws what reading it threw. */
export async function headFirst(
  chunks: AsyncGenerator<Buffer>,
  octets: number,
): Promise<{ readonly chunks: AsyncIterable<Buffer>; readonly isLarge: boolean }> {
  const head: Buffer[] = []
  let left = octets
  let isLarge = true
  while (left >= 0) {
    const { done, value } = await chunks.next()
    isLarge = done !== true
    if (done === true) break
    head.push(value)
    left -= value.length
  }
  return {
    isLarge,
    chunks: (async function* () {
      yield* head
      yield* chunks
    })(),
  }
}

/** Lets the peer finish talking, so that it hears the answer; `octetsMax` bounds its patience and ours. */
export function drained(stream: SMTPServerDataStream, octetsMax: number): Promise<void> {
  if (stream.readableEnded || stream.destroyed) return Promise.resolve()
  return new Promise((resolve) => {
    stream.on('error', () => resolve())
    stream.once('end', resolve)
    stream.once('close', resolve)
    stream.on('data', () => {
      if (stream.byteLength > octetsMax) stream.destroy()
    })
    stream.resume()
  })
}
