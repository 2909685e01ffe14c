import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { relative } from 'node:path'
import { readWhole, shown } from './anchor-files.ts'
import type { DirectAddress } from './domain/direct-address.ts'
import { deviceKeyHolder } from './seal/key-device.ts'
import { fileKeyHolder, type KeyHolder, type OwnKey } from './seal/own-key.ts'
import type { Signer } from './seal/seal.ts'
import type { DeviceSetting, KeySetting } from './settings/keys.ts'
import type { Certificate } from './trust/certificate.ts'
import { covers } from './trust/covers.ts'
import { readOwnKey, usesAt, type KeySource, type OwnKeyPair, type Uses } from './trust/own-keys.ts'

/**
 * The key pairs of an installation. Which of them sign is asked at each use: one whose certificate becomes valid begins
 * to sign by itself, one that expires stops, and it opens what was encrypted to it for as long as it is configured.
 */
export interface KeyRing {
  /** Each signs every message of that moment; empty where none may sign for the data holder’s address. */
  signers(at: Date): readonly RingSigner[]
  /** Every key that may decrypt, those with expired certificates included. */
  ownKeys(at: Date): readonly OwnKey[]
  /** Certificates in use that somebody has to renew, soonest first: those with a successor are not among them. */
  expiries(at: Date): readonly KeyExpiry[]
  /** Sentences: what does not work, where, and what helps. */
  problems(at: Date): readonly string[]
  /** Looks at the files again. What cannot be used there leaves what was read before in use, and is a problem. */
  reread(at: Date): void
}

export interface RingSigner extends Signer {
  /** SHA-256. */
  readonly fingerprint: string
}

export interface KeyExpiry {
  readonly use: 'sign' | 'decrypt'
  /** `keys (bluepost.yaml:12), ashby.pem` */
  readonly name: string
  /** Whole days, negative when it is over. */
  readonly daysLeft: number
}

/** What stands in one entry of `keys`. */
interface Entry {
  readonly name: string
  readonly setting: KeySetting
  /** Of the files as they were last looked at. */
  seen?: string
  problem?: string
  held?: Held
}

interface Held {
  readonly name: string
  readonly pair: OwnKeyPair
  readonly signer: RingSigner
  readonly ownKey: OwnKey
}

/** @param address of the data holder: whose certificates may sign */
export function openKeyRing(
  { keys, file }: { readonly keys: readonly KeySetting[]; readonly file?: string },
  address: DirectAddress | undefined,
  at: Date,
): KeyRing {
  const entries = keys.map((setting): Entry => {
    const path = 'pkcs12' in setting ? setting.pkcs12 : setting.certificate
    const line = `${file === undefined ? '' : `${relative(process.cwd(), file)}:`}${setting.line}`
    return { name: `keys (${line}), ${shown(path)}`, setting }
  })
  /** Replaced in their files meanwhile: what is on its way was encrypted to them. */
  const replaced: Held[] = []
  const ring: KeyRing = {
    signers: (moment) => signing(held(), address, moment).map(({ signer }) => signer),
    ownKeys: (moment) => decrypting([...held(), ...replaced], moment).map(({ ownKey }) => ownKey),
    expiries: (moment) => expiriesOf(held(), address, moment),
    problems: (moment) => problemsOf(entries, held(), address, moment),
    reread(moment) {
      for (const entry of entries) {
        const before = entry.held
        readEntry(entry, address, moment)
        if (before !== undefined && before.signer.fingerprint !== entry.held?.signer.fingerprint)
          replaced.push(before)
      }
    },
  }
  const held = () => entries.flatMap((entry) => entry.held ?? [])
  ring.reread(at)
  return ring
}

