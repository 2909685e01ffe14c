import { optional, type Section } from './section.ts'

/** A certificate of ours and its private key: in files, or in a device that never gives it away. */
export type KeySetting =
  | {
      readonly certificate: string
      /** PEM, as it was when the settings were read. */
      readonly privateKey: string
      /** Where it stood, when it was `file:PATH`: read again when that changes. */
      readonly privateKeyFile?: string
      readonly passphrase?: string
      readonly line: number
    }
  | { readonly pkcs12: string; readonly passphrase: string; readonly line: number }
  | {
      readonly certificate: string
      readonly device: DeviceSetting
      readonly line: number
    }

export interface DeviceSetting {
  /** `unix:/absolute/path`, or an https URL. */
  readonly at: string
  /** How the device calls the key. */
  readonly key: string
  /** Bearer token. */
  readonly token?: string
  /** PEM of the authority of the device’s certificate; absent: those of the system. */
  readonly ca?: string
  /** Ours, for mutual TLS. */
  readonly clientCertificate?: string
  readonly clientKey?: string
  readonly timeoutMs: number
}

const fileKeys = ['certificate', 'privateKey', 'passphrase', 'pkcs12']
const deviceKeys = ['device', 'key', 'token', 'ca', 'clientCertificate', 'clientKey', 'timeout']

export function readKeys(root: Section, path: (text: string) => string): KeySetting[] {
  return root.list('keys', [...fileKeys, ...deviceKeys]).flatMap((entry): KeySetting[] => {
    const { line } = entry
    if (entry.text('device') !== undefined) return readDevice(entry, path)
    for (const name of deviceKeys.slice(1))
      if (entry.text(name) !== undefined)
        entry.problem(name, 'stands without a device', 'add `device: unix:/run/….sock` or an https URL')
    const pkcs12 = entry.text('pkcs12')
    const passphrase = entry.secret('passphrase', pkcs12 !== undefined)
    if (pkcs12 !== undefined)
      return passphrase === undefined ? [] : [{ pkcs12: path(pkcs12), passphrase, line }]
    const certificate = entry.required('certificate', 'path of a PEM file, or use pkcs12:')
    const privateKey = entry.secret('privateKey', true)
    if (certificate === undefined || privateKey === undefined) return []
    const written = entry.text('privateKey') ?? ''
    return [
      {
        certificate: path(certificate),
        privateKey,
        ...(written.startsWith('env:') ? {} : { privateKeyFile: path(written.replace(/^file:/, '')) }),
        ...optional('passphrase', passphrase),
        line,
      },
    ]
  })
}

function readDevice(entry: Section, path: (text: string) => string): KeySetting[] {
  for (const name of ['privateKey', 'passphrase', 'pkcs12'])
    if (entry.text(name) !== undefined)
      entry.problem(name, 'stands beside a device', 'the key never leaves the device: keep one of the two')
  const certificate = entry.required('certificate', 'path of a PEM file with the certificate of the key')
  const key = entry.required('key', 'how the device calls the key')
  const at = readPlace(entry, path)
  const token = entry.secret('token', false)
  const clientKey = entry.secret('clientKey', false)
  const ca = entry.text('ca')
  const clientCertificate = entry.text('clientCertificate')
  if ((clientKey === undefined) !== (clientCertificate === undefined))
    entry.problem(
      clientKey === undefined ? 'clientCertificate' : 'clientKey',
      'stands alone',
      'mutual TLS needs clientCertificate and clientKey',
    )
  if (at?.startsWith('https:') && token === undefined && clientKey === undefined)
    entry.problem(
      'device',
      'is reached over the network without proving who asks',
      'add `token: env:NAME`, or clientCertificate and clientKey',
    )
  const timeoutMs = entry.duration('timeout') ?? 10_000
  if (timeoutMs < 100 || timeoutMs > timeoutMsMax)
    entry.problem('timeout', 'is not between 100ms and 25s', 'write 10s, which is usual')
  if (certificate === undefined || key === undefined || at === undefined) return []
  return [
    {
      certificate: path(certificate),
      device: {
        at,
        key,
        ...optional('token', token),
        ...optional('ca', ca === undefined ? undefined : path(ca)),
        ...optional(
          'clientCertificate',
          clientCertificate === undefined ? undefined : path(clientCertificate),
        ),
        ...optional('clientKey', clientKey),
        timeoutMs,
      },
      line: entry.line,
    },
  ]
}

/** Sealing waits 30 s for a signature, and not longer. */
const timeoutMsMax = 25_000

function readPlace(entry: Section, path: (text: string) => string): string | undefined {
  const text = entry.text('device')!
  if (text.startsWith('unix:') && text.length > 5) return `unix:${path(text.slice(5))}`
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url?.protocol === 'https:' && url.username === '' && url.password === '') return text
  entry.problem(
    'device',
    `“${text}” is no place of a device`,
    'write unix:/run/signer.sock, or an https URL without credentials',
  )
  return undefined
}
