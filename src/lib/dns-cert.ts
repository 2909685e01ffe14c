import { randomInt } from 'node:crypto'
import dgram from 'node:dgram'
import dns from 'node:dns'
import net from 'node:net'
import packet from 'dns-packet'

/** One CERT resource record (RFC 4398 §2). `type` 1 is PKIX (DER of an X.509 certificate), 4 IPKIX and 253 URI. */
export interface CertRecord {
  readonly type: number
  readonly keyTag: number
  readonly algorithm: number
  readonly data: Buffer
}

/**
 * What DNS says about a name. `absent` is a definite answer of a server; whatever leaves the question open (SERVFAIL,
 * REFUSED, silence, a broken answer) is `failed`, so that a blocked resolver is never taken for “no certificate”.
 */
export type CertAnswer =
  | {
      readonly outcome: 'answer'
      readonly records: readonly CertRecord[]
      readonly ttlSeconds: number
      readonly via: 'udp' | 'tcp'
      readonly server: string
    }
  | {
      readonly outcome: 'absent'
      readonly kind: 'nxdomain' | 'nodata'
      readonly ttlSeconds: number
      readonly server: string
    }
  | { readonly outcome: 'failed'; readonly because: string }

export interface CertQuestionOptions {
  /** `192.0.2.1`, `192.0.2.1:5353`, `[2001:db8::1]:53`; `system` takes those of the operating system. */
  readonly servers?: readonly string[] | 'system'
  /** For one exchange with one server. */
  readonly timeoutMs?: number
  /** Rounds over all servers. */
  readonly attempts?: number
  /** For everything together, aliases included. */
  readonly deadlineMs?: number
  readonly signal?: AbortSignal
}

/** Fits every path without fragments (DNS flag day 2020). */
const ednsUdpBytes = 1232
/** A TCP message has a 16-bit length (RFC 1035 §4.2.2). */
const messageBytesMax = 65_535
const timeoutMsDefault = 2_500
const attemptsDefault = 2
const deadlineMsDefault = 20_000
/** RFC 1034 §3.6.2 asks to follow chains and to catch loops; resolvers commonly stop at 8 to 16. */
const aliasesMax = 8
/** RFC 1035 §2.3.4. */
const labelOctetsMax = 63
const nameOctetsMax = 255
/** Without an SOA a negative answer is not to be cached long (RFC 2308 §5). */
const negativeTtlSecondsDefault = 60
/** RFC 2181 §8. */
const ttlSecondsMax = 2 ** 31 - 1

/**
 * Looks up the CERT records of a name: UDP with EDNS0, TCP where the answer was cut, aliases followed, several servers
 * in turn. Node's own resolver cannot ask for this type.
 *
 * Spoofing: random id, fresh source port on a connected socket, the question must come back; anything else is ignored
 * and the wait goes on.
 *
 * @param name labels separated by dots, no escapes; octets other than letters and digits are sent as they are
 * @example await resolveCert('ellen.ross.direct.somephr.example', { servers: ['127.0.0.1:15353'] })
 *          // { outcome: 'answer', records: [{ type: 1, keyTag: 0, algorithm: 0, data: <DER> }], ttlSeconds: 60, … }
 */
export async function resolveCert(name: string, options: CertQuestionOptions = {}): Promise<CertAnswer> {
  if (!fitsDns(name)) return { outcome: 'failed', because: 'the name does not fit into DNS' }
  const readings = (
    options.servers === undefined || options.servers === 'system' ? dns.getServers() : options.servers
  ).map(readServer)
  const servers = readings.filter((server) => server !== undefined)
  if (servers.length < readings.length || servers.length === 0)
    return {
      outcome: 'failed',
      because: 'no usable DNS server is configured (wanted: address or address:port)',
    }
  const deadline = AbortSignal.timeout(options.deadlineMs ?? deadlineMsDefault)
  const signal = options.signal === undefined ? deadline : AbortSignal.any([deadline, options.signal])
  const patience = {
    timeoutMs: options.timeoutMs ?? timeoutMsDefault,
    attempts: options.attempts ?? attemptsDefault,
    signal,
  }

  const seen = new Set<string>()
  let wanted = spelled(name)
  let ttlSeconds = ttlSecondsMax
  while (seen.size <= aliasesMax) {
    seen.add(wanted)
    const reply = await askAround(wanted, servers, patience)
    if (typeof reply === 'string') return { outcome: 'failed', because: reply }
    const reading = readReply(reply, wanted, seen)
    if (reading.outcome === 'failed') return reading
    ttlSeconds = Math.min(ttlSeconds, reading.ttlSeconds)
    if (reading.outcome !== 'alias') return { ...reading, ttlSeconds }
    wanted = reading.target
  }
  return { outcome: 'failed', because: `more than ${aliasesMax} aliases (CNAME) one after the other` }
}

/** Can this be the name of a DNS record at all (RFC 1035 §2.3.4)? */
export function fitsDns(name: string): boolean {
  const octets = Buffer.from(name.replace(/\.$/, ''), 'utf8')
  if (octets.length + 2 > nameOctetsMax) return false
  return name
    .replace(/\.$/, '')
    .split('.')
    .every((label) => label.length > 0 && Buffer.byteLength(label) <= labelOctetsMax)
}

interface Server {
  readonly host: string
  readonly port: number
  readonly text: string
}

