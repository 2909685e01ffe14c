import dgram from 'node:dgram'
import net from 'node:net'
import packet from 'dns-packet'
import { live, type Happening } from './life.ts'

/**
 * One record of the zone. `CERT` holds the DER of a certificate in base64 (type 1, PKIX) unless `certType` says otherwise
 * (RFC 4398 §2.1).
 */
export type ZoneRecord =
  | { type: 'CERT'; name: string; ttl?: number; certificate: string; certType?: number }
  | { type: 'A' | 'AAAA' | 'CNAME' | 'NS' | 'TXT'; name: string; ttl?: number; data: string }
  | { type: 'MX'; name: string; ttl?: number; preference: number; exchange: string }
  | {
      type: 'SRV'
      name: string
      ttl?: number
      priority: number
      weight: number
      port: number
      target: string
    }

/** How a name misbehaves instead of being answered. */
export type Misbehaviour =
  | 'servfail'
  | 'refused'
  | 'silence'
  | 'nxdomain'
  /** Truncated over UDP and closed without a word over TCP. */
  | 'truncated'
  /** The right answer under another id, as a blind spoofer would send; nothing else follows. */
  | 'wrong-id'
  /** An answer to another question. */
  | 'wrong-question'
  /** Bytes that are no DNS message, under the right id. */
  | 'garbage'

const udpBytesWithoutEdns = 512 // RFC 1035 §4.2.1
const recordTtlSeconds = 60
const cnameHops = 8

const rcodes = { NOERROR: 0, FORMERR: 1, SERVFAIL: 2, NXDOMAIN: 3, NOTIMP: 4, REFUSED: 5 }

/** A DNS server with CERT records: UDP with EDNS0 and truncation, TCP, on one port. */
export async function serveDns(tell: (happening: Happening) => void, port: number) {
  let records: ZoneRecord[] = []
  const misbehaviours = new Map<string, { how: Misbehaviour; times: number }>()
  const { udp, tcp } = await bothSockets(port)

  const reply = (query: Buffer, over: 'udp' | 'tcp'): Buffer | undefined => {
    let asked: packet.Packet
    try {
      asked = packet.decode(query)
    } catch {
      return undefined
    }
    const question = asked.questions?.[0]
    if (asked.type !== 'query' || question === undefined) return undefined
    const edns = asked.additionals?.find((record) => record.type === 'OPT') as
      { udpPayloadSize?: number } | undefined
    const bytesMax =
      over === 'tcp' ? 65535 : Math.max(udpBytesWithoutEdns, edns?.udpPayloadSize ?? udpBytesWithoutEdns)
    const name = spelled(question.name)
    const misbehaviour = misbehaviours.get(name)
    if (misbehaviour !== undefined && --misbehaviour.times <= 0) misbehaviours.delete(name)
    const how = misbehaviour?.how
    const { answers, exists } = answersTo(records, name, question.type)
    const rcode =
      how === 'servfail'
        ? rcodes.SERVFAIL
        : how === 'refused'
          ? rcodes.REFUSED
          : how === 'nxdomain' || !exists
            ? rcodes.NXDOMAIN
            : rcodes.NOERROR
    const told = { what: 'asked', name, type: question.type, over, edns: edns?.udpPayloadSize ?? 0 }
    if (how === 'silence' || (how === 'truncated' && over === 'tcp')) {
      tell({ ...told, answered: how })
      return undefined
    }
    const build = (included: packet.Answer[], truncated: boolean) =>
      packet.encode({
        type: 'response',
        id: how === 'wrong-id' ? ((asked.id ?? 0) + 1) & 0xffff : (asked.id ?? 0),
        flags:
          packet.AUTHORITATIVE_ANSWER |
          ((asked.flags ?? 0) & packet.RECURSION_DESIRED) |
          (truncated ? packet.TRUNCATED_RESPONSE : 0) |
          rcode,
        questions: [how === 'wrong-question' ? { ...question, name: `other.${question.name}` } : question],
        answers: included,
        additionals:
          edns === undefined
            ? []
            : [
                {
                  type: 'OPT',
                  name: '.',
                  udpPayloadSize: 1232,
                  extendedRcode: 0,
                  ednsVersion: 0,
                  flags: 0,
                  flag_do: false,
                  options: [],
                },
              ],
      })
    if (how === 'garbage') {
      const bytes = Buffer.from(query)
      bytes.fill(0xff, 2)
      tell({ ...told, answered: how })
      return bytes
    }
    const whole = build(rcode === 0 ? answers : [], how === 'truncated')
    const truncated = how === 'truncated' || whole.length > bytesMax
    tell({
      ...told,
      answered:
        how ??
        (rcode === rcodes.NXDOMAIN
          ? 'nxdomain'
          : truncated
            ? 'truncated'
            : `${answers.length} ${answers.length === 1 ? 'record' : 'records'}`),
    })
    return truncated ? build([], true) : whole
  }

  udp.on('message', (query, from) => {
    const answer = reply(query, 'udp')
    if (answer !== undefined) udp.send(answer, from.port, from.address)
  })
  tcp.on('connection', (socket) => {
    let pending = Buffer.alloc(0)
    socket.on('error', () => {})
    socket.on('data', (chunk) => {
      pending = Buffer.concat([pending, chunk])
      while (pending.length >= 2 && pending.length >= 2 + pending.readUInt16BE(0)) {
        const query = pending.subarray(2, 2 + pending.readUInt16BE(0))
        pending = pending.subarray(2 + query.length)
        const answer = reply(Buffer.from(query), 'tcp')
        if (answer === undefined) return void socket.destroy()
        const length = Buffer.alloc(2)
        length.writeUInt16BE(answer.length)
        socket.write(Buffer.concat([length, answer]))
      }
    })
  })

  return {
    port: udp.address().port,
    commands: {
      /** `{ records: ZoneRecord[] }` */
      add: ({ records: added }: { records: ZoneRecord[] }) => {
        for (const record of added) records.push({ ...record, name: spelled(record.name) })
      },
      /** `{ name, type? }`: without a type, everything of that name. */
      remove: ({ name, type }: { name: string; type?: string }) => {
        records = records.filter(
          (record) => record.name !== spelled(name) || (type !== undefined && record.type !== type),
        )
      },
      /** An empty zone that behaves. */
      clear: () => {
        records = []
        misbehaviours.clear()
      },
      /** `{ name, how, times? }`: the next `times` answers (default: all) about that name. `how: 'normal'` ends it. */
      misbehave: ({ name, how, times }: { name: string; how: Misbehaviour | 'normal'; times?: number }) => {
        if (how === 'normal') misbehaviours.delete(spelled(name))
        else misbehaviours.set(spelled(name), { how, times: times ?? Infinity })
      },
    },
    close: () => {
      udp.close()
      tcp.close()
    },
  }
}

