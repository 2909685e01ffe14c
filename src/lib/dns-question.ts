import dns from 'node:dns'
import type packet from 'dns-packet'
import { askAround, rcodeOf, type RecordType, type Reply } from './dns-exchange.ts'
import { fitsDns, spelled } from './dns-name.ts'
import { readServer } from './dns-server.ts'

/**
 * What DNS says about a name. `absent` is a definite answer of a server; whatever leaves the question open (SERVFAIL,
 * REFUSED, silence, a broken answer) is `failed`, so that a blocked resolver is never taken for “nothing there”.
 */
export type DnsAnswer<DnsRecord> =
  | {
      readonly outcome: 'answer'
      readonly records: readonly DnsRecord[]
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

export interface DnsQuestionOptions {
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

const timeoutMsDefault = 2_500
const attemptsDefault = 2
const deadlineMsDefault = 20_000
/** RFC 1034 §3.6.2 asks to follow chains and to catch loops; resolvers commonly stop at 8 to 16. */
const aliasesMax = 8
/** Without an SOA a negative answer is not to be cached long (RFC 2308 §5). */
const negativeTtlSecondsDefault = 60
/** RFC 2181 §8. */
const ttlSecondsMax = 2 ** 31 - 1

/**
 * Asks for the records of a name: UDP with EDNS0, TCP where the answer was cut, aliases followed, several servers in turn.
 *
 * Spoofing: random id, fresh source port on a connected socket, the question must come back; anything else is ignored
 * and the wait goes on.
 *
 * @param name labels separated by dots, no escapes; octets other than letters and digits are sent as they are
 * @param read one record’s data as dns-packet hands it out; undefined leaves a record out
 */
export async function askDns<DnsRecord>(
  name: string,
  type: RecordType,
  read: (data: unknown) => DnsRecord | undefined,
  options: DnsQuestionOptions = {},
): Promise<DnsAnswer<DnsRecord>> {
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
    const reply = await askAround(wanted, type, servers, patience)
    if (typeof reply === 'string') return { outcome: 'failed', because: reply }
    const reading = readReply(reply, type, wanted, seen)
    if (reading.outcome === 'failed') return reading
    ttlSeconds = Math.min(ttlSeconds, reading.ttlSeconds)
    if (reading.outcome === 'alias') wanted = reading.target
    else if (reading.outcome === 'absent') return { ...reading, ttlSeconds }
    else
      return {
        ...reading,
        ttlSeconds,
        records: reading.records.map(read).filter((record) => record !== undefined),
      }
  }
  return { outcome: 'failed', because: `more than ${aliasesMax} aliases (CNAME) one after the other` }
}

type ReplyReading =
  DnsAnswer<unknown> | { readonly outcome: 'alias'; readonly target: string; readonly ttlSeconds: number }

function readReply(
  { message, via, server }: Reply,
  type: RecordType,
  asked: string,
  seen: Set<string>,
): ReplyReading {
  const answers = internetRecords(message.answers)
  let name = asked
  let ttlSeconds = ttlSecondsMax
  for (;;) {
    const here = answers.filter((record) => spelled(record.name) === name)
    const wanted = here.filter((record) => record.type === type)
    if (wanted.length > 0) {
      for (const record of wanted) ttlSeconds = Math.min(ttlSeconds, ttlOf(record.ttl))
      const records = wanted.map((record) => record.data)
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

/** RFC 2181 §8: a TTL with its highest bit set means zero. */
function ttlOf(ttl: number | undefined): number {
  return ttl === undefined || ttl < 0 || ttl > ttlSecondsMax ? 0 : ttl
}
