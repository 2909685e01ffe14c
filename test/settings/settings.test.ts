import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { parseSettings, readSettings } from '../../src/settings.ts'
import { makeRoot } from '../pki/pki.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'bluepost-settings-'))
  writeFileSync(join(folder, 'key.pem'), 'the key\n')
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const read = (text: string, environment: Record<string, string> = {}) =>
  parseSettings(text, join(folder, 'bluepost.yaml'), environment)

/** `line  what  (remedy)` of every problem. */
function problemsOf(text: string, environment: Record<string, string> = {}): string[] {
  const reading = read(text, environment)
  return reading.valid
    ? []
    : reading.problems.map(
        ({ where, what, remedy }) => `${where.split(':').slice(-2).join(':')}  ${what}  (${remedy})`,
      )
}

function valid(text: string, environment: Record<string, string> = {}) {
  const reading = read(text, environment)
  if (!reading.valid) throw new Error(JSON.stringify(reading.problems, null, 1))
  return reading.settings
}

const bundle = (rest: string) => `trust: { bundles: [ { name: a, ${rest} } ] }`

test('without a file everything is on loopback with an embedded database', () => {
  const reading = readSettings(undefined, {})
  if (!reading.valid) throw new Error('the defaults are not valid')
  const { database, listen, keys, trust, dataHolder } = reading.settings
  expect(database).toBe('embedded')
  expect(listen.http).toEqual({ host: '127.0.0.1', port: 8080 })
  expect(listen.smtp).toEqual({ host: '127.0.0.1', port: 2525 })
  expect([keys, trust.anchors, trust.bundles, dataHolder]).toEqual([[], [], [], undefined])
  expect(trust.revocation).toEqual({ mode: 'hard-fail', graceMs: 86_400_000 })
})

test('the file of the contract is read as it stands there', () => {
  const settings = valid(
    `dataHolder: { name: Ashby Medical Center, address: transmit@direct.ashby.example }
database: \${DATABASE_URL:-embedded}
dataDirectory: ./var
listen:
  http: 127.0.0.1:8080
  smtp: 127.0.0.1:2525
keys:
  - { certificate: ./secrets/ashby.pem, privateKey: env:ASHBY_KEY }
trust:
  anchors: [ ./trust/*.pem ]
  bundles: [ { name: patient, url: "https://bundles.example/patient.p7b", refreshEvery: 24h, signer: ./trust/signer.pem } ]
  revocation: { mode: hard-fail, grace: 24h }
discovery:
  dns: { servers: [ 127.0.0.1:15353 ] }
  allowPrivateAddresses: false
edge: { type: sta, routes: { direct.somephr.example: "smtp://127.0.0.1:2626" } }
fhirServers:
  clinic-r4: { baseUrl: https://fhir.ashby.example/fhir, auth: { type: smart-backend, clientId: abc, key: file:key.pem } }
`,
    { ASHBY_KEY: 'k' },
  )
  expect(settings.dataHolder).toMatchObject({ name: 'Ashby Medical Center' })
  expect(settings.database).toBe('embedded')
  expect(settings.dataDirectory).toBe(join(folder, 'var'))
  expect(settings.keys).toMatchObject([
    { certificate: join(folder, 'secrets/ashby.pem'), privateKey: 'k', line: 8 },
  ])
  expect(settings.trust).toMatchObject({
    anchors: [{ files: join(folder, 'trust/*.pem'), direction: 'both', policies: [] }],
    bundles: [
      {
        name: 'patient',
        url: 'https://bundles.example/patient.p7b',
        signer: join(folder, 'trust/signer.pem'),
        refreshEveryMs: 86_400_000,
        removalPercentMax: 20,
        alarmAfterMs: 7 * 86_400_000,
      },
    ],
    revocation: { mode: 'hard-fail', graceMs: 86_400_000 },
  })
  expect(settings.edge.routes).toEqual([
    { domain: 'direct.somephr.example', url: 'smtp://127.0.0.1:2626', starttls: 'required' },
  ])
  expect(settings.fhirServers).toMatchObject([{ auth: { type: 'smart-backend', key: 'the key' } }])
  expect(settings.documents.sources).toMatchObject([{ type: 'server', server: 'clinic-r4' }])
})

