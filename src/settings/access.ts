import { canonicalAuthority } from '../domain/patient.ts'
import type { Section } from './section.ts'

const roles = ['patient', 'provider', 'analyst', 'operator', 'auditor'] as const
export type Role = (typeof roles)[number]

export interface AccessKey {
  readonly name: string
  readonly role: Role
  readonly key: string
}

export interface AccessSettings {
  readonly keys: readonly AccessKey[]
  readonly oidc?: { readonly issuer: string; readonly audience: string }
}

export function readAuthorities(root: Section): Map<string, string> {
  const aliases = new Map<string, string>()
  for (const entry of root.list('authorities', ['id', 'aliases'])) {
    const id = entry.required('id', 'urn:oid:… or another URI')
    if (id === undefined) continue
    const canonical = canonicalAuthority(id, new Map())
    aliases.set(canonical, canonical)
    for (const alias of entry.texts('aliases')) {
      const spelled = canonicalAuthority(alias, new Map())
      if (aliases.has(spelled) && aliases.get(spelled) !== canonical)
        entry.problem(
          'aliases',
          `“${alias}” already stands for ${aliases.get(spelled)}`,
          'give each alias to one authority',
        )
      aliases.set(spelled, canonical)
    }
  }
  return aliases
}

export function readAccess(root: Section): AccessSettings {
  const section = root.section('access', ['keys', 'oidc'])
  const keys = (section?.list('keys', ['name', 'role', 'key']) ?? []).flatMap((entry): AccessKey[] => {
    const name = entry.required('name', 'who uses this key; it appears in the audit')
    const role = entry.oneOf('role', roles)
    const key = entry.secret('key', true)
    if (role === undefined && entry.text('role') === undefined)
      entry.problem('role', 'is missing', `write one of ${roles.join(', ')}`)
    if (key !== undefined && key.length < accessKeyLengthMin)
      entry.problem(
        'key',
        `is shorter than ${accessKeyLengthMin} characters`,
        'make one with: openssl rand -hex 32',
      )
    return name === undefined || role === undefined || key === undefined ? [] : [{ name, role, key }]
  })
  const oidc = section?.section('oidc', ['issuer', 'audience'])
  const issuer = oidc?.url('issuer')
  const audience = oidc?.required(
    'audience',
    'the audience your identity provider puts into tokens for bluepost',
  )
  return { keys, ...(issuer === undefined || audience === undefined ? {} : { oidc: { issuer, audience } }) }
}

/** 128 bits in hexadecimal. */
const accessKeyLengthMin = 32

export function readSecrets(root: Section): Map<string, string> {
  const secrets = new Map<string, string>()
  for (const [name, value] of root.entries('secrets') ?? []) {
    const secret = value.secret()
    if (secret !== undefined) secrets.set(name, secret)
  }
  return secrets
}
