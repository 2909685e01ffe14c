import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as asn1js from 'asn1js'
import * as pkijs from 'pkijs'
import type { Issued } from '../test/pki/pki.ts'

/** PKI.js as it comes, for RSA-OAEP with AES-CBC: it has no PKCS#1 v1.5 key transport and does not read AuthEnvelopedData. */
export async function openByPkijs(raw: Buffer, recipient: Issued): Promise<void> {
  const enveloped = new pkijs.EnvelopedData({ schema: contentOf(bodyOf(raw)) })
  const entity = Buffer.from(
    await enveloped.decrypt(0, {
      recipientCertificate: pkijs.Certificate.fromBER(recipient.certificate),
      recipientPrivateKey: arrayBuffer(recipient.privateKey.export({ type: 'pkcs8', format: 'der' })),
    }),
  )
  const delimiter = `--${/boundary=(\w+)/.exec(entity.toString('latin1', 0, 200))![1]!}`
  const start = entity.indexOf(`${delimiter}\r\n`) + delimiter.length + 2
  const end = entity.lastIndexOf(`\r\n${delimiter}\r\n`)
  const signature = entity.subarray(end + 2 + delimiter.length + 2)
  const signed = new pkijs.SignedData({ schema: contentOf(bodyOf(signature)) })
  const content = arrayBuffer(entity.subarray(start, end))
  if (!(await signed.verify({ signer: 0, data: content, checkChain: false })))
    throw new Error('the signature does not hold')
}

function bodyOf(entity: Buffer): Buffer {
  return Buffer.from(entity.toString('latin1', entity.indexOf('\r\n\r\n') + 4), 'base64')
}

/** pkijs’ own fromBER stops at 16 MiB. */
function contentOf(bytes: Buffer): unknown {
  const { result } = asn1js.fromBER(bytes, { maxNodes: 1e6, maxContentLength: 1e9 })
  return new pkijs.ContentInfo({ schema: result }).content
}

function arrayBuffer(bytes: Buffer): ArrayBuffer {
  return new Uint8Array(bytes).buffer
}

export interface OpensslOpening {
  /** Decrypts and verifies a message in two processes, as shell scripts do. */
  open(recipient: Issued): void
  place(raw: Buffer): void
  remove(): void
}

/** Undefined where there is no openssl binary with cms. */
export function openssl(): OpensslOpening | undefined {
  const folder = mkdtempSync(join(tmpdir(), 'bluepost-bench-open-'))
  const run = (...words: string[]) =>
    execFileSync('openssl', words, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] })
  try {
    run('cms', '-help')
  } catch {
    rmSync(folder, { recursive: true })
    return undefined
  }
  const filed = new Set<Issued>()
  return {
    place: (raw) => writeFileSync(join(folder, 'message.eml'), raw),
    open(recipient) {
      if (!filed.has(recipient))
        writeFileSync(join(folder, 'key.pem'), recipient.certificatePem + recipient.privateKeyPem)
      filed.clear()
      filed.add(recipient)
      run('cms', '-decrypt', '-in', 'message.eml', '-recip', 'key.pem', '-inkey', 'key.pem', '-out', 'signed')
      run('cms', '-verify', '-in', 'signed', '-noverify', '-out', 'content')
    },
    remove: () => rmSync(folder, { recursive: true }),
  }
}
