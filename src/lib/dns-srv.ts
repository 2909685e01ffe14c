import { spelled } from './dns-name.ts'
import { askDns, type DnsAnswer, type DnsQuestionOptions } from './dns-question.ts'

/** One SRV resource record (RFC 2782). */
export interface SrvRecord {
  readonly priority: number
  readonly weight: number
  readonly port: number
  /** Empty for a root target: the service is decidedly not there. */
  readonly target: string
}

export type SrvAnswer = DnsAnswer<SrvRecord>

/** Looks up the SRV records of a name such as `_ldap._tcp.direct.somephr.example`, in the order of the answer. */
export function resolveSrv(name: string, options: DnsQuestionOptions = {}): Promise<SrvAnswer> {
  return askDns(name, 'SRV', readSrvRecord, options)
}

function readSrvRecord(data: unknown): SrvRecord | undefined {
  const { priority, weight, port, target } = (data ?? {}) as Partial<SrvRecord>
  if (typeof priority !== 'number' || typeof weight !== 'number' || typeof port !== 'number') return undefined
  return typeof target === 'string' ? { priority, weight, port, target: spelled(target) } : undefined
}
