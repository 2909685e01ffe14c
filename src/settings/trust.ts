import { optional, type Section } from './section.ts'

/** Where anchors count: for what we send, for what we receive, or both; for one domain of ours, or all. */
export interface TrustScope {
  readonly direction: 'both' | 'incoming' | 'outgoing'
  /** Domain of our own address, lower case; absent: any. */
  readonly domain?: string
  /** Certificate policies, of which a chain to these anchors must have one; empty: none is asked for. */
  readonly policies: readonly string[]
}

export interface AnchorSetting extends TrustScope {
  /** Path or glob of PEM and DER files. */
  readonly files: string
}

export interface BundleSetting extends TrustScope {
  readonly name: string
  /** https; neither url nor file: by `bluepost trust import` alone. */
  readonly url?: string
  readonly file?: string
  readonly refreshEveryMs: number
  /** PEM or DER file with the certificates of those who may sign the bundle; absent: signatures are not looked at. */
  readonly signer?: string
  /** A refresh that takes away a larger part of the anchors waits for a person. */
  readonly removalPercentMax: number
  /** Without a successful check for longer, an alarm is raised. */
  readonly alarmAfterMs: number
  readonly line: number
}

export interface TrustSettings {
  readonly anchors: readonly AnchorSetting[]
  readonly bundles: readonly BundleSetting[]
  readonly revocation: {
    readonly mode: 'hard-fail' | 'soft-fail' | 'off'
    /** How long the last good list or reply counts after its nextUpdate. */
    readonly graceMs: number
  }
}

const dayMs = 86_400_000
const hourMs = 3_600_000
const scopeKeys = ['direction', 'domain', 'policies']

export function readTrust(root: Section, path: (text: string) => string): TrustSettings {
  const section = root.section('trust', ['anchors', 'bundles', 'revocation'])
  const revocation = section?.section('revocation', ['mode', 'grace'])
  return {
    anchors: section === undefined ? [] : readAnchorSettings(section, path),
    bundles: section === undefined ? [] : readBundleSettings(section, path),
    revocation: {
      mode: revocation?.oneOf('mode', ['hard-fail', 'soft-fail', 'off']) ?? 'hard-fail',
      graceMs: revocation?.duration('grace') ?? dayMs,
    },
  }
}

function readAnchorSettings(section: Section, path: (text: string) => string): AnchorSetting[] {
  return section.mixed('anchors', ['files', ...scopeKeys]).flatMap((entry): AnchorSetting[] => {
    if (typeof entry === 'string') return [{ files: path(entry), direction: 'both', policies: [] }]
    const files = entry.required('files', 'a path or glob of PEM or DER files')
    return files === undefined ? [] : [{ files: path(files), ...readScope(entry) }]
  })
}

function readBundleSettings(section: Section, path: (text: string) => string): BundleSetting[] {
  const names = new Set<string>()
  const known = ['name', 'url', 'file', 'refreshEvery', 'signer', 'removalMax', 'alarmAfter', ...scopeKeys]
  return section.list('bundles', known).flatMap((entry): BundleSetting[] => {
    const name = entry.required('name', 'a short name such as patient')
    if (name === undefined) return []
    if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(name))
      entry.problem('name', `“${name}” is no name`, 'use letters, digits, dots and dashes, at most 64')
    if (names.has(name)) entry.problem('name', `“${name}” stands twice`, 'give each bundle a name of its own')
    names.add(name)
    const { url, file } = readSource(entry)
    const signer = entry.text('signer')
    const refreshEveryMs = entry.duration('refreshEvery') ?? dayMs
    if (refreshEveryMs < hourMs)
      entry.problem('refreshEvery', 'is below an hour', 'write 1h or more; 24h is usual')
    return [
      {
        name,
        ...optional('url', url),
        ...optional('file', file === undefined ? undefined : path(file)),
        ...optional('signer', signer === undefined ? undefined : path(signer)),
        ...readScope(entry),
        refreshEveryMs,
        removalPercentMax: readPercent(entry, 'removalMax') ?? 20,
        alarmAfterMs: entry.duration('alarmAfter') ?? 7 * dayMs,
        line: entry.line,
      },
    ]
  })
}

function readSource(entry: Section): { url?: string; file?: string } {
  const text = entry.text('url')
  const file = entry.text('file')
  if (text !== undefined && file !== undefined)
    entry.problem('file', 'stands beside a url', 'keep one of the two')
  if (text === undefined) return optional('file', file)
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url?.protocol !== 'https:')
    entry.problem(
      'url',
      `“${text}” is not an https URL`,
      'write https://…: who may be trusted is not asked for in the open',
    )
  else if (url.username !== '' || url.password !== '')
    entry.problem('url', 'has credentials in it', 'trust bundles are public: take them out')
  return { url: text }
}

function readScope(entry: Section): TrustScope {
  const domain = entry.text('domain')?.toLowerCase()
  if (domain !== undefined && !/^[a-z0-9-]+(\.[a-z0-9-]+)+$/.test(domain))
    entry.problem(
      'domain',
      `“${domain}” is not a domain`,
      'write the domain of your own Direct address, such as direct.ashby.example',
    )
  const policies = entry.texts('policies')
  for (const policy of policies)
    if (!/^[0-2](\.\d{1,20})+$/.test(policy))
      entry.problem(
        'policies',
        `“${policy}” is not an object identifier`,
        'write it in dots, quoted: "1.3.6.1.4.1.41179.0.1.2"',
      )
  return {
    direction: entry.oneOf('direction', ['both', 'incoming', 'outgoing']) ?? 'both',
    ...optional('domain', domain),
    policies,
  }
}

function readPercent(entry: Section, key: string): number | undefined {
  const text = entry.text(key)
  if (text === undefined) return undefined
  const percent = /^(\d{1,3})%$/.exec(text)?.[1]
  if (percent !== undefined && Number(percent) <= 100) return Number(percent)
  entry.problem(key, `is “${text}”`, 'write a percentage from 0% to 100%')
  return undefined
}
