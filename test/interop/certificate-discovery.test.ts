import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { stringify } from 'yaml'
import { Failed } from '../../src/domain/failure.ts'
import { readPartners } from '../../src/partners.ts'
import { trustedRecipients, type RecipientPorts } from '../../src/pipeline/recipients.ts'
import { parseSettings } from '../../src/settings.ts'
import { discoveryWorld, type DiscoveryWorld, type LdapEntry } from '../neighbours/discovery-cases.ts'
import type { ZoneRecord } from '../neighbours/dns-server.ts'
import { freePorts } from '../neighbours/engine.ts'
import { makeCrl } from '../pki/crl.ts'
import { certLine, runNamed } from './named.ts'
import { listensOn, programAmong, serverProcess } from './server-process.ts'
import { runSlapd } from './slapd.ts'

const numbers = Array.from({ length: 18 }, (_, index) => index + 1)

/** Both certification tools on BIND, three slapd and an HTTP server. */
describe.each(['dcdt', 'directtrust'] as const)('certificate discovery, as %s tests it', (tool) => {
  let folder: string
  let world: DiscoveryWorld
  let ports: RecipientPorts
  const stops: (() => Promise<void>)[] = []

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'bluepost-discovery-'))
    const free = await freePorts(5)
    const [one, two, three, downPort, http] = free as [number, number, number, number, number]
    const base = `${tool}.example`
    world = discoveryWorld(tool, {
      base,
      ldapHost: `ldap.${base}`,
      ldapAddress: '127.0.0.1',
      ldapPorts: [one, two, three],
      downPort,
      pkiUrl: `http://127.0.0.1:${http}`,
    })
    const directories = [world.ldap1, world.ldap2, world.ldap3]
    for (const [index, port] of [one, two, three].entries()) {
      const slapd = await runSlapd(directories[index]!.map(slapdEntry), port)
      stops.push(() => slapd.stop())
    }
    const named = await runNamed(base, world.zone.map(zoneLine))
    stops.push(() => named.stop())

    writeFileSync(join(folder, 'intermediate.cer'), world.intermediate)
    const revoked = world.revoked.map((serial) => ({ serial }))
    writeFileSync(join(folder, 'root.crl'), makeCrl(world.root, { revoked }))
    const busybox = programAmong(['busybox'], '--help', 'busybox')
    const web = await serverProcess(busybox, ['httpd', '-f', '-p', `127.0.0.1:${http}`, '-h', folder], () =>
      listensOn(http),
    )
    stops.push(() => web.stop())

    writeFileSync(join(folder, 'root.pem'), world.root.certificatePem)
    const reading = parseSettings(
      stringify({
        trust: { anchors: [join(folder, 'root.pem')] },
        discovery: { dns: { servers: [named.server] }, allowPrivateAddresses: true },
      }),
      undefined,
      {},
    )
    if (!reading.valid) throw new Error(JSON.stringify(reading.problems))
    const { discovery, trust } = readPartners(reading.settings, new Date())
    ports = { discovery, trust, localDomain: 'direct.ashby.example' }
  }, 60_000)
  afterAll(async () => {
    for (const stop of stops.reverse()) await stop()
    rmSync(folder, { recursive: true, force: true })
  })

  test.each(numbers)('D%d', async (number) => {
    const { address, ends, expected, what } = world.cases[number - 1]!
    const found = await trustedRecipients(ports, address, new Date()).catch((error: unknown) => error)
    if (found instanceof Failed)
      expect({ what, ends: refusals[found.code], expected }).toEqual({ what, ends, expected: [] })
    else expect(found).toMatchObject({ certificates: expected.map((der) => ({ der })) })
  })
})

const refusals: Record<string, string> = {
  'recipient-untrusted': 'untrusted',
  'recipient-no-certificate': 'absent',
  'discovery-unavailable': 'unreachable',
}

function slapdEntry({ mail, certificates }: LdapEntry) {
  return { mail, attributes: { 'userCertificate;binary': certificates } }
}

function zoneLine(record: ZoneRecord): string {
  if (record.type === 'CERT') return certLine(`${record.name}.`, Buffer.from(record.certificate, 'base64'))
  if (record.type === 'SRV')
    return `${record.name}. IN SRV ${record.priority} ${record.weight} ${record.port} ${record.target}.`
  if (record.type === 'A') return `${record.name}. IN A ${record.data}`
  throw new Error(`the world of discovery has no ${record.type}`)
}
