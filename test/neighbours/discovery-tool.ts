import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { makeCrl } from '../pki/crl.ts'
import { discoveryWorld, type DiscoveryTool, type DiscoveryWorld } from './discovery-cases.ts'
import { serveDns } from './dns-server.ts'
import { freePorts } from './engine.ts'
import { memberEntry, serveLdap } from './ldap-server.ts'
import { servePki } from './pki-server.ts'

export interface RunningTool {
  readonly world: DiscoveryWorld
  /** What bluepost.yaml says to take part. */
  readonly settings: Readonly<Record<'trust' | 'discovery', unknown>>
  close(): Promise<void>
}

/** One of the two certification tools in this process: its DNS, its three directories, its authority’s web server. */
export async function runDiscoveryTool(tool: DiscoveryTool): Promise<RunningTool> {
  const dns = await serveDns(() => {}, 0)
  const directories = [await serveLdap(), await serveLdap(), await serveLdap()]
  const pki = await servePki()
  const [downPort] = await freePorts(1)
  const world = discoveryWorld(tool, {
    base: `${tool}.example`,
    ldapHost: `ldap.${tool}.example`,
    ldapAddress: '127.0.0.1',
    ldapPorts: directories.map(({ port }) => port) as [number, number, number],
    downPort: downPort!,
    pkiUrl: pki.url(''),
  })
  dns.commands.add({ records: [...world.zone] })
  for (const [index, entries] of [world.ldap1, world.ldap2, world.ldap3].entries())
    directories[index]!.fill(entries.map(({ mail, certificates }) => memberEntry(mail, certificates)))
  pki.put('/root.crl', {
    is: 'crl',
    bytes: makeCrl(world.root, { revoked: world.revoked.map((serial) => ({ serial })) }),
  })
  pki.put('/intermediate.cer', { is: 'cer', bytes: world.intermediate })
  const folder = await mkdtemp(join(tmpdir(), 'bluepost-discovery-'))
  await writeFile(join(folder, 'root.pem'), world.root.certificatePem)
  return {
    world,
    settings: {
      trust: { anchors: [join(folder, 'root.pem')] },
      discovery: { dns: { servers: [`127.0.0.1:${dns.port}`] }, allowPrivateAddresses: true },
    },
    async close() {
      dns.close()
      for (const one of [...directories, pki]) await one.close()
      await rm(folder, { recursive: true, force: true })
    },
  }
}