test('anchors and bundles may be for one direction, one domain, certain policies', () => {
  const { trust } = valid(`trust:
  anchors:
    - ./all.pem
    - { files: ./in/*.pem, direction: incoming, domain: Direct.Ashby.example, policies: [ "1.3.6.1.4.1.41179.0.1.2" ] }
  bundles:
    - { name: by-hand, direction: outgoing, removalMax: 0%, alarmAfter: 90d }
`)
  expect(trust.anchors).toEqual([
    { files: join(folder, 'all.pem'), direction: 'both', policies: [] },
    {
      files: join(folder, 'in/*.pem'),
      direction: 'incoming',
      domain: 'direct.ashby.example',
      policies: ['1.3.6.1.4.1.41179.0.1.2'],
    },
  ])
  expect(trust.bundles).toMatchObject([
    { name: 'by-hand', direction: 'outgoing', removalPercentMax: 0, alarmAfterMs: 90 * 86_400_000, line: 6 },
  ])
})

test('every problem is told at once, with its place and a remedy', () => {
  expect(
    problemsOf(`dataHolder: { name: Ashby, address: nobody }
databse: embedded
listen: { http: here, smtp: 127.0.0.1:99999 }
edge: { type: stq }
timezone: America/Nowhere
documents: { server: clinic, bytesMax: 12 }
`),
  ).toEqual([
    '2:1  databse is not a setting  (did you mean “database”?)',
    expect.stringMatching(/^6:\d+ {2}documents\.server “clinic” is not under fhirServers/),
    expect.stringMatching(/^6:\d+ {2}documents\.bytesMax is “12”/),
    expect.stringMatching(/^1:\d+ {2}dataHolder\.address is not a Direct address/),
    expect.stringMatching(/^3:\d+ {2}listen\.http is “here”/),
    expect.stringMatching(/^3:\d+ {2}listen\.smtp is “127\.0\.0\.1:99999”/),
    expect.stringMatching(/^4:\d+ {2}edge\.type is “stq” {2}\(did you mean “sta”\?/),
    expect.stringMatching(/^5:\d+ {2}timezone “America\/Nowhere” is not a time zone/),
  ])
})

const device = (more: string, place: string) =>
  `keys: [ { certificate: a.pem, key: ashby, ${[place, more].filter((one) => one !== '').join(', ')} } ]`

test('a key may live in a device behind a socket or the network', () => {
  const { keys } = valid(
    `keys:
  - { certificate: a.pem, device: unix:./signer.sock, key: ashby }
  - { certificate: a.pem, device: "https://hsm.example/v1", key: ashby, token: env:K, timeout: 3s }
`,
    { K: 'secret token' },
  )
  expect(keys).toEqual([
    {
      certificate: join(folder, 'a.pem'),
      device: { at: `unix:${join(folder, 'signer.sock')}`, key: 'ashby', timeoutMs: 10_000 },
      line: 2,
    },
    {
      certificate: join(folder, 'a.pem'),
      device: { at: 'https://hsm.example/v1', key: 'ashby', token: 'secret token', timeoutMs: 3000 },
      line: 3,
    },
  ])
})

test.each([
  [
    'a secret in the open',
    'keys: [ { certificate: a.pem, privateKey: hunter2 } ]',
    /is a secret written into/,
  ],
  ['a secret the environment lacks', 'secrets: { x: env:NOT_SET }', /environment has no NOT_SET/],
  ['a device that is no place', device('', 'device: signer'), /“signer” is no place of a device/],
  ['a device over plain http', device('', 'device: "http://x.example/"'), /is no place of a device/],
  ['a device for anybody', device('', 'device: "https://x.example/"'), /without proving who asks/],
  ['a device and a key file', device('privateKey: env:K', 'device: unix:/s'), /stands beside a device/],
  ['half of mutual TLS', device('clientKey: env:K', 'device: unix:/s'), /clientKey stands alone/],
  ['a device that may take minutes', device('timeout: 5m', 'device: unix:/s'), /between 100ms and 25s/],
  ['a label without a device', 'keys: [ { certificate: a, privateKey: env:K, key: x } ]', /without a device/],
  ['a secret file that is not there', 'secrets: { x: file:gone }', /gone cannot be read \(ENOENT\)/],
  ['a variable without a value', 'dataDirectory: ${NOT_SET}', /environment has no NOT_SET/],
  ['plain http to another machine', 'fhirServers: { a: { baseUrl: http://fhir.example/ } }', /plain http/],
  [
    'credentials in a URL',
    'fhirServers: { a: { baseUrl: https://u:p@fhir.example/ } }',
    /credentials in the/,
  ],
  ['YAML that is none', 'listen: { http: [', /./],
  ['a key twice', 'timezone: UTC\ntimezone: UTC', /Map keys must be unique/],
  ['a list for a mapping', '- a\n- b', /is not a list of settings/],
  ['a database that is none', 'database: mysql://x', /neither “embedded” nor a postgres/],
  ['a HISP without a route', 'edge: { type: smtp }', /no route “\*”/],
  ['a route that is none', 'edge: { routes: { a.example: "http://x" } }', /is not a next hop/],
  ['a short access key', 'access: { keys: [ { name: a, role: operator, key: env:K } ] }', /shorter than 32/],
  ['an unknown role', 'access: { keys: [ { name: a, role: boss, key: env:K } ] }', /use one of patient/],
  ['GCM for everybody', 'seal: { contentEncryption: aes-256-gcm }', /use one of aes-256-cbc/],
  ['an agreement that is no section', 'seal: { domains: { a.example: oaep-sha256 } }', /is no section/],
  [
    'a key transport that is none',
    'seal: { domains: { a.example: { keyTransport: rsa } } }',
    /use one of pkcs1/,
  ],
  ['a DNS server by name', 'discovery: { dns: { servers: [ dns.example ] } }', /is not an IP address/],
  ['a bundle over plain http', bundle('url: "http://x.example/a.p7b"'), /is not an https URL/],
  ['a bundle URL with a password', bundle('url: "https://u:hunter2@x.example/"'), /has credentials/],
  ['a bundle from two places', bundle('url: "https://x.example/", file: a.p7b'), /stands beside a url/],
  ['a bundle every minute', bundle('file: a.p7b, refreshEvery: 1m'), /below an hour/],
  ['a part that is none', bundle('file: a.p7b, removalMax: 0.2'), /percentage from 0% to 100%/],
  ['more than all', bundle('file: a.p7b, removalMax: 101%'), /percentage from 0% to 100%/],
  ['a direction that is none', bundle('file: a.p7b, direction: in'), /use one of both, incoming, outgoing/],
  ['a policy that is none', bundle('file: a.p7b, policies: [ "1.2;3" ]'), /not an object identifier/],
  ['a domain that is none', 'trust: { anchors: [ { files: a.pem, domain: nowhere } ] }', /is not a domain/],
  ['anchors without files', 'trust: { anchors: [ { direction: incoming } ] }', /files is missing/],
  ['two bundles of one name', 'trust: { bundles: [ { name: a }, { name: a } ] }', /“a” stands twice/],
  ['a bundle name with a path', 'trust: { bundles: [ { name: ../a } ] }', /is no name/],
  ['a revocation mode that is none', 'trust: { revocation: { mode: hard } }', /use one of hard-fail/],
  [
    'an alias for two',
    'authorities: [ {id: "1.2", aliases: [X]}, {id: "1.3", aliases: [X]} ]',
    /already stands/,
  ],
])('%s is refused', (_, text, expected) => {
  const problems = problemsOf(text, { K: 'short' })
  expect(problems.join('\n')).toMatch(expected)
  expect(problems.join('\n')).not.toMatch(/hunter2|short\b(?!er)/)
})

test('a key of one line in the environment gets its line breaks back', () => {
  const settings = valid('secrets: { k: env:PEM }', { PEM: '-----BEGIN X-----\\nabc\\n-----END X-----' })
  expect(settings.secrets.get('k')).toBe('-----BEGIN X-----\nabc\n-----END X-----')
})

test('listeners are left out by leaving them out, and unix sockets are paths', () => {
  const { listen } = valid('listen: { http: "[::1]:0", lmtp: unix:./lmtp.sock }')
  expect(listen.smtp).toBeUndefined()
  expect(listen.http).toEqual({ host: '::1', port: 0 })
  expect(listen.lmtp).toEqual({ path: join(folder, 'lmtp.sock') })
})

test('assigning authorities are known by every alias', () => {
  const { authorities } = valid('authorities: [ { id: "urn:oid:1.2.3", aliases: [ASHBY, 1.2.3] } ]')
  expect(authorities.get('ASHBY')).toBe('urn:oid:1.2.3')
  expect([...new Set(authorities.values())]).toEqual(['urn:oid:1.2.3'])
})

test('relays of our own are addresses, networks and the local socket, and nobody by default', () => {
  const { isOwnRelay } = valid(
    'tracking: { relays: [ 192.0.2.25, 198.51.100.0/28, "2001:db8::/64", unix ] }',
  ).tracking
  const peers = ['192.0.2.25', '::ffff:192.0.2.25', '198.51.100.15', '2001:db8::1', 'unix']
  expect(peers.filter((peer) => !isOwnRelay(peer))).toEqual([])
  const others = ['192.0.2.26', '198.51.100.16', '2001:db8:0:1::1', '127.0.0.1', '', 'nonsense']
  expect(others.filter(isOwnRelay)).toEqual([])
  expect(peers.filter(valid('').tracking.isOwnRelay)).toEqual([])
  for (const wrong of ['mail.example', '192.0.2.0/33', '192.0.2.0/', '192.0.2.0/8/8', '192.0.2.0/-1'])
    expect(problemsOf(`tracking: { relays: [ "${wrong}" ] }`)).toEqual([
      expect.stringContaining(`“${wrong}” is not an IP address or network`),
    ])
})

test('the authority of an own mail server is read with the settings, or named with its place', () => {
  const { certificatePem } = makeRoot({ keyType: 'ec256' })
  writeFileSync(join(folder, 'relay.pem'), certificatePem)
  writeFileSync(join(folder, 'empty.pem'), 'nothing')
  const withCa = (ca: string) =>
    read(`edge:\n  routes:\n    '*': { url: 'smtp://relay.example', ca: ${ca} }\n`)
  const good = withCa('relay.pem')
  expect(good.valid && good.settings.edge.routes).toMatchObject([{ ca: certificatePem }])
  const problemOf = (ca: string) => {
    const reading = withCa(ca)
    return reading.valid ? [] : reading.problems
  }
  expect(problemOf('absent.pem')).toMatchObject([
    { where: expect.stringContaining(':3:'), what: expect.stringContaining('ENOENT') },
  ])
  expect(problemOf('empty.pem')).toMatchObject([
    { where: expect.stringContaining(':3:'), what: expect.stringContaining('no certificate') },
  ])
})

test('documents come from several places, each with what it means by its labels', () => {
  const { documents } = valid(`fhirServers:
  clinic: { baseUrl: https://fhir.example/r4 }
documents:
  confidentiality: { missing: hold }
  sources:
    - { directory: ./archive, confidentiality: { restricted: send } }
    - { server: clinic }
    - { channel: documents, confidentiality: { unknown: send } }
  additional: { discharge: [], new-results: ['11502-2'] }
`)
  const usual = { restricted: 'hold', missing: 'hold', unknown: 'hold' }
  expect(documents.sources).toMatchObject([
    { type: 'folder', name: './archive', confidentiality: { ...usual, restricted: 'send' } },
    { type: 'server', server: 'clinic', confidentiality: usual },
  ])
  expect(documents.channelConfidentiality.get('documents')).toEqual({ ...usual, unknown: 'send' })
  expect(documents.additional.get('discharge')).toEqual([])
  expect(documents.additional.get('new-results')).toEqual(['11502-2'])
  expect(documents.additional.get('transition')).toEqual(['57133-1', '18761-7'])
})

test('the only server there is stands for all sources that are not written', () => {
  const { documents } = valid('fhirServers:\n  clinic: { baseUrl: https://fhir.example/r4 }\n')
  expect(documents.sources).toMatchObject([{ server: 'clinic', confidentiality: { missing: 'send' } }])
  expect(valid('').documents.sources).toEqual([])
})

test('a source that is two things, or a server nobody knows, is told with its place', () => {
  expect(
    problemsOf(`documents:
  sources:
    - { server: clinic, directory: ./archive }
    - { server: clinic }
    - { confidentiality: { restricted: never } }
`),
  ).toMatchObject([
    expect.stringContaining('is not the only thing'),
    expect.stringContaining('“clinic” is not under fhirServers'),
    expect.stringContaining('restricted is “never”'),
    expect.stringContaining('is not the only thing'),
  ])
})

test('whoever notifies shows a certificate where the settings name who issues them; mail does not', () => {
  const tls = 'certificate: a.pem, privateKey: env:TLS_KEY, clientCa: clinic.pem'
  const environment = { TLS_KEY: 'key' }
  expect(valid(`listen: { httpTls: { ${tls} } }\n`, environment).listen.httpTls).toMatchObject({
    certificate: expect.stringMatching(/\/a\.pem$/),
    clientCa: expect.stringMatching(/\/clinic\.pem$/),
  })
  expect(problemsOf(`listen: { smtpTls: { ${tls} } }\n`, environment)).toMatchObject([
    expect.stringContaining('clientCa'),
  ])
})
