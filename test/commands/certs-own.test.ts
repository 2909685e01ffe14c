import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals'
import { serveDns, type ZoneRecord } from '../neighbours/dns-server.ts'
import { memberEntry, serveLdap, type DirectoryNeighbour } from '../neighbours/ldap-server.ts'
import { issueFor, makeRoot, type Issued } from '../pki/pki.ts'

// Each call starts a process.
jest.setTimeout(60_000)

const domain = 'direct.ashby.example'
const us = `transmit@${domain}`
const ec = { keyType: 'ec256' } as const
const root = makeRoot({ ...ec, name: 'Somewhere Root' })
const pairs = { address: issueFor(root, us, ec), domain: issueFor(root, domain, ec) }

let folder: string
let dns: Awaited<ReturnType<typeof serveDns>>
let directory: DirectoryNeighbour
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'bluepost-own-'))
  dns = await serveDns(() => {}, 0)
  directory = await serveLdap()
  writeFileSync(join(folder, 'root.pem'), root.certificatePem)
  for (const [name, pair] of Object.entries(pairs)) {
    writeFileSync(join(folder, `${name}.pem`), pair.certificatePem)
    writeFileSync(join(folder, `${name}.key`), pair.privateKeyPem)
  }
  writeFileSync(
    join(folder, 'bluepost.yaml'),
    `dataHolder: { name: Ashby, address: ${us} }
keys:
  - { certificate: address.pem, privateKey: file:address.key }
  - { certificate: domain.pem, privateKey: file:domain.key }
trust: { anchors: [ root.pem ] }
discovery: { dns: { servers: [ 127.0.0.1:${dns.port} ] }, allowPrivateAddresses: true }
`,
  )
})
afterAll(async () => {
  dns.close()
  await directory.close()
  rmSync(folder, { recursive: true })
})

const inDns = (name: string, { certificate }: Issued): ZoneRecord => ({
  type: 'CERT',
  name,
  certificate: certificate.toString('base64'),
})

/** The hosting tests of the Direct Certificate Discovery Tool: our certificate, where others look for it. */
test.each([
  ['H1', 'address-bound, in DNS', 'address', 'dns-address'],
  ['H2', 'domain-bound, in DNS', 'domain', 'dns-domain'],
  ['H3', 'address-bound, in LDAP', 'address', 'ldap-address'],
  ['H4', 'domain-bound, in LDAP', 'domain', 'ldap-domain'],
] as const)('%s: %s', async (_, _what, binding, step) => {
  dns.commands.clear()
  directory.fill([])
  const pair = pairs[binding]
  if (step === 'dns-address') dns.commands.add({ records: [inDns(`transmit.${domain}`, pair)] })
  else if (step === 'dns-domain') dns.commands.add({ records: [inDns(domain, pair)] })
  else {
    directory.fill([memberEntry(step === 'ldap-address' ? us : domain, [pair.certificate])])
    dns.commands.add({
      records: [
        { type: 'A', name: `ldap.${domain}`, data: '127.0.0.1' },
        {
          type: 'SRV',
          name: `_ldap._tcp.${domain}`,
          priority: 0,
          weight: 0,
          port: directory.port,
          target: `ldap.${domain}`,
        },
      ],
    })
  }
  const { exit, answer } = await certsOwn()
  expect(answer).toMatchObject({ good: true, certificates: [{ binding }] })
  expect(answer.steps.at(-1)).toMatchObject({ step, outcome: 'found' })
  expect(exit).toBe(0)
})

test('published nowhere, and a certificate that is not ours, are found fault with', async () => {
  dns.commands.clear()
  expect(await certsOwn()).toMatchObject({ exit: 1, answer: { good: false } })
  dns.commands.add({ records: [inDns(`transmit.${domain}`, issueFor(root, us, ec))] })
  const { exit, answer } = await certsOwn()
  expect(exit).toBe(1)
  expect(answer.certificates[0]!.problem).toMatch(/not among `keys`/)
})

interface Answer {
  readonly good: boolean
  readonly steps: readonly { readonly step: string; readonly outcome: string }[]
  readonly certificates: readonly { readonly binding?: string; readonly problem?: string }[]
}

function certsOwn(): Promise<{ exit: number; answer: Answer }> {
  const cli = new URL('../../src/cli.ts', import.meta.url).pathname
  const words = [cli, 'certs', '--own', '--json', '--config', join(folder, 'bluepost.yaml')]
  return new Promise((resolve, reject) => {
    execFile(process.execPath, words, { env: { ...process.env, NODE_OPTIONS: '' } }, (error, out, err) => {
      try {
        resolve({ exit: error === null ? 0 : Number(error.code), answer: JSON.parse(out) as Answer })
      } catch {
        reject(new Error(err))
      }
    })
  })
}
