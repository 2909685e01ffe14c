import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { makeAnswerCache } from '../../src/discovery/answer-cache.ts'
import { discover } from '../../src/discovery/discover.ts'
import { readDirectAddress } from '../../src/domain/direct-address.ts'
import { resolveCert, type CertAnswer } from '../../src/lib/dns-cert.ts'
import { freePorts } from '../neighbours/engine.ts'
import { issueFor, makeRoot } from '../pki/pki.ts'

const zone = 'direct.somephr.example'
const root = makeRoot({ keyType: 'ec256' })
const ellen = issueFor(root, `ellen.ross@${zone}`, { keyType: 'ec256' }).certificate
const big = issueFor(root, `big@${zone}`, { keyType: 'rsa4096' }).certificate
const many = Array.from(
  { length: 12 },
  () => issueFor(root, `many@${zone}`, { keyType: 'ec256' }).certificate,
)
const ofDomain = issueFor(root, zone, { keyType: 'ec256' }).certificate

let folder: string
let named: ChildProcess
let server: string

beforeAll(async () => {
  const program = ['named', '/usr/sbin/named'].find((name) => spawnSync(name, ['-v']).status === 0)
  if (program === undefined)
    throw new Error('the BIND server is missing: apt-get install --no-install-recommends bind9')
  folder = mkdtempSync(join(tmpdir(), 'bind-'))
  const [port] = await freePorts(1)
  server = `127.0.0.1:${port}`
  writeFileSync(join(folder, 'zone.db'), zoneFile())
  writeFileSync(join(folder, 'named.conf'), configuration(port!))
  named = spawn(
    program,
    ['-g', '-c', join(folder, 'named.conf'), ...(userInfo().uid === 0 ? ['-u', 'root'] : [])],
    {
      stdio: ['ignore', 'ignore', 'pipe'],
    },
  )
  const said: string[] = []
  await new Promise<void>((resolve, reject) => {
    createInterface({ input: named.stderr! }).on('line', (line) => {
      said.push(line)
      if (line.endsWith(' running')) resolve()
    })
    named.once('exit', () => reject(new Error(`named ended:\n${said.slice(-15).join('\n')}`)))
  })
}, 30_000)

afterAll(async () => {
  if (named !== undefined && named.exitCode === null) {
    const gone = once(named, 'exit')
    named.kill('SIGTERM')
    await gone
  }
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true })
})

function configuration(port: number): string {
  return `
options {
  directory "${folder}"; pid-file none; session-keyfile "${folder}/session.key"; managed-keys-directory "${folder}";
  listen-on port ${port} { 127.0.0.1; }; listen-on-v6 { none; };
  recursion no; dnssec-validation no; minimal-responses yes; allow-query { any; };
  rate-limit { responses-per-second 0; };
};
controls { };
zone "${zone}" { type primary; file "${folder}/zone.db"; };
`
}

/** CERT in its presentation form (RFC 4398 §2.2): type, key tag, algorithm, base64. */
function zoneFile(): string {
  const cert = (name: string, der: Buffer, type = 'PKIX') =>
    `${name} 120 IN CERT ${type} 0 0 ${der.toString('base64')}`
  return [
    `$ORIGIN ${zone}.`,
    '$TTL 300',
    `@ IN SOA ns.${zone}. hostmaster.${zone}. 1 3600 600 86400 45`,
    `@ IN NS ns.${zone}.`,
    'ns IN A 127.0.0.1',
    cert('@', ofDomain),
    cert('ellen.ross', ellen),
    cert('big', big),
    cert('big', issueFor(root, `big@${zone}`, { keyType: 'ec256' }).certificate),
    ...many.map((der) => cert('many', der)),
    cert('mixed', Buffer.from(`https://${zone}/mixed.cer`), 'IPKIX'),
    cert('mixed', Buffer.alloc(30, 5), 'PGP'),
    cert('mixed', ellen),
    cert('old', Buffer.from('not a certificate')),
    cert("bob+x=o'neil", ellen),
    'alias IN CNAME ellen.ross',
    'text IN TXT "no certificate here"',
    '',
  ].join('\n')
}

const look = (name: string) => resolveCert(`${name}.${zone}`, { servers: [server], attempts: 1 })

test('BIND hands out a CERT record over UDP, with its octets and its TTL', async () => {
  expect(await look('Ellen.ROSS')).toEqual({
    outcome: 'answer',
    records: [{ type: 1, keyTag: 0, algorithm: 0, data: ellen }],
    ttlSeconds: 120,
    via: 'udp',
    server,
  })
})

test('BIND cuts what is too large for UDP, and it is had over TCP', async () => {
  const answer = await look('big')
  expect(answer).toMatchObject({ outcome: 'answer', via: 'tcp' })
  expect(answer.outcome === 'answer' && answer.records.some(({ data }) => data.equals(big))).toBe(true)
  const dozen = await look('many')
  expect(dozen).toMatchObject({ outcome: 'answer', via: 'tcp' })
  const sorted = (ders: readonly Buffer[]) => [...ders].sort(Buffer.compare)
  expect(dozen.outcome === 'answer' && sorted(dozen.records.map(({ data }) => data))).toEqual(sorted(many))
})

test('BIND says NXDOMAIN and NODATA with the TTL of its SOA', async () => {
  expect(await look('nobody')).toMatchObject({ outcome: 'absent', kind: 'nxdomain', ttlSeconds: 45 })
  expect(await look('text')).toMatchObject({ outcome: 'absent', kind: 'nodata', ttlSeconds: 45 })
})

test('BIND follows an alias within its zone, and odd octets of a local part arrive', async () => {
  expect(await look('alias')).toMatchObject({ outcome: 'answer', records: [{ data: ellen }] })
  expect(await look("bob+x=o'neil")).toMatchObject({ outcome: 'answer', records: [{ data: ellen }] })
})

test('a zone that BIND does not serve is refused, which is not absence', async () => {
  expect(await resolveCert('ellen.elsewhere.example', { servers: [server], attempts: 1 })).toMatchObject({
    outcome: 'failed',
    because: expect.stringContaining('REFUSED'),
  })
})

test('discovery against BIND: the address, else the domain; other types of CERT are passed over', async () => {
  const ports = {
    resolveCert: (name: string) => resolveCert(name, { servers: [server], attempts: 1 }),
    cache: makeAnswerCache<CertAnswer>(),
  }
  const find = (text: string) => {
    const reading = readDirectAddress(text)
    if (!reading.valid) throw new Error(reading.because)
    return discover(reading.address, ports, new Date())
  }
  expect(await find(`Ellen.Ross@${zone}`)).toMatchObject({ step: 'dns-address', certificates: [ellen] })
  expect(await find(`nobody@${zone}`)).toMatchObject({ step: 'dns-domain', certificates: [ofDomain] })
  expect(await find(`mixed@${zone}`)).toMatchObject({ step: 'dns-address', certificates: [ellen] })
  expect(await find(`old@${zone}`)).toMatchObject({ step: 'dns-domain', certificates: [ofDomain] })
  expect(await find('x@elsewhere.example')).toMatchObject({ outcome: 'unavailable' })
})
