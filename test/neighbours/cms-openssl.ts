import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Cms } from './cms.ts'

const run = promisify(execFile)
const runsWithinMs = 60_000

/** CMS by the `openssl` binary, one process per step, files in a private directory that is gone afterwards. */
export function opensslCms(version: string): Cms {
  // LibreSSL (macOS) does not know the options that keep the system’s own roots out.
  const onlyTheseRoots = version.startsWith('OpenSSL') ? ['-no-CApath', '-no-CAstore', '-partial_chain'] : []

  async function cms(
    files: Record<string, Buffer | string>,
    output: string,
    options: (path: (name: string) => string) => string[],
  ): Promise<Buffer> {
    const directory = await mkdtemp(join(tmpdir(), 'neighbour-cms-'))
    const path = (name: string) => join(directory, name)
    try {
      for (const [name, content] of Object.entries(files))
        await writeFile(path(name), content, { mode: 0o600 })
      await run('openssl', ['cms', ...options(path)], { timeout: runsWithinMs, maxBuffer: 1 << 20 })
      return await readFile(path(output))
    } catch (error) {
      const said = ((error as { stderr?: string }).stderr ?? String(error)).trim()
      throw new Error(`openssl cms: ${said.split('\n').slice(0, 4).join(' / ')}`)
    } finally {
      await rm(directory, { recursive: true, force: true })
    }
  }

  return {
    by: version,
    async decrypt(enveloped, keys) {
      let reason: unknown = new Error('no key to decrypt with')
      for (const { certificate, privateKey } of keys) {
        try {
          return await cms(
            { 'in.der': enveloped, 'c.pem': certificate, 'k.pem': privateKey },
            'out',
            (path) => [
              ...['-decrypt', '-binary', '-inform', 'DER', '-in', path('in.der')],
              ...['-recip', path('c.pem'), '-inkey', path('k.pem'), '-out', path('out')],
            ],
          )
        } catch (error) {
          reason = error
        }
      }
      throw reason
    },
    async verify(content, signature, roots) {
      const signers = await cms(
        { content, 'sig.der': signature, 'roots.pem': roots.join('\n') },
        'signers.pem',
        (path) => [
          ...['-verify', '-binary', '-inform', 'DER', '-in', path('sig.der'), '-content', path('content')],
          ...['-CAfile', path('roots.pem'), ...onlyTheseRoots, '-purpose', 'any'],
          ...['-signer', path('signers.pem'), '-out', path('verified')],
        ],
      )
      return signers.toString().match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []
    },
    sign: (content, { certificate, privateKey }) =>
      cms({ content, 'c.pem': certificate, 'k.pem': privateKey }, 'sig.der', (path) => [
        ...['-sign', '-binary', '-md', 'sha256', '-in', path('content')],
        ...['-signer', path('c.pem'), '-inkey', path('k.pem'), '-outform', 'DER', '-out', path('sig.der')],
      ]),
    encrypt: (content, recipients, transport) =>
      cms(
        { content, ...Object.fromEntries(recipients.map((pem, n) => [`r${n}.pem`, pem])) },
        'out.der',
        (path) => [
          ...['-encrypt', '-binary', '-aes-256-cbc', '-in', path('content'), '-outform', 'DER'],
          ...['-out', path('out.der')],
          ...recipients.flatMap((_, n) => ['-recip', path(`r${n}.pem`), ...transportOptions[transport]]),
        ],
      ),
  }
}

const transportOptions = {
  pkcs1: [],
  'oaep-sha1': ['-keyopt', 'rsa_padding_mode:oaep'],
  'oaep-sha256': [
    ...['-keyopt', 'rsa_padding_mode:oaep', '-keyopt', 'rsa_oaep_md:sha256'],
    ...['-keyopt', 'rsa_mgf1_md:sha256'],
  ],
}
