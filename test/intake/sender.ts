import net from 'node:net'
import tls from 'node:tls'

/** A sender at the level of bytes: it can do everything a well-behaved one would never do. */
export interface Sender {
  readonly socket: net.Socket
  /** Sends bytes as they are. */
  write(bytes: string | Buffer): void
  /** Sends one frame and waits for the next reply. */
  ask(content: string | Buffer): Promise<string>
  /** The next reply’s content (latin1); rejects where the connection ends before. */
  reply(): Promise<string>
  /** Resolves when the listener has ended the connection, with the replies nobody asked for. */
  ended(): Promise<string[]>
  /** Closes its own side. */
  end(): void
}

export async function connectSender(
  address: { host: string; port: number },
  tlsOptions?: tls.ConnectionOptions,
): Promise<Sender> {
  const socket =
    tlsOptions === undefined
      ? net.connect({ ...address, allowHalfOpen: false })
      : tls.connect({ ...address, ...tlsOptions })
  const replies: string[] = []
  const waiting: { resolve(text: string): void; reject(error: Error): void }[] = []
  let received = Buffer.alloc(0)
  let isOver = false
  const over: (() => void)[] = []

  socket.on('data', (chunk: Buffer) => {
    received = Buffer.concat([received, chunk])
    for (let end = received.indexOf('\x1c\r'); end !== -1; end = received.indexOf('\x1c\r')) {
      if (received[0] !== 0x0b) throw new Error('a reply does not begin with 0x0B')
      const content = received.toString('latin1', 1, end)
      received = received.subarray(end + 2)
      const first = waiting.shift()
      if (first === undefined) replies.push(content)
      else first.resolve(content)
    }
  })
  const finish = (): void => {
    if (isOver) return
    isOver = true
    for (const { reject } of waiting.splice(0)) reject(new Error('the connection ended before the reply'))
    for (const resolve of over.splice(0)) resolve()
  }
  socket.on('end', finish)
  socket.on('close', finish)

  await new Promise<void>((resolve, reject) => {
    socket.once(tlsOptions === undefined ? 'connect' : 'secureConnect', () => resolve())
    socket.once('error', reject)
  })
  socket.on('error', () => {})
  socket.setNoDelay(true)

  const reply = (): Promise<string> => {
    const ready = replies.shift()
    if (ready !== undefined) return Promise.resolve(ready)
    if (isOver) return Promise.reject(new Error('the connection ended before the reply'))
    return new Promise((resolve, reject) => waiting.push({ resolve, reject }))
  }
  return {
    socket,
    write: (bytes) => void socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes),
    ask(content) {
      const bytes = typeof content === 'string' ? Buffer.from(content, 'latin1') : content
      socket.write(Buffer.concat([Buffer.from([0x0b]), bytes, Buffer.from([0x1c, 0x0d])]))
      return reply()
    },
    reply,
    async ended() {
      if (!isOver) await new Promise<void>((resolve) => over.push(resolve))
      return replies.splice(0)
    },
    end: () => void socket.end(),
  }
}
