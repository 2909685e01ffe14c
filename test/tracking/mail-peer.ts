import { once } from 'node:events'
import { connect as connectPlain, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import type { MailListener } from '../../src/tracking/inbound-listener.ts'

/** A peer that speaks SMTP or LMTP by hand, octet by octet, so that it can misbehave. */
export interface MailPeer {
  /** Writes as it is, without waiting. */
  write(octets: string | Buffer): void
  /** The next reply, its lines joined; `closed` once the connection has ended. */
  reply(): Promise<string>
  /** One command and its reply. */
  say(line: string): Promise<string>
  /** EHLO (or LHLO), MAIL, RCPT, DATA, each of which must be taken. */
  begin(to?: readonly string[], greeting?: 'EHLO' | 'LHLO'): Promise<void>
  /** STARTTLS, without checking who answers. */
  secure(): Promise<void>
  hangUp(): void
}

export const ours = 'transmit@direct.ashby.example'
export const ellen = 'ellen.ross@direct.somephr.example'

export async function aPeer(at: MailListener['at']): Promise<MailPeer> {
  let socket: Socket = 'path' in at ? connectPlain(at.path) : connectPlain(at.port, at.host)
  let text = ''
  let ended = false
  let wake = (): void => {}
  const listen = (): void => {
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1')
      wake()
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      ended = true
      wake()
    })
  }
  listen()

  const peer: MailPeer = {
    write: (octets) => void socket.write(octets),
    async reply() {
      for (;;) {
        const whole = /^(?:\d{3}-[^\r\n]*\r\n)*\d{3}(?: [^\r\n]*)?\r\n/.exec(text)?.[0]
        if (whole !== undefined) {
          text = text.slice(whole.length)
          return whole.trimEnd().replace(/\r\n/g, '\n')
        }
        if (ended) return 'closed'
        await new Promise<void>((resolve) => (wake = resolve))
      }
    },
    say(line) {
      socket.write(`${line}\r\n`)
      return peer.reply()
    },
    async begin(to = [ours], greeting = 'EHLO') {
      const replies = [
        await peer.say(`${greeting} direct.somephr.example`),
        await peer.say(`MAIL FROM:<${ellen}>`),
      ]
      for (const address of to) replies.push(await peer.say(`RCPT TO:<${address}>`))
      replies.push(await peer.say('DATA'))
      const refusal = replies.find((reply) => !/^[23]/.test(reply))
      if (refusal !== undefined) throw new Error(refusal)
    },
    async secure() {
      const answer = await peer.say('STARTTLS')
      if (!answer.startsWith('220')) throw new Error(answer)
      socket.removeAllListeners()
      const secured = connectTls({ socket, rejectUnauthorized: false })
      socket.on('error', () => {})
      socket = secured
      listen()
      await once(secured, 'secureConnect')
    },
    hangUp: () => socket.destroy(),
  }
  const greeting = await peer.reply()
  // What is refused at the door is told by the next reply().
  if (!greeting.startsWith('220')) text = `${greeting}\r\n${text}`
  return peer
}
