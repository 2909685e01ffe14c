import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals'
import { makeAnswerCache } from '../../src/discovery/answer-cache.ts'
import { discover, type Discovery, type DiscoveryPorts } from '../../src/discovery/discover.ts'
import { askDirectory, directoryLimitsUsual } from '../../src/discovery/ldap-directory.ts'
import type { LdapAnswer } from '../../src/discovery/look-in-ldap.ts'
import { readDirectAddress, type DirectAddress } from '../../src/domain/direct-address.ts'
import { resolveCert } from '../../src/lib/dns-cert.ts'
import { resolveSrv } from '../../src/lib/dns-srv.ts'
import { resolveOutbound } from '../../src/lib/outbound-guard.ts'
import { serveDns } from '../neighbours/dns-server.ts'
import { memberEntry, serveLdap, type DirectoryNeighbour } from '../neighbours/ldap-server.ts'
import { sequence, context, integer, oid, set } from '../pki/der.ts'
import { issueFor, makeRoot } from '../pki/pki.ts'

const root = makeRoot({ keyType: 'ec256' })
const at = new Date('2026-11-22T12:00:00Z')
const domain = 'direct.phr.example'
const certificateFor = (text: string) => issueFor(root, text, { keyType: 'ec256' }).certificate

let dns: Awaited<ReturnType<typeof serveDns>>
let first: DirectoryNeighbour
let second: DirectoryNeighbour
beforeAll(async () => {
  dns = await serveDns(() => {}, 0)
  first = await serveLdap()
  second = await serveLdap()
})
afterAll(async () => {
  dns.close()
  await first.close()
  await second.close()
})
afterEach(() => {
  dns.commands.clear()
  for (const one of [first, second]) {
    one.misbehave(undefined)
    one.fill([])
    ;(one.asked as string[]).length = 0
  }
})

function ports(changes: Partial<NonNullable<DiscoveryPorts['ldap']>> = {}): DiscoveryPorts {
  const options = { servers: [`127.0.0.1:${dns.port}`], timeoutMs: 200, attempts: 1 }
  return {
    resolveCert: (name) => resolveCert(name, options),
    ldap: {
      resolveSrv: (name) => resolveSrv(name, options),
      resolveHost: (host) =>
        resolveOutbound(host, {
          allowPrivateAddresses: true,
          resolve: async () => [{ address: '127.0.0.1', family: 4 }],
        }),
      ask: (server, mails) => askDirectory(server, mails, { ...directoryLimitsUsual, timeoutMs: 300 }),
      ...changes,
    },
  }
}

function addressOf(text: string): DirectAddress {
  const reading = readDirectAddress(text)
  if (!reading.valid) throw new Error(reading.because)
  return reading.address
}

const serve = (port: number, priority = 0, weight = 0, target = 'ldap.phr.example') =>
  dns.commands.add({
    records: [{ type: 'SRV', name: `_ldap._tcp.${domain}`, priority, weight, port, target }],
  })
const look = (local = 'bob', changes = {}) => discover(addressOf(`${local}@${domain}`), ports(changes), at)
const told = ({ trace }: Discovery) => trace.map(({ step, outcome }) => `${step} ${outcome}`)

test('an address is found in the directory that SRV names, below the contexts of its root DSE', async () => {
  const der = certificateFor(`bob@${domain}`)
  first.fill([memberEntry(`bob@${domain}`, [der]), memberEntry(domain, [certificateFor(domain)])])
  serve(first.port)
  const found = await look('Bob')
  expect(found).toMatchObject({ outcome: 'found', step: 'ldap-address', certificates: [der] })
  expect(first.asked).toEqual([' (objectClass=*)', `o=Direct (mail=bob@${domain})`])
  expect(told(found)).toEqual([
    'dns-address nothing',
    'dns-domain nothing',
    'ldap-address found',
    'ldap-address skipped',
    'ldap-address found',
  ])
})

test('without one, the certificate of the domain is found', async () => {
  const der = certificateFor(domain)
  first.fill([memberEntry(domain, [der])])
  serve(first.port)
  expect(await look()).toMatchObject({ outcome: 'found', step: 'ldap-domain', certificates: [der] })
})