function readServer(text: string): Server | undefined {
  const port = (digits: string | undefined) => (digits === undefined ? 53 : Number(digits))
  const bracketed = /^\[([^\]]+)\](?::(\d{1,5}))?$/.exec(text)
  const plain = /^([^:]+)(?::(\d{1,5}))?$/.exec(text)
  const server = net.isIPv6(text)
    ? { host: text, port: 53, text }
    : bracketed !== null
      ? { host: bracketed[1]!, port: port(bracketed[2]), text }
      : plain !== null
        ? { host: plain[1]!, port: port(plain[2]), text }
        : undefined
  if (server === undefined || net.isIP(server.host) === 0) return undefined
  return server.port >= 1 && server.port <= 65_535 ? server : undefined
}

interface Patience {
  readonly timeoutMs: number
  readonly attempts: number
  readonly signal: AbortSignal
}

interface Reply {
  readonly message: packet.DecodedPacket
  readonly via: 'udp' | 'tcp'
  readonly server: string
}

/** The first definite reply (NOERROR, NXDOMAIN) of any server, or why there is none. */
async function askAround(
  name: string,
  servers: readonly Server[],
  patience: Patience,
): Promise<Reply | string> {
  let because = 'no server was asked'
  for (let round = 0; round < patience.attempts; round++)
    for (const server of servers) {
      const reply = await ask(name, server, patience)
      if (typeof reply !== 'string') return reply
      because = `${server.text}: ${reply}`
      if (patience.signal.aborted) return `given up; last, ${because}`
    }
  return because
}

async function ask(name: string, server: Server, patience: Patience): Promise<Reply | string> {
  let edns = true
  for (;;) {
    const overUdp = await exchange(name, server, patience, 'udp', edns)
    if (typeof overUdp === 'string') return overUdp
    const cut = overUdp.flag_tc
    const message = cut ? await exchange(name, server, patience, 'tcp', edns) : overUdp
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
function rcodeOf(message: packet.DecodedPacket): number {
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
  name: string,
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
    questions: [{ type: 'CERT', class: 'IN', name }],
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
      const message = readMessage(bytes, id, name)
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
function readMessage(bytes: Buffer, id: number, name: string): packet.DecodedPacket | string {
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
    question.type !== 'CERT' ||
    question.class !== 'IN' ||
    spelled(question.name) !== name
  )
    return 'another question'
  return message
}

type ReplyReading =
  CertAnswer | { readonly outcome: 'alias'; readonly target: string; readonly ttlSeconds: number }

function readReply({ message, via, server }: Reply, asked: string, seen: Set<string>): ReplyReading {
  const answers = internetRecords(message.answers)
  let name = asked
  let ttlSeconds = ttlSecondsMax
  for (;;) {
    const here = answers.filter((record) => spelled(record.name) === name)
    const certs = here.filter((record) => record.type === 'CERT')
    if (certs.length > 0) {
      for (const record of certs) ttlSeconds = Math.min(ttlSeconds, ttlOf(record.ttl))
      const records = certs.map(readCertRecord).filter((record) => record !== undefined)
      return { outcome: 'answer', records, ttlSeconds, via, server }
    }
    const alias = here.find((record) => record.type === 'CNAME')
    if (alias === undefined) break
    ttlSeconds = Math.min(ttlSeconds, ttlOf(alias.ttl))
    const target = spelled(String(alias.data))
    if (seen.has(target))
      return { outcome: 'failed', because: 'the aliases (CNAME) of the name run in a circle' }
    if (seen.size > aliasesMax)
      return { outcome: 'failed', because: `more than ${aliasesMax} aliases (CNAME) one after the other` }
    if (!fitsDns(target)) return { outcome: 'failed', because: 'an alias (CNAME) that is no name' }
    seen.add(target)
    name = target
  }
  const soa = message.authorities?.find((record) => record.type === 'SOA')
  if (rcodeOf(message) === 0 && name !== asked && soa === undefined) {
    // The server knew the alias only; its target is asked for on its own.
    seen.delete(name)
    return { outcome: 'alias', target: name, ttlSeconds }
  }
  // RFC 2308 §5: the smaller of the SOA's own TTL and its MINIMUM.
  const negativeTtl =
    soa === undefined ? negativeTtlSecondsDefault : Math.min(ttlOf(soa.ttl), ttlOf(soa.data.minimum))
  return {
    outcome: 'absent',
    kind: rcodeOf(message) === 3 ? 'nxdomain' : 'nodata',
    ttlSeconds: Math.min(ttlSeconds, negativeTtl),
    server,
  }
}

/** The records of class IN, with the fields that are read here; dns-packet types each kind of record apart. */
function internetRecords(records: readonly packet.Answer[] | undefined): Resource[] {
  return (records ?? []).filter((record) => 'class' in record && record.class === 'IN') as Resource[]
}

interface Resource {
  readonly name: string
  readonly type: string
  readonly ttl?: number
  readonly data: unknown
}

/** dns-packet has no reading of CERT and hands out its bytes. Records too short to be one are left out. */
function readCertRecord({ data: bytes }: Resource): CertRecord | undefined {
  if (!Buffer.isBuffer(bytes) || bytes.length <= 5) return undefined
  return {
    type: bytes.readUInt16BE(0),
    keyTag: bytes.readUInt16BE(2),
    algorithm: bytes[4]!,
    data: Buffer.from(bytes.subarray(5)),
  }
}

/** RFC 2181 §8: a TTL with its highest bit set means zero. */
function ttlOf(ttl: number | undefined): number {
  return ttl === undefined || ttl < 0 || ttl > ttlSecondsMax ? 0 : ttl
}

/** Names are compared without case and without the final dot (RFC 1035 §2.3.3). */
function spelled(name: string): string {
  return name.toLowerCase().replace(/\.$/, '')
}
