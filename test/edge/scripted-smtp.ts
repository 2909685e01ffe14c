import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { createSecureContext, createServer as createTlsServer, TLSSocket } from 'node:tls'

/** Where in the dialogue the server is asked what to do. `DOT`: the content is complete. */
export type Verb =
  'CONNECT' | 'EHLO' | 'HELO' | 'STARTTLS' | 'AUTH' | 'MAIL' | 'RCPT' | 'DATA' | 'DOT' | 'RSET' | 'QUIT'

interface Step {
  readonly verb: Verb
  readonly line: string
  /** 1 for the first connection. */
  readonly session: number
  /** Mails completed on this connection so far. */
  readonly mails: number
}

/** A reply line, silence, or a cut connection. Undefined: what a friendly server says. */
export type Answer = string | 'hang' | 'close' | undefined

export interface Script {
  readonly answer?: (step: Step) => Answer
  /** EHLO keywords beside STARTTLS and AUTH. */
  readonly extensions?: readonly string[]
  readonly tls?: { readonly key: string; readonly cert: string; readonly maxVersion?: 'TLSv1.1' }
  readonly implicitTls?: boolean
  readonly login?: boolean
  /** Cuts the connection, or stops reading, after this many octets of content. */
  readonly content?: { readonly after: number; readonly then: 'close' | 'hang' | string }
  readonly host?: string
}

export interface ScriptedSmtp {
  readonly port: number
  /** Every command line, in the order of arrival, over all connections. */
  readonly commands: string[]
  /** Content of every mail that ended with the dot and was answered 2xx, dots unstuffed. */
  readonly mails: Buffer[]
  /** Octets of content seen, also of mails that never ended. */
  readonly contentOctets: () => number
  readonly sessions: () => number
  readonly open: () => number
  /** Cuts every connection that is open. */
  cut(): void
  /** Resolves once a connection ended after this call, or none is open. */
  quiet(): Promise<void>
  close(): Promise<void>
}

/** A mail server that does exactly what its script says, so that every outcome of the client can be provoked. */
export async function scriptedSmtp(script: Script = {}): Promise<ScriptedSmtp> {
  const commands: string[] = []
  const mails: Buffer[] = []
  const sockets = new Set<Socket>()
  let contentOctets = 0
  let sessions = 0

  const serve = (plain: Socket): void => {
    const session = ++sessions
    sockets.add(plain)
    plain.on('close', () => sockets.delete(plain))
    plain.on('error', () => {})
    let socket: Socket = plain
    let secure = script.implicitTls === true
    let pending = Buffer.alloc(0)
    let isContent = false
    let taken = 0
    let completed = 0
    let recipients = 0
    let silent = false

    const act = (verb: Verb, line: string, friendly: string): boolean => {
      const answer = script.answer?.({ verb, line, session, mails: completed }) ?? friendly
      if (answer === 'hang') silent = true
      if (silent) return false
      if (answer === 'close') socket.destroy()
      else socket.write(`${answer}\r\n`)
      return /^[23]/.test(answer)
    }

    const command = (line: string): void => {
      commands.push(line)
      const verb = line.split(/[ :]/)[0]!.toUpperCase()
      switch (verb) {
        case 'EHLO': {
          const keywords = [
            ...(script.extensions ?? ['PIPELINING']),
            ...(script.tls !== undefined && !secure ? ['STARTTLS'] : []),
            ...(script.login === true ? ['AUTH PLAIN'] : []),
          ]
          const lines = ['scripted.example', ...keywords]
          act('EHLO', line, lines.map((l, i) => `250${i === lines.length - 1 ? ' ' : '-'}${l}`).join('\r\n'))
          return
        }
        case 'STARTTLS':
          if (act('STARTTLS', line, script.tls === undefined ? '502 5.5.1 not here' : '220 go ahead'))
            upgrade()
          return
        case 'DATA':
          if (act('DATA', line, recipients > 0 ? '354 go ahead' : '554 5.5.1 no valid recipients')) {
            isContent = true
            taken = 0
          }
          return
        case 'AUTH':
          act('AUTH', line, '235 2.7.0 welcome')
          return
        case 'QUIT':
          act('QUIT', line, '221 bye')
          socket.end()
          return
        case 'RCPT':
          if (act(verb, line, '250 2.1.5 ok')) recipients++
          return
        case 'HELO':
        case 'MAIL':
        case 'RSET':
          recipients = 0
          act(verb, line, '250 2.0.0 ok')
          return
        default:
          socket.write('500 5.5.2 what?\r\n')
      }
    }

    const receive = (chunk: Buffer): void => {
      pending = Buffer.concat([pending, chunk])
      for (;;) {
        if (isContent) {
          contentOctets += chunk.length
          taken += chunk.length
          const limit = script.content
          if (limit !== undefined && taken >= limit.after) {
            if (limit.then === 'close') socket.destroy()
            else if (limit.then === 'hang') socket.pause()
            else {
              socket.write(`${limit.then}\r\n`)
              socket.pause()
            }
            return
          }
          const whole = pending.subarray(0, 3).equals(dot) ? -2 : pending.indexOf(end)
          if (whole === -1) return
          const content = pending.subarray(0, whole + 2)
          pending = pending.subarray(whole + 5)
          chunk = Buffer.alloc(0)
          isContent = false
          const accepted = act('DOT', '.', '250 2.0.0 queued')
          completed++
          if (accepted) mails.push(unstuffed(content))
        } else {
          const feed = pending.indexOf('\r\n')
          if (feed === -1) return
          const line = pending.subarray(0, feed).toString('latin1')
          pending = pending.subarray(feed + 2)
          chunk = pending
          command(line)
        }
      }
    }

    const upgrade = (): void => {
      plain.removeAllListeners('data')
      secure = true
      const tls = new TLSSocket(plain, {
        isServer: true,
        secureContext: createSecureContext({
          ...script.tls!,
          ...(script.tls!.maxVersion === undefined
            ? {}
            : { minVersion: 'TLSv1', ciphers: 'ALL:@SECLEVEL=0' }),
        }),
      })
      tls.on('error', () => {})
      tls.on('data', receive)
      socket = tls
      pending = Buffer.alloc(0)
    }

    socket.on('data', receive)
    act('CONNECT', '', '220 scripted.example ESMTP')
  }

  const server =
    script.implicitTls === true ? createTlsServer({ ...script.tls! }, serve) : createServer(serve)
  server.on('tlsClientError', () => {})
  server.listen(0, script.host ?? '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    commands,
    mails,
    contentOctets: () => contentOctets,
    sessions: () => sessions,
    open: () => sockets.size,
    cut: () => sockets.forEach((socket) => socket.destroy()),
    async quiet() {
      await Promise.all([...sockets].map((socket) => once(socket, 'close')))
    },
    async close() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

const end = Buffer.from('\r\n.\r\n')
const dot = Buffer.from('.\r\n')

function unstuffed(content: Buffer): Buffer {
  return Buffer.from(content.toString('latin1').replace(/^\.\./gm, '.'), 'latin1')
}