test('DNS comes first, and an expired certificate there ends the search', async () => {
  const expired = issueFor(root, `bob@${domain}`, { keyType: 'ec256', notAfter: new Date(0) }).certificate
  dns.commands.add({
    records: [{ type: 'CERT', name: `bob.${domain}`, certificate: expired.toString('base64') }],
  })
  first.fill([memberEntry(`bob@${domain}`, [certificateFor(`bob@${domain}`)])])
  serve(first.port)
  expect(await look()).toMatchObject({ step: 'dns-address', certificates: [expired] })
  expect(first.asked).toEqual([])
})

test('the lower priority is asked first, and of one priority the heavier', async () => {
  const [low, high] = [certificateFor(`bob@${domain}`), certificateFor(`bob@${domain}`)]
  first.fill([memberEntry(`bob@${domain}`, [low])])
  second.fill([memberEntry(`bob@${domain}`, [high])])
  serve(second.port, 1, 500)
  serve(first.port, 0, 0)
  expect(await look()).toMatchObject({ certificates: [low] })
  dns.commands.clear()
  serve(first.port, 5, 0)
  serve(second.port, 5, 100)
  for (let again = 0; again < 5; again++) expect(await look()).toMatchObject({ certificates: [high] })
})

test('a server that is down, silent, busy or broken is passed over; the next one speaks', async () => {
  const der = certificateFor(`bob@${domain}`)
  second.fill([memberEntry(`bob@${domain}`, [der])])
  serve(second.port, 9)
  serve(1, 0)
  expect(await look()).toMatchObject({ outcome: 'found', certificates: [der] })
  serve(first.port, 1)
  for (const fault of [
    { how: 'silence' },
    { how: 'hang-up' },
    { how: 'result', code: 51 },
    { how: 'result', code: 3 },
    { how: 'result', code: 52 },
    { how: 'garbage', octets: Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n') },
    { how: 'endless' },
  ] as const) {
    first.misbehave(fault)
    expect(await look()).toMatchObject({ outcome: 'found', certificates: [der] })
  }
})

test('no server that answers is no answer, not absence', async () => {
  serve(1)
  const open = await look()
  expect(open).toMatchObject({
    outcome: 'unavailable',
    because: `no directory of ${domain} answered`,
  })
  expect(told(open).at(-1)).toBe('ldap-address failed')
})

test('no SRV record, one that says “not here”, and an empty directory are absence', async () => {
  expect(await look()).toMatchObject({ outcome: 'absent' })
  serve(389, 0, 0, '.')
  expect(await look()).toMatchObject({ outcome: 'absent' })
  dns.commands.clear()
  serve(first.port)
  expect(await look()).toMatchObject({ outcome: 'absent' })
})

test('an SRV question that fails leaves everything open', async () => {
  dns.commands.misbehave({ name: `_ldap._tcp.${domain}`, how: 'servfail' })
  expect(await look()).toMatchObject({ outcome: 'unavailable', because: expect.stringContaining('SERVFAIL') })
})

test('referrals are not followed', async () => {
  first.misbehave({ how: 'referral', url: `ldap://127.0.0.1:${second.port}/o=Direct` })
  second.fill([memberEntry(`bob@${domain}`, [certificateFor(`bob@${domain}`)])])
  serve(first.port)
  const found = await look()
  expect(found.outcome).toBe('absent')
  expect(found.trace.some(({ detail }) => detail.includes('not followed'))).toBe(true)
  expect(second.asked).toEqual([])
})

test('an address is a value of the filter, whatever characters it has (RFC 4515)', async () => {
  first.fill([memberEntry(`bob@${domain}`, [certificateFor(`bob@${domain}`)])])
  for (const local of ['*', 'b*', '*)(mail=*', 'bob\\2a', ')(|(mail=*']) {
    const [answer] = await askDirectory(
      { host: 'ldap.phr.example', port: first.port, address: { address: '127.0.0.1', family: 4 } },
      [`${local}@${domain}`],
    )
    expect(answer).toMatchObject({ outcome: 'nothing' })
    expect(first.asked.at(-1)).toBe(`o=Direct (mail=${local}@${domain})`)
  }
})

test('every attribute and every value counts, each certificate once; PKCS#7 is opened', async () => {
  const [one, two, three] = [1, 2, 3].map(() => certificateFor(`bob@${domain}`)) as [Buffer, Buffer, Buffer]
  const packed = sequence(
    oid('1.2.840.113549.1.7.2'),
    context(
      0,
      sequence(
        integer(1),
        set(),
        sequence(oid('1.2.840.113549.1.7.1')),
        context(0, Buffer.concat([three, one])),
        set(),
      ),
    ),
  )
  first.fill([
    {
      dn: 'cn=bob,o=Direct',
      attributes: {
        mail: ['someone@else.example', `BOB@${domain}`],
        'usercertificate;binary': [one, two, Buffer.from('not a certificate')],
        userSMIMECertificate: [packed, Buffer.from('not PKCS#7')],
      },
    },
    { dn: 'cn=bob2,o=Direct', attributes: { mail: [`bob@${domain}`], userCertificate: [two] } },
  ])
  serve(first.port)
  const found = await look()
  expect(found.outcome === 'found' && found.certificates).toEqual([one, two, three])
})

test('a server that is slow at each of many bases is cut off', async () => {
  const contexts = Array.from({ length: 8 }, (_, n) => `o=Direct ${n}`)
  const tarpit = await serveLdap({ contexts })
  tarpit.misbehave({ how: 'slowness', afterMs: 200 })
  serve(tarpit.port)
  const open = await look()
  expect(open).toMatchObject({ outcome: 'unavailable' })
  expect(open.trace.map(({ detail }) => detail).join()).toContain('it took longer than 900 ms')
  await tarpit.close()
})

test('a directory without naming contexts is searched from its root', async () => {
  const bare = await serveLdap({
    contexts: [],
    entries: [memberEntry(`bob@${domain}`, [certificateFor(`bob@${domain}`)])],
  })
  serve(bare.port)
  expect(await look()).toMatchObject({ outcome: 'found' })
  await bare.close()
})

test('what the guard refuses is not connected to', async () => {
  first.fill([memberEntry(`bob@${domain}`, [certificateFor(`bob@${domain}`)])])
  serve(first.port)
  const refused = await look('bob', {
    resolveHost: (host: string) =>
      resolveOutbound(host, {
        allowPrivateAddresses: false,
        resolve: async () => [{ address: '127.0.0.1', family: 4 }],
      }),
  })
  expect(refused.outcome).toBe('unavailable')
  expect(refused.trace.at(-1)).toMatchObject({
    outcome: 'refused',
    detail: expect.stringContaining('not a public'),
  })
  expect(first.asked).toEqual([])
})

test('what a directory said is kept for an hour, “nothing” for five minutes, a failure not at all', async () => {
  const cache = makeAnswerCache<LdapAnswer>()
  serve(first.port)
  const lookAt = (minutes: number) =>
    discover(addressOf(`bob@${domain}`), ports({ cache }), new Date(at.getTime() + minutes * 60_000))
  first.misbehave({ how: 'hang-up' })
  expect((await lookAt(0)).outcome).toBe('unavailable')
  first.misbehave(undefined)
  expect((await lookAt(0)).outcome).toBe('absent')
  first.fill([memberEntry(`bob@${domain}`, [certificateFor(`bob@${domain}`)])])
  expect((await lookAt(4)).outcome).toBe('absent')
  expect((await lookAt(6)).outcome).toBe('found')
  first.fill([])
  expect((await lookAt(60)).outcome).toBe('found')
  expect((await lookAt(70)).outcome).toBe('absent')
})

test('a sub-address is looked up as written, then without its tag', async () => {
  first.fill([memberEntry(`bob@${domain}`, [certificateFor(`bob@${domain}`)])])
  serve(first.port)
  expect(await look('bob+tag')).toMatchObject({ outcome: 'found', step: 'ldap-address' })
  expect(first.asked.filter((line) => line.includes('mail'))).toEqual([
    `o=Direct (mail=bob+tag@${domain})`,
    `o=Direct (mail=bob@${domain})`,
  ])
})
