import { execFileSync } from 'node:child_process'
import { opensslCms } from './cms-openssl.ts'
import { pkijsCms } from './cms-pkijs.ts'

/** A certificate and its key, both PEM. */
export interface KeyPair {
  certificate: string
  privateKey: string
}

export type KeyTransport = 'pkcs1' | 'oaep-sha1' | 'oaep-sha256'

/** What a receiving HISP does with CMS (RFC 5652), by an implementation that is not ours. */
export interface Cms {
  readonly by: string
  /** The content of an EnvelopedData that is for one of these keys; throws where it is for none. */
  decrypt(enveloped: Buffer, keys: readonly KeyPair[]): Promise<Buffer>
  /** Checks a detached SignedData over the content and each signer’s path to a root; gives the signers’ certificates, PEM. */
  verify(content: Buffer, signature: Buffer, roots: readonly string[]): Promise<string[]>
  /** A detached SignedData, DER. */
  sign(content: Buffer, signer: KeyPair): Promise<Buffer>
  /** An EnvelopedData with AES-256-CBC, DER. */
  encrypt(content: Buffer, recipients: readonly string[], transport: KeyTransport): Promise<Buffer>
}

/** The `openssl` binary where there is one that knows `cms`, else pkijs. */
export function anyCms(preferred?: 'openssl' | 'pkijs'): Cms {
  if (preferred === 'pkijs') return pkijsCms()
  try {
    const version = execFileSync('openssl', ['version'], { stdio: ['ignore', 'pipe', 'ignore'] })
      .toString()
      .trim()
    return opensslCms(version)
  } catch {
    if (preferred === 'openssl') throw new Error('there is no openssl binary here')
    return pkijsCms()
  }
}
