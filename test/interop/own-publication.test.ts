import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { freePorts } from '../neighbours/engine.ts'
import { issueFor, makeRoot } from '../pki/pki.ts'
import { certLine, runNamed } from './named.ts'
import { runSlapd } from './slapd.ts'

const run = promisify(execFile)
const base = 'hosting.example'
const ec = { keyType: 'ec256' } as const
const root = makeRoot({ ...ec, name: 'Somewhere Root' })

/** The hosting tests of the Direct Certificate Discovery Tool, on BIND and slapd. */
const hosted = [
  { id: 'H1', binding: 'address', step: 'dns-address' },
  { id: 'H2', binding: 'domain', step: 'dns-domain' },
  { id: 'H3', binding: 'address', step: 'ldap-address' },
  { id: 'H4', binding: 'domain', step: 'ldap-domain' },
].map(({ id, binding, step }) => {
  const domain = `${id.toLowerCase()}.${base}`
  const address = `transmit@${domain}`
  return {
    id,
    step,
    binding,
    domain,
    address,
    pair: issueFor(root, binding === 'address' ? address : domain, ec),
  }
})

let folder: string
let server: string
const stops: (() => Promise<void>)[] = []
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'bluepost-hosting-'))
  const [ldapPort] = await freePorts(1)
  const inLdap = hosted.filter(({ step }) => step.startsWith('ldap'))
  const slapd = await runSlapd(
    inLdap.map(({ binding, address, domain, pair }) => ({
      mail: binding === 'address' ? address : domain,
      attributes: { 'userCertificate;binary': [pair.certificate] },
    })),
    ldapPort,
  )
  stops.push(() => slapd.stop())
  const [h1, h2] = hosted as [(typeof hosted)[number], (typeof hosted)[number]]
  const named = await runNamed(base, [
    certLine(`transmit.${h1.domain}.`, h1.pair.certificate),
    certLine(`${h2.domain}.`, h2.pair.certificate),
    `ldap.${base}. IN A 127.0.0.1`,
    ...inLdap.map(({ domain }) => `_ldap._tcp.${domain}. IN SRV 0 0 ${ldapPort} ldap.${base}.`),
  ])
  stops.push(() => named.stop())
  server = named.server
  writeFileSync(join(folder, 'root.pem'), root.certificatePem)
}, 60_000)
afterAll(async () => {
  for (const stop of stops.reverse()) await stop()
  rmSync(folder, { recursive: true, force: true })
})

test.each(hosted)('$id: what we publish is found as $step', async ({ id, address, step, binding, pair }) => {
  writeFileSync(join(folder, `${id}.pem`), pair.certificatePem)
  writeFileSync(join(folder, `${id}.key`), pair.privateKeyPem)
  const config = join(folder, `${id}.yaml`)
  writeFileSync(
    config,
    `dataHolder: { name: Ashby, address: ${address} }
keys: [ { certificate: ${id}.pem, privateKey: file:${id}.key } ]
trust: { anchors: [ root.pem ] }
discovery: { dns: { servers: [ ${server} ] }, allowPrivateAddresses: true }
`,
  )
  const cli = new URL('../../src/cli.ts', import.meta.url).pathname
  const { stdout } = await run(process.execPath, [cli, 'certs', '--own', '--json', '--config', config], {
    env: { ...process.env, NODE_OPTIONS: '' },
  })
  const { good, certificates, steps } = JSON.parse(stdout) as {
    good: boolean
    certificates: unknown[]
    steps: { step: string; outcome: string }[]
  }
  expect({ good, certificates }).toMatchObject({ good: true, certificates: [{ binding }] })
  expect(steps.at(-1)).toMatchObject({ step, outcome: 'found' })
})
