import { randomInt } from 'node:crypto'
import dgram from 'node:dgram'
import net from 'node:net'
import packet from 'dns-packet'
import { spelled } from './dns-name.ts'
import type { Server } from './dns-server.ts'

/** Fits every path without fragments (DNS flag day 2020). */
const ednsUdpBytes = 1232
/** A TCP message has a 16-bit length (RFC 1035 §4.2.2). */
const messageBytesMax = 65_535

/** What discovery asks for: certificates (RFC 4398) and directories (RFC 2782). */
export type RecordType = 'CERT' | 'SRV'

interface Asked {
  readonly name: string
  readonly type: RecordType
}

export interface Patience {
  readonly timeoutMs: number
  readonly attempts: number
  readonly signal: AbortSignal
}

export interface Reply {
  readonly message: packet.DecodedPacket
  readonly via: 'udp' | 'tcp'
  readonly server: string
}

/** The first definite reply (NOERROR, NXDOMAIN) of any server, or why there is none. */
export async function askAround(
  name: string,
  type: RecordType,
  servers: readonly Server[],
  patience: Patience,
): Promise<Reply | string> {
  let because = 'no server was asked'
  for (let round = 0; round < patience.attempts; round++)
    for (const server of servers) {
      const reply = await ask({ name, type }, server, patience)
      if (typeof reply !== 'string') return reply
      because = `${server.text}: ${reply}`
      if (patience.signal.aborted) return `given up; last, ${because}`
    }
  return because
}

async function ask(asked: Asked, server: Server, patience: Patience): Promise<Reply | string> {
  let edns = true
  for (;;) {
    const overUdp = await exchange(asked, server, patience, 'udp', edns)
    if (typeof overUdp === 'string') return overUdp
    const cut = overUdp.flag_tc
    const message = cut ? await exchange(asked, server, patience, 'tcp', edns) : overUdp
    if (typeof message === 'string')
      return `the answer was cut (UDP) and could not be had over TCP: ${message}`
    const rcode = rcodeOf(message)
    // A server from before EDNS says FORMERR or NOTIMP (RFC 6891 §7).
    if (edns && (rcode === 1 || rcode === 4)) {
      edns = false
      continue
    }
    if (rcode !== 0 && rcode !== 3) return `answered ${rcodeNames[rcode] ?? `RCODE ${rcode}`}`
    if (isReferral(message)) return 'does not resolve for us: it only names other servers'
    return { message, via: cut ? 'tcp' : 'udp', server: server.text }
  }
}

const rcodeNames: Readonly<Record<number, string>> = {
  1: 'FORMERR',
  2: 'SERVFAIL',
  4: 'NOTIMP',
  5: 'REFUSED',
}

/** dns-packet names the low four bits only; the flags are their source, the rest is in OPT (RFC 6891 §6.1.3). */
export function rcodeOf(message: packet.DecodedPacket): number {
  const opt = message.additionals?.find((record) => record.type === 'OPT') as
    { extendedRcode?: number } | undefined
  return ((opt?.extendedRcode ?? 0) << 4) | ((message.flags ?? 0) & 0xf)
}

/** A server that neither knows nor recurses names the zone's servers (RFC 2308 §2.2: no SOA, but NS). */
function isReferral(message: packet.DecodedPacket): boolean {
  const authority = message.authorities ?? []
  return (
    (message.answers ?? []).length === 0 &&
    !message.flag_aa &&
    authority.some((record) => record.type === 'NS') &&
    !authority.some((record) => record.type === 'SOA')
  )
}

