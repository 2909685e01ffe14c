import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto'
import type { DistrustCode } from '../domain/trust-verdict.ts'
import { certificatesIn } from './anchors.ts'
import { readCertificate, type Certificate } from './certificate.ts'
import { readPkcs12 } from './pkcs12.ts'
import { leafFlaw, type Flaw } from './flaws.ts'
import { isSignedBy } from './signed-by.ts'

/** Where a key of ours comes from; files are read already, passphrases resolved. */
export type KeySource =
  | {
      readonly form: 'pem'
      /** PEM of the certificate and, in any order, of what lies above it; or DER of the certificate alone. */
      readonly certificate: Buffer
      /** PEM: PKCS #8, encrypted or not, or the older forms of RSA and EC keys. */
      readonly privateKey: string
      readonly passphrase?: string
    }
  | { readonly form: 'pkcs12'; readonly bytes: Buffer; readonly passphrase: string }
  /** The private key never leaves a device: of the certificates, the first is that of the key. */
  | { readonly form: 'device'; readonly certificate: Buffer }

export interface OwnKeyPair extends Uses {
  readonly certificate: Certificate
  /** Undefined where it lives in a device. */
  readonly privateKey: KeyObject | undefined
  /** From the issuer of the certificate upwards, without the root; as far as the file has them. */
  readonly intermediates: readonly Certificate[]
}

/** What a certificate of ours may be used for at one moment. */
export interface Uses {
  /** May it sign messages? */
  readonly maySign: Use
  /** What was encrypted to it can be read as long as the key is kept, expired or not. */
  readonly mayDecrypt: Use
  /** Whole days until notAfter, rounded down; negative after it. */
  readonly daysLeft: number
}

export type Use =
  | { readonly allowed: true }
  | { readonly allowed: false; readonly code: DistrustCode; readonly because: string }

export type OwnKeyReading =
  | { readonly readable: true; readonly pair: OwnKeyPair }
  | { readonly readable: false; readonly because: string; readonly remedy: string }

const dayMs = 86_400_000

/**
 * Reads one key pair of ours and says what it may be used for. Of several certificates for the same key one that is valid
 * now is taken, and of these the one that is longest; whatever else the file holds is looked through for the chain.
 */
export function readOwnKey(source: KeySource, at: Date): OwnKeyReading {
  const material =
    source.form === 'pem'
      ? fromPem(source)
      : source.form === 'device'
        ? fromDevice(source)
        : fromPkcs12(source)
  if (!material.readable) return material
  const certificates: Certificate[] = []
  for (const der of material.certificates) {
    const reading = readCertificate(der)
    if (!reading.readable)
      return refused(`a certificate cannot be read: ${reading.because}`, 'ask its issuer for it again')
    certificates.push(reading.certificate)
  }
  const pairs =
    source.form === 'device'
      ? certificates.slice(0, 1).map((certificate) => ({ certificate, privateKey: undefined }))
      : material.privateKeys.flatMap((privateKey) =>
          certificates
            .filter((certificate) => belongsTo(certificate, privateKey))
            .map((certificate) => ({ certificate, privateKey })),
        )
  const isCurrent = ({ notBefore, notAfter }: Certificate) => notBefore <= at && at <= notAfter
  const [pair] = pairs.sort(
    (a, b) =>
      Number(isCurrent(b.certificate)) - Number(isCurrent(a.certificate)) ||
      b.certificate.notAfter.getTime() - a.certificate.notAfter.getTime(),
  )
  if (pair === undefined) return noPair(certificates, material.privateKeys)
  const { certificate, privateKey } = pair
  return {
    readable: true,
    pair: {
      certificate,
      privateKey,
      intermediates: chainAbove(certificate, certificates),
      ...usesAt(certificate, at),
    },
  }
}

export function usesAt(certificate: Certificate, at: Date): Uses {
  return {
    maySign: useOf(leafFlaw(certificate, at, 'sign')),
    mayDecrypt: useOf(decryptionFlaw(certificate, at)),
    daysLeft: daysUntil(certificate.notAfter, at),
  }
}

/** Whole days, rounded down; negative when it is past. */
export function daysUntil(end: Date, at: Date): number {
  return Math.floor((end.getTime() - at.getTime()) / dayMs)
}

type Material =
  | {
      readonly readable: true
      readonly certificates: readonly Buffer[]
      readonly privateKeys: readonly KeyObject[]
    }
  | { readonly readable: false; readonly because: string; readonly remedy: string }

