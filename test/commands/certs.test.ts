import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, jest, test } from '@jest/globals'
import { startNeighbour, type Neighbour } from '../neighbours/neighbour.ts'
import { makeCrl } from '../pki/crl.ts'
import { issueFor, makeRoot, type Issued } from '../pki/pki.ts'
import { servePki, type PkiServer } from '../neighbours/pki-server.ts'

// Each call starts a process.
jest.setTimeout(60_000)

const us = 'transmit@direct.ashby.example'
const ellen = 'ellen.ross@direct.somephr.example'
const ec = { keyType: 'ec256' } as const
const root = makeRoot({ ...ec, name: 'Somewhere Root' })
const ours = issueFor(root, us, ec)

let folder: string
let dns: Neighbour
let pki: PkiServer
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'bluepost-certs-'))
  dns = await startNeighbour('dns-server')
  pki = await servePki()
  writeFileSync(join(folder, 'root.pem'), root.certificatePem)
  writeFileSync(join(folder, 'us.pem'), ours.certificatePem)
  writeFileSync(join(folder, 'us.key'), ours.privateKeyPem)
  writeFileSync(
    join(folder, 'bluepost.yaml'),
    `dataHolder: { name: Ashby, address: ${us} }
keys: [ { certificate: us.pem, privateKey: file:us.key } ]
trust: { anchors: [ root.pem ] }
discovery: { dns: { servers: [ 127.0.0.1:${dns.port} ] }, ldap: { enabled: false }, allowPrivateAddresses: true }
`,
  )
})
afterAll(async () => {
  await dns.stop()
  await pki.close()
  rmSync(folder, { recursive: true })
})
beforeEach(() => publish())

/** Everything the zone holds from now on. */
async function publish(...records: readonly [name: string, issued: Issued][]): Promise<void> {
  await dns.order('clear')
  await dns.order('add', {
    records: records.map(([name, { certificate }]) => ({
      type: 'CERT',
      name: name.replace('@', '.'),
      certificate: certificate.toString('base64'),
    })),
  })
}

function certs(...words: string[]): Promise<{ exit: number; out: string; err: string }> {
  const cli = new URL('../../src/cli.ts', import.meta.url).pathname
  const env = { ...process.env, NODE_OPTIONS: '' }
  return new Promise((resolve) => {
    execFile(process.execPath, [cli, 'certs', ...words], { cwd: folder, env }, (error, out, err) =>
      resolve({ exit: typeof error?.code === 'number' ? error.code : error ? -1 : 0, out, err }),
    )
  })
}

describe('certs ADDRESS', () => {
  test('tells what was asked, what came, names, dates, path, and who says that it is not revoked', async () => {
    const crlUrls = [pki.url('/root.crl')]
    pki.put('/root.crl', { is: 'crl', bytes: makeCrl(root) })
    await publish([ellen, issueFor(root, ellen, { ...ec, crlUrls })])
    const { exit, out } = await certs(ellen)
    expect(out).toMatch(/dns-address .*found .*ellen\.ross\.direct\.somephr\.example/)
    expect(out).toContain(`names   email ${ellen}`)
    expect(out).toMatch(/valid {3}20\S+Z to 20\S+Z/)
    expect(out).toMatch(/trusted address-bound: .*ellen.* ← .*Somewhere Root.* \(anchor\)/)
    expect(out).toMatch(/: not revoked \(http:\S+root\.crl, as of 20\S+Z\)/)
    expect(out).toContain(`A message to ${ellen} would be encrypted to 1 certificate.`)
    expect(exit).toBe(0)
  })

  test('names the first rule that failed', async () => {
    await publish([ellen, issueFor(root, 'bob@direct.other.example', ec)])
    const { exit, out } = await certs(ellen, '--json')
    expect(JSON.parse(out)).toMatchObject({
      usable: false,
      certificates: [
        {
          certificate: { names: ['email bob@direct.other.example'] },
          verdict: { trusted: false, code: 'address-not-bound' },
        },
      ],
    })
    expect(exit).toBe(1)
  })

  test('names a revoked one as revoked', async () => {
    const leaf = issueFor(root, ellen, { ...ec, serial: 4711n, crlUrls: [pki.url('/revoked.crl')] })
    pki.put('/revoked.crl', { is: 'crl', bytes: makeCrl(root, { revoked: [{ serial: 4711n }] }) })
    await publish([ellen, leaf])
    const { exit, out } = await certs(ellen)
    expect(out).toMatch(/refused revoked: /)
    expect(exit).toBe(1)
  })

  test('tells absence from silence', async () => {
    expect((await certs(ellen)).out).toMatch(/No certificate is published/)
    await dns.order('misbehave', { name: 'direct.somephr.example', how: 'servfail', times: 99 })
    await dns.order('misbehave', { name: 'ellen.ross.direct.somephr.example', how: 'servfail', times: 99 })
    const { exit, out } = await certs(ellen)
    expect(out).toMatch(/not the same as “no certificate”/)
    expect(exit).toBe(1)
  })
})
