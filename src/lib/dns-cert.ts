import { askDns, type DnsAnswer, type DnsQuestionOptions } from './dns-question.ts'

/** One CERT resource record (RFC 4398 §2). `type` 1 is PKIX (DER of an X.509 certificate), 4 IPKIX and 253 URI. */
export interface CertRecord {
  readonly type: number
  readonly keyTag: number
  readonly algorithm: number
  readonly data: Buffer
}

export type CertAnswer = DnsAnswer<CertRecord>

/**
 * Looks up the CERT records of a name. Node's own resolver cannot ask for this type.
 *
 * @example await resolveCert('ellen.ross.direct.somephr.example', { servers: ['127.0.0.1:15353'] })
 *          // { outcome: 'answer', records: [{ type: 1, keyTag: 0, algorithm: 0, data: <DER> }], ttlSeconds: 60, … }
 */
export function resolveCert(name: string, options: DnsQuestionOptions = {}): Promise<CertAnswer> {
  return askDns(name, 'CERT', readCertRecord, options)
}

/** dns-packet has no reading of CERT and hands out its bytes. Records too short to be one are left out. */
function readCertRecord(bytes: unknown): CertRecord | undefined {
  if (!Buffer.isBuffer(bytes) || bytes.length <= 5) return undefined
  return {
    type: bytes.readUInt16BE(0),
    keyTag: bytes.readUInt16BE(2),
    algorithm: bytes[4]!,
    data: Buffer.from(bytes.subarray(5)),
  }
}