function readEntry(entry: Entry, address: DirectAddress | undefined, at: Date): void {
  const source = readSource(entry.setting)
  if (typeof source === 'string') {
    entry.seen = source
    entry.problem = `${entry.name}: ${source}${entry.held === undefined ? '' : kept}`
    return
  }
  const seen = fingerprintOf(source)
  // The same octets are read again only when time may have changed what becomes of them.
  if (seen === entry.seen && entry.problem === undefined && isCurrent(entry.held?.pair.certificate, at))
    return
  entry.seen = seen
  delete entry.problem
  const reading = readOwnKey(source, at)
  if (!reading.readable) {
    entry.problem = `${entry.name}: ${reading.because}: ${reading.remedy}${entry.held === undefined ? '' : kept}`
    return
  }
  const next = heldBy(entry, reading.pair)
  if (typeof next === 'string') {
    entry.problem = `${entry.name}: ${next}${entry.held === undefined ? '' : kept}`
    return
  }
  const { held } = entry
  if (held?.signer.fingerprint === next.signer.fingerprint) return
  // A wrong file never replaces a running one; one for later does so when its time comes.
  if (held !== undefined && maySign(held, address, at) && !maySign(next, address, at)) {
    const flaw = usesAt(next.pair.certificate, at).maySign
    entry.problem = `${entry.name}: the new certificate cannot sign: ${flaw.allowed ? 'it is not for the data holder’s address' : flaw.because}${kept}`
    return
  }
  entry.held = next
}

const kept = '; what was read before stays in use until a restart'

function heldBy({ name, setting }: Entry, pair: OwnKeyPair): Held | string {
  const { certificate, privateKey, intermediates } = pair
  const key = privateKey ?? ('device' in setting ? holderIn(setting.device, certificate) : undefined)
  if (key === undefined) return 'it has no private key: name it under `privateKey:`'
  if (typeof key === 'string') return key
  return {
    name,
    pair,
    signer: {
      certificate: certificate.der,
      privateKey: key,
      intermediates: intermediates.map(({ der }) => der),
      fingerprint: certificate.fingerprint,
    },
    ownKey: { certificate: certificate.der, key: 'sign' in key ? key : fileKeyHolder(key) },
  }
}

/** The holder, or why there is none. */
function holderIn(device: DeviceSetting, { publicKey }: Certificate): KeyHolder | string {
  if (publicKey.kind === 'unsupported') return `its key cannot be used: ${publicKey.because}`
  const files = [device.ca, device.clientCertificate].map((path) =>
    path === undefined ? undefined : readWhole(path),
  )
  const unread = files.findIndex((content) => typeof content === 'string')
  if (unread >= 0)
    return `${unread === 0 ? 'ca' : 'clientCertificate'} of the device ${String(files[unread])}`
  const [ca, certificate] = files.map((content) => content?.toString())
  return deviceKeyHolder(
    {
      at: device.at,
      key: device.key,
      timeoutMs: device.timeoutMs,
      ...(device.token === undefined ? {} : { token: device.token }),
      tls: {
        ...(ca === undefined ? {} : { ca }),
        ...(certificate === undefined ? {} : { certificate }),
        ...(device.clientKey === undefined ? {} : { privateKey: device.clientKey }),
      },
    },
    publicKey.kind,
  )
}

/** The files as they are now, or why they cannot be read. */
function readSource(setting: KeySetting): KeySource | string {
  const content = readWhole('pkcs12' in setting ? setting.pkcs12 : setting.certificate)
  if (typeof content === 'string') return content
  if ('pkcs12' in setting) return { form: 'pkcs12', bytes: content, passphrase: setting.passphrase }
  if ('device' in setting) return { form: 'device', certificate: content }
  const { privateKeyFile, passphrase } = setting
  let { privateKey } = setting
  try {
    if (privateKeyFile !== undefined) privateKey = readFileSync(privateKeyFile, 'utf8')
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? 'unreadable'
    return `the private key cannot be read (${code}): check the path and its permissions`
  }
  return {
    form: 'pem',
    certificate: content,
    privateKey,
    ...(passphrase === undefined ? {} : { passphrase }),
  }
}

function fingerprintOf(source: KeySource): string {
  const hash = createHash('sha256')
  if (source.form === 'pkcs12') return hash.update(source.bytes).digest('hex')
  hash.update(source.certificate)
  return (source.form === 'pem' ? hash.update('\0').update(source.privateKey) : hash).digest('hex')
}

function isCurrent(certificate: Certificate | undefined, at: Date): boolean {
  return certificate !== undefined && certificate.notBefore <= at && at <= certificate.notAfter
}

/**
 * A certificate of the address goes before those of its domain: while one of them may sign, only such sign.
 * A signature by a certificate that does not speak for the sender’s address is refused everywhere, without a word.
 */