/** Names are compared without case and without the final dot (RFC 1035 §2.3.3). */
function spelled(name: string): string {
  return name.toLowerCase().replace(/\.$/, '')
}

/** The records for a question, CNAMEs followed within the zone. A name exists where it, or one below it, has a record. */
function answersTo(records: readonly ZoneRecord[], asked: string, type: string) {
  const answers: packet.Answer[] = []
  let name = asked
  for (let hop = 0; hop < cnameHops; hop++) {
    const here = records.filter((record) => record.name === name)
    answers.push(...here.filter((record) => record.type === type).map(encodable))
    const alias = here.find((record) => record.type === 'CNAME')
    if (alias?.type !== 'CNAME' || type === 'CNAME') break
    answers.push(encodable(alias))
    name = spelled(alias.data)
  }
  const exists = records.some((record) => record.name === asked || record.name.endsWith(`.${asked}`))
  return { answers, exists }
}

function encodable(record: ZoneRecord): packet.Answer {
  const common = { name: record.name, class: 'IN' as const, ttl: record.ttl ?? recordTtlSeconds }
  switch (record.type) {
    case 'CERT': {
      const head = Buffer.alloc(5) // type, key tag 0, algorithm 0 (RFC 4398 §2)
      head.writeUInt16BE(record.certType ?? 1)
      // dns-packet knows the number of CERT but not its content: it takes the bytes as they are.
      return {
        ...common,
        type: 'CERT',
        data: Buffer.concat([head, Buffer.from(record.certificate, 'base64')]),
      } as unknown as packet.Answer
    }
    case 'MX':
      return {
        ...common,
        type: 'MX',
        data: { preference: record.preference, exchange: record.exchange },
      }
    case 'SRV':
      return {
        ...common,
        type: 'SRV',
        data: {
          priority: record.priority,
          weight: record.weight,
          port: record.port,
          target: record.target,
        },
      }
    default:
      return { ...common, type: record.type, data: record.data }
  }
}

/** UDP and TCP on the same port; a free one may be taken for the other protocol, so a few are tried. */
async function bothSockets(port: number): Promise<{ udp: dgram.Socket; tcp: net.Server }> {
  for (let attempt = 1; ; attempt++) {
    const tcp = net.createServer()
    await new Promise<void>((resolve, reject) =>
      tcp.once('error', reject).listen(port, '127.0.0.1', () => resolve()),
    )
    const udp = dgram.createSocket('udp4')
    try {
      await new Promise<void>((resolve, reject) =>
        udp.once('error', reject).bind((tcp.address() as net.AddressInfo).port, '127.0.0.1', () => resolve()),
      )
      return { udp, tcp }
    } catch (error) {
      tcp.close()
      if (port !== 0 || attempt === 10) throw error
    }
  }
}

if (import.meta.main) await live(serveDns)
