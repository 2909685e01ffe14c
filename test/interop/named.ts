import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { freePorts } from '../neighbours/engine.ts'
import { programAmong, serverProcess } from './server-process.ts'

/** BIND on the loopback, primary for one zone. */
export async function runNamed(
  zone: string,
  records: readonly string[],
): Promise<{ server: string; stop(): Promise<void> }> {
  const program = programAmong(['named', '/usr/sbin/named'], '-v', 'bind9')
  const folder = mkdtempSync(join(tmpdir(), 'bind-'))
  const [port] = await freePorts(1)
  writeFileSync(
    join(folder, 'zone.db'),
    [
      `$ORIGIN ${zone}.`,
      '$TTL 300',
      `@ IN SOA ns.${zone}. hostmaster.${zone}. 1 3600 600 86400 45`,
      `@ IN NS ns.${zone}.`,
      'ns IN A 127.0.0.1',
      ...records,
      '',
    ].join('\n'),
  )
  writeFileSync(
    join(folder, 'named.conf'),
    `
options {
  directory "${folder}"; pid-file none; session-keyfile "${folder}/session.key"; managed-keys-directory "${folder}";
  listen-on port ${port} { 127.0.0.1; }; listen-on-v6 { none; };
  recursion no; dnssec-validation no; minimal-responses yes; allow-query { any; };
  rate-limit { responses-per-second 0; };
};
controls { };
zone "${zone}" { type primary; file "${folder}/zone.db"; };
`,
  )
  const asRoot = userInfo().uid === 0 ? ['-u', 'root'] : []
  const named = await serverProcess(program, ['-g', '-c', join(folder, 'named.conf'), ...asRoot], (said) =>
    / running\n/.test(said),
  )
  return {
    server: `127.0.0.1:${port}`,
    async stop() {
      await named.stop()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** CERT in its presentation form (RFC 4398 §2.2): type, key tag, algorithm, base64. */
export function certLine(name: string, der: Buffer, type = 'PKIX'): string {
  return `${name} 120 IN CERT ${type} 0 0 ${der.toString('base64')}`
}
