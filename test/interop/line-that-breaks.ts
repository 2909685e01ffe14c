import { once } from 'node:events'
import { connect, createServer, type AddressInfo } from 'node:net'

/** More than TLS and SMTP say before the content begins, less than any sealed message. */
const beforeContent = 12_000

/** A line to a server on 127.0.0.1 that can lose the answer to a whole message, and break. */
export async function lineThatBreaks(port: number) {
  const line = { losesAnswers: 0, lost: 0 }
  const server = createServer((near) => {
    const far = connect(port, '127.0.0.1')
    let said = 0
    const end = () => {
      near.destroy()
      far.destroy()
    }
    for (const socket of [near, far]) socket.on('error', end).on('close', end)
    near.on('data', (chunk: Buffer) => {
      said += chunk.length
      far.write(chunk)
    })
    far.on('data', (chunk: Buffer) => {
      if (said < beforeContent || line.losesAnswers === 0) near.write(chunk)
      else {
        line.losesAnswers--
        line.lost++
        end()
      }
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return Object.assign(line, {
    port: (server.address() as AddressInfo).port,
    close: () => void server.close(),
  })
}