function signing(held: readonly Held[], address: DirectAddress | undefined, at: Date): Held[] {
  const able = held.filter((one) => maySign(one, address, at))
  const bound = able.filter(({ pair }) => {
    const coverage = address === undefined ? undefined : covers(pair.certificate, address)
    return coverage?.covered === true && coverage.binding === 'address'
  })
  const chosen = bound.length > 0 ? bound : able
  const seen = new Set<string>()
  return chosen.filter(({ signer }) => !seen.has(signer.fingerprint) && seen.add(signer.fingerprint))
}

function maySign({ pair }: Held, address: DirectAddress | undefined, at: Date): boolean {
  if (!usesAt(pair.certificate, at).maySign.allowed) return false
  return address === undefined || covers(pair.certificate, address).covered
}

function decrypting(held: readonly Held[], at: Date): Held[] {
  return held.filter(({ pair }) => usesAt(pair.certificate, at).mayDecrypt.allowed)
}

function expiriesOf(held: readonly Held[], address: DirectAddress | undefined, at: Date): KeyExpiry[] {
  const expiry = (use: KeyExpiry['use'], { name, pair }: Held): KeyExpiry => ({
    use,
    name,
    daysLeft: usesAt(pair.certificate, at).daysLeft,
  })
  const signers = signing(held, address, at)
  const isNext = (next: Held) => signers.some((one) => follows(next, one, address))
  const signingNowOrNext =
    signers.length > 0 ? held.filter((one) => signers.includes(one) || isNext(one)) : longest(held)
  const unfollowed = signingNowOrNext.filter((one) => !held.some((next) => follows(next, one, address)))
  return [
    ...unfollowed.map((one) => expiry('sign', one)),
    ...longest(decrypting(held, at)).map((one) => expiry('decrypt', one)),
  ].sort((a, b) => a.daysLeft - b.daysLeft)
}

/** Is `next` there to take the place of `one`: by the same authority, from before the one ends until after it? */
function follows(next: Held, one: Held, address: DirectAddress | undefined): boolean {
  const { notBefore, notAfter } = next.pair.certificate
  const { certificate } = one.pair
  return (
    notBefore <= certificate.notAfter &&
    notAfter > certificate.notAfter &&
    isByTheSame(next, one) &&
    maySign(next, address, new Date(Math.max(notBefore.getTime(), certificate.notAfter.getTime())))
  )
}

function isByTheSame({ pair: a }: Held, { pair: b }: Held): boolean {
  return a.certificate.issuer.comparable === b.certificate.issuer.comparable
}

function longest(held: readonly Held[]): Held[] {
  const end = ({ pair }: Held) => pair.certificate.notAfter.getTime()
  return held.length === 0
    ? []
    : [held.reduce((first, second) => (end(second) > end(first) ? second : first))]
}

function problemsOf(
  entries: readonly Entry[],
  held: readonly Held[],
  address: DirectAddress | undefined,
  at: Date,
): string[] {
  const problems = entries.flatMap(({ problem }) => problem ?? [])
  const signers = signing(held, address, at)
  const isSigning = signers.length > 0
  for (const one of held) {
    const { maySign: use } = usesAt(one.pair.certificate, at)
    const because = whyNotSigning(one, use, address)
    if (because === undefined) continue
    // Beside keys that sign, one that only decrypts is as it should be; so is one for later, and one that was renewed.
    const isForLater = at < one.pair.certificate.notBefore
    const isForDecryption = !use.allowed && use.code === 'key-usage'
    const isRenewed = at > one.pair.certificate.notAfter && signers.some((next) => isByTheSame(next, one))
    if (isSigning && (isForLater || isForDecryption || isRenewed)) continue
    problems.push(
      `${one.name} cannot sign: ${because}: get a current certificate for the data holder’s address`,
    )
  }
  if (held.length > 0 && decrypting(held, at).length === 0)
    problems.push(
      'keys: none of them may decrypt (keyUsage without keyEncipherment), so answers to our messages cannot be read: add the certificate and key that others encrypt to',
    )
  return problems
}

function whyNotSigning(
  { pair }: Held,
  use: Uses['maySign'],
  address: DirectAddress | undefined,
): string | undefined {
  if (!use.allowed) return use.because
  const coverage = address === undefined ? undefined : covers(pair.certificate, address)
  return coverage?.covered === false ? coverage.because : undefined
}
