import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Issued } from '../pki/pki.ts'

/** The system’s `openssl` in a folder of its own: it shares no code with us, while Node has an OpenSSL of its own inside. */
export interface OpensslTool {
  run(...words: string[]): void
  read(name: string): Buffer
  write(name: string, content: Buffer | string): string
  /** Certificate and key in a PEM file. */
  filed(one: Issued): string
  remove(): void
}

export function opensslTool(): OpensslTool {
  const folder = mkdtempSync(join(tmpdir(), 'bluepost-openssl-'))
  const names = new Map<Issued, string>()
  const write = (name: string, content: Buffer | string) => {
    writeFileSync(join(folder, name), content)
    return name
  }
  return {
    write,
    read: (name) => readFileSync(join(folder, name)),
    run: (...words) =>
      void execFileSync('openssl', words, {
        cwd: folder,
        stdio: ['ignore', 'pipe', 'pipe'],
        timeout: 120_000,
      }),
    filed(one) {
      const name = names.get(one) ?? write(`key${names.size}.pem`, one.certificatePem + one.privateKeyPem)
      names.set(one, name)
      return name
    },
    remove: () => rmSync(folder, { recursive: true }),
  }
}