function fromDevice({ certificate }: KeySource & { form: 'device' }): Material {
  const { ders, problem } = certificatesIn(certificate)
  if (problem !== undefined || ders.length === 0)
    return refused(
      `the certificate: ${problem ?? 'none in the file'}`,
      'give a PEM file with BEGIN CERTIFICATE',
    )
  return { readable: true, certificates: ders, privateKeys: [] }
}

function fromPem({ certificate, privateKey, passphrase }: KeySource & { form: 'pem' }): Material {
  const reading = fromDevice({ form: 'device', certificate })
  if (!reading.readable) return reading
  try {
    const key = createPrivateKey({ key: privateKey, ...(passphrase === undefined ? {} : { passphrase }) })
    return { ...reading, privateKeys: [key] }
  } catch (cause) {
    return unreadableKey(privateKey, passphrase, (cause as { code?: unknown }).code)
  }
}

/** What OpenSSL says about keys is of little use to people, and may hold parts of them. */
function unreadableKey(pem: string, passphrase: string | undefined, code: unknown): Material {
  if (!pem.includes('-----BEGIN '))
    return refused(
      'the private key is not PEM',
      'write `privateKey: file:PATH` of a file that starts with -----BEGIN PRIVATE KEY-----, or env:NAME',
    )
  if (!/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(pem))
    return refused('the PEM has no PRIVATE KEY', 'name the file of the key under `privateKey:`')
  const isEncrypted = /ENCRYPTED/.test(pem)
  if (isEncrypted && passphrase === undefined)
    return refused('the private key is encrypted', 'add `passphrase: env:NAME` or file:PATH')
  if (isEncrypted && code !== 'ERR_OSSL_UNSUPPORTED')
    return refused('the passphrase does not open the private key', 'check `passphrase:`')
  if (code === 'ERR_OSSL_UNSUPPORTED')
    return refused(
      'the private key has a kind or an encryption that today’s OpenSSL does not read',
      'write it anew: openssl pkcs8 -topk8 -v2 aes-256-cbc -in OLD.pem -out NEW.pem',
    )
  return refused('the private key cannot be read', 'check it: openssl pkey -noout -check -in KEY.pem')
}

function fromPkcs12({ bytes, passphrase }: KeySource & { form: 'pkcs12' }): Material {
  const reading = readPkcs12(bytes, passphrase)
  if (!reading.readable) return reading
  const { privateKeys, certificates } = reading
  if (privateKeys.length === 0 || certificates.length === 0)
    return refused(
      privateKeys.length === 0 ? 'it holds no private key that can be used' : 'it holds no certificate',
      'export both: openssl pkcs12 -export -inkey key.pem -in cert.pem -certfile chain.pem -out NEW.p12',
    )
  return reading
}

function belongsTo({ publicKey }: Certificate, privateKey: KeyObject): boolean {
  return publicKey.kind !== 'unsupported' && createPublicKey(privateKey).equals(publicKey.key)
}

function noPair(certificates: readonly Certificate[], keys: readonly KeyObject[]): OwnKeyReading {
  const [only] = certificates
  if (only !== undefined && only.publicKey.kind === 'unsupported')
    return refused(`the certificate has ${only.publicKey.because}`, 'use a certificate with an RSA or EC key')
  const kinds = [...new Set(keys.map((key) => key.asymmetricKeyType?.toUpperCase()))].join(' and ')
  const shown = only === undefined ? 'no certificate' : `the certificate “${only.subject.text}”`
  return refused(
    `the private key (${kinds}) does not belong to ${shown}`,
    'give the key that the certificate was requested with',
  )
}

function chainAbove(certificate: Certificate, others: readonly Certificate[]): Certificate[] {
  const chain: Certificate[] = []
  let below = certificate
  for (;;) {
    const issuer = others.find(
      (one) =>
        one.fingerprint !== certificate.fingerprint &&
        !chain.includes(one) &&
        one.subject.comparable === below.issuer.comparable &&
        one.subject.comparable !== one.issuer.comparable &&
        isSignedBy(below, one),
    )
    if (issuer === undefined) return chain
    chain.push(issuer)
    below = issuer
  }
}

/** Dates do not count: messages on their way when the certificate expired still have to be read. */
function decryptionFlaw(certificate: Certificate, at: Date): Flaw | undefined {
  const { notBefore, notAfter } = certificate
  const within = at < notBefore ? notBefore : at > notAfter ? notAfter : at
  return leafFlaw(certificate, within, 'encrypt')
}

function useOf(flaw: Flaw | undefined): Use {
  return flaw === undefined ? { allowed: true } : { allowed: false, ...flaw }
}

function refused(because: string, remedy: string): { readable: false; because: string; remedy: string } {
  return { readable: false, because, remedy }
}