/** One question and its answer, or why there was none. Never rejects. */
function exchange(
  asked: Asked,
  server: Server,
  patience: Patience,
  via: 'udp' | 'tcp',
  edns: boolean,
): Promise<packet.DecodedPacket | string> {
  const id = randomInt(65_536)
  const question = packet.encode({
    type: 'query',
    id,
    flags: packet.RECURSION_DESIRED,
    questions: [{ type: asked.type, class: 'IN', name: asked.name }],
    additionals: edns
      ? [
          {
            type: 'OPT',
            name: '.',
            udpPayloadSize: ednsUdpBytes,
            extendedRcode: 0,
            ednsVersion: 0,
            flags: 0,
            flag_do: false,
            options: [],
          },
        ]
      : [],
  })
  return new Promise((resolve) => {
    let odd: string | undefined
    const timer = setTimeout(
      () => settle(odd ?? `no answer within ${patience.timeoutMs} ms (${via.toUpperCase()})`),
      patience.timeoutMs,
    )
    const cancelled = () => settle('cancelled')
    patience.signal.addEventListener('abort', cancelled, { once: true })
    let isSettled = false
    const settle = (result: packet.DecodedPacket | string) => {
      if (isSettled) return
      isSettled = true
      clearTimeout(timer)
      patience.signal.removeEventListener('abort', cancelled)
      close()
      resolve(result)
    }
    const failed = (error: Error & { code?: string }) =>
      settle(`${error.code ?? error.message} (${via.toUpperCase()})`)
    const heard = (bytes: Buffer) => {
      const message = readMessage(bytes, id, asked)
      if (typeof message !== 'string') settle(message)
      else odd = `only unusable answers came: ${message}`
    }
    const close =
      via === 'udp'
        ? askOverUdp(question, server, heard, failed)
        : askOverTcp(question, server, heard, failed, () => settle(odd ?? 'the connection was closed (TCP)'))
    if (patience.signal.aborted) cancelled()
  })
}

type Heard = (bytes: Buffer) => void
type Broke = (error: Error) => void

function askOverUdp(question: Buffer, server: Server, heard: Heard, broke: Broke): () => void {
  const socket = dgram.createSocket(net.isIPv6(server.host) ? 'udp6' : 'udp4')
  let isClosed = false
  socket.on('error', broke)
  socket.on('message', heard)
  socket.on('close', () => (isClosed = true))
  // Connected: the kernel drops what comes from elsewhere, and an unreachable port is told at once.
  socket.connect(server.port, server.host, () => {
    if (!isClosed) socket.send(question, (error) => error && broke(error))
  })
  return () => {
    if (!isClosed) socket.close()
    isClosed = true
  }
}

function askOverTcp(
  question: Buffer,
  server: Server,
  heard: Heard,
  broke: Broke,
  ended: () => void,
): () => void {
  const socket = net.connect(server.port, server.host, () => {
    const length = Buffer.alloc(2)
    length.writeUInt16BE(question.length)
    socket.write(Buffer.concat([length, question]))
  })
  let received = Buffer.alloc(0)
  socket.on('data', (chunk) => {
    received = Buffer.concat([received, chunk])
    if (received.length < 2) return
    const length = received.readUInt16BE(0)
    if (received.length >= 2 + length) {
      heard(received.subarray(2, 2 + length))
      ended()
    } else if (received.length > 2 + messageBytesMax) ended()
  })
  socket.on('error', broke)
  socket.on('close', ended)
  return () => socket.destroy()
}

/** The message when it answers this question; else what is wrong with it. */
function readMessage(bytes: Buffer, id: number, asked: Asked): packet.DecodedPacket | string {
  if (bytes.length < 12 || bytes.readUInt16BE(0) !== id) return 'another id'
  let message: packet.DecodedPacket
  try {
    message = packet.decode(bytes)
  } catch {
    return 'not a DNS message'
  }
  if (message.type !== 'response') return 'not a response'
  const [question, ...more] = message.questions ?? []
  // With FORMERR a server may leave the question out (RFC 1035 §4.1.1 gives it nothing to copy from).
  if (question === undefined) return rcodeOf(message) === 1 ? message : 'the question is not repeated'
  if (
    more.length > 0 ||
    question.type !== asked.type ||
    question.class !== 'IN' ||
    spelled(question.name) !== asked.name
  )
    return 'another question'
  return message
}
