import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePorts } from '../neighbours/engine.ts'
import { listensOn, programAmong, serverProcess } from './server-process.ts'

/** One person or domain; attribute names with their options, as LDIF writes them. */
export interface SlapdEntry {
  readonly mail: string
  readonly attributes: Readonly<Record<string, readonly Buffer[]>>
}

/** OpenLDAP on the loopback with one naming context, `o=Direct`, readable by everybody. */
export async function runSlapd(
  entries: readonly SlapdEntry[],
  wantedPort?: number,
): Promise<{ port: number; stop(): Promise<void> }> {
  const program = programAmong(['/usr/sbin/slapd', 'slapd'], '-V', 'slapd')
  const folder = mkdtempSync(join(tmpdir(), 'slapd-'))
  const port = wantedPort ?? (await freePorts(1))[0]!
  mkdirSync(join(folder, 'db'))
  const configuration = join(folder, 'slapd.conf')
  writeFileSync(
    configuration,
    `
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile ${folder}/slapd.pid
access to * by * read
database mdb
suffix "o=Direct"
directory ${folder}/db
maxsize 10485760
index mail eq
`,
  )
  writeFileSync(join(folder, 'data.ldif'), ldifOf(entries))
  execFileSync(program.replace(/slapd$/, 'slapadd'), ['-f', configuration, '-l', join(folder, 'data.ldif')], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const slapd = await serverProcess(
    program,
    ['-f', configuration, '-h', `ldap://127.0.0.1:${port}`, '-d', '0'],
    () => listensOn(port),
  )
  return {
    port,
    async stop() {
      await slapd.stop()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

function ldifOf(entries: readonly SlapdEntry[]): string {
  const people = entries.map(({ mail, attributes }, index) =>
    [
      `dn: cn=member ${index},o=Direct`,
      'objectClass: inetOrgPerson',
      `cn: member ${index}`,
      'sn: member',
      `mail: ${mail}`,
      ...Object.entries(attributes).flatMap(([name, values]) =>
        values.map((value) => `${name}:: ${value.toString('base64')}`),
      ),
    ].join('\n'),
  )
  return ['dn: o=Direct\nobjectClass: organization\no: Direct', ...people, ''].join('\n\n')
}
