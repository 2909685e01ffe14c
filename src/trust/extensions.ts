import { derContent, derNumber, derOidText, DerError, expectDer, type DerValue } from '../lib/der.ts'
import {
  readAuthorityInfoAccess,
  readDistributionPoints,
  type AuthorityInfoAccess,
  type DistributionPoint,
} from './distribution-points.ts'
import { extensionValue, readTaggedExtensions } from './extension-list.ts'
import {
  readGeneralName,
  readNameConstraints,
  type GeneralName,
  type NameConstraints,
} from './general-name.ts'
import { readBitString, readBoolean, strictMembers } from './strict-der.ts'

/** The extensions of a certificate that path validation honours (RFC 5280 §4.2). */
export interface Extensions {
  readonly altNames: readonly GeneralName[]
  readonly keyUsage?: ReadonlySet<KeyUsage>
  /** Object identifiers. */
  readonly extendedKeyUsage?: readonly string[]
  readonly basicConstraints?: { readonly ca: boolean; readonly pathLen?: number }
  readonly nameConstraints?: NameConstraints
  /** Object identifiers of certificatePolicies. */
  readonly policies?: readonly string[]
  readonly policyMappings: readonly { readonly issuerPolicy: string; readonly subjectPolicy: string }[]
  readonly policyConstraints: {
    readonly requireExplicitPolicy?: number
    readonly inhibitPolicyMapping?: number
  }
  readonly inhibitAnyPolicy?: number
  readonly subjectKeyId?: Buffer
  readonly authorityKeyId?: Buffer
  /** Where its revocation is published (RFC 5280 §4.2.1.13), and the newest changes (§4.2.1.15). */
  readonly crlDistributionPoints: readonly DistributionPoint[]
  readonly freshestCrl: readonly DistributionPoint[]
  readonly authorityInfoAccess: AuthorityInfoAccess
  /** id-pkix-ocsp-nocheck (RFC 6960 §4.2.2.2.1): whoever trusts this responder need not ask about it. */
  readonly isOcspNoCheck: boolean
  /** Object identifiers of critical extensions that nobody here understands. */
  readonly unknownCritical: readonly string[]
}

export type KeyUsage = (typeof keyUsages)[number]

/** In the order of their bits (RFC 5280 §4.2.1.3). */
const keyUsages = [
  'digitalSignature',
  'nonRepudiation',
  'keyEncipherment',
  'dataEncipherment',
  'keyAgreement',
  'keyCertSign',
  'cRLSign',
  'encipherOnly',
  'decipherOnly',
] as const

type ExtensionsBeingRead = { -readonly [Key in keyof Extensions]: Extensions[Key] }

/** How each extension we honour is read into the certificate. Those beyond this list must not be critical. */
const readers: Readonly<Record<string, (value: DerValue, into: ExtensionsBeingRead) => void>> = {
  '2.5.29.14': (value, into) => {
    into.subjectKeyId = derContent(expectDer(value, 0x04, 'subjectKeyIdentifier'))
  },
  '2.5.29.15': (value, into) => {
    into.keyUsage = readKeyUsage(value)
  },
  '2.5.29.17': (value, into) => {
    const names = strictMembers(expectDer(value, 0x30, 'subjectAltName'))
    if (names.length === 0) throw new DerError('subjectAltName is empty', value.start)
    into.altNames = names.map(readGeneralName)
  },
  '2.5.29.19': (value, into) => {
    into.basicConstraints = readBasicConstraints(value)
  },
  '2.5.29.30': (value, into) => {
    into.nameConstraints = readNameConstraints(value)
  },
  '2.5.29.32': (value, into) => {
    into.policies = readPolicies(value)
  },
  '2.5.29.31': (value, into) => {
    into.crlDistributionPoints = readDistributionPoints(value, 'cRLDistributionPoints')
  },
  '2.5.29.33': (value, into) => {
    into.policyMappings = readPolicyMappings(value)
  },
  '2.5.29.35': (value, into) => {
    const keyId = strictMembers(expectDer(value, 0x30, 'authorityKeyIdentifier')).find(
      ({ tag }) => tag === 0x80,
    )
    if (keyId !== undefined) into.authorityKeyId = derContent(keyId)
  },
  '2.5.29.36': (value, into) => {
    into.policyConstraints = readPolicyConstraints(value)
  },
  '2.5.29.37': (value, into) => {
    const purposes = strictMembers(expectDer(value, 0x30, 'extKeyUsage'))
    if (purposes.length === 0) throw new DerError('extKeyUsage is empty', value.start)
    into.extendedKeyUsage = purposes.map(derOidText)
  },
  '2.5.29.46': (value, into) => {
    into.freshestCrl = readDistributionPoints(value, 'freshestCRL')
  },
  '2.5.29.54': (value, into) => {
    into.inhibitAnyPolicy = derNumber(value, 'inhibitAnyPolicy')
  },
  '1.3.6.1.5.5.7.1.1': (value, into) => {
    into.authorityInfoAccess = readAuthorityInfoAccess(value)
  },
  '1.3.6.1.5.5.7.48.1.5': (_value, into) => {
    into.isOcspNoCheck = true
  },
}

/** @param tagged the [3] of tbsCertificate */
export function readExtensions(tagged: DerValue | undefined): Extensions {
  const into: ExtensionsBeingRead = {
    altNames: [],
    policyMappings: [],
    policyConstraints: {},
    crlDistributionPoints: [],
    freshestCrl: [],
    authorityInfoAccess: { ocsp: [], caIssuers: [] },
    isOcspNoCheck: false,
    unknownCritical: [],
  }
  const unknownCritical: string[] = []
  for (const extension of readTaggedExtensions(tagged)) {
    const reader = Object.hasOwn(readers, extension.oid) ? readers[extension.oid] : undefined
    if (reader !== undefined) reader(extensionValue(extension), into)
    else if (extension.critical) unknownCritical.push(extension.oid)
  }
  into.unknownCritical = unknownCritical
  return into
}

function readKeyUsage(value: DerValue): ReadonlySet<KeyUsage> {
  const { octets } = readBitString(expectDer(value, 0x03, 'keyUsage'))
  return new Set(keyUsages.filter((_, bit) => ((octets[bit >> 3] ?? 0) & (0x80 >> (bit & 7))) !== 0))
}

function readBasicConstraints(value: DerValue): { ca: boolean; pathLen?: number } {
  const parts = strictMembers(expectDer(value, 0x30, 'basicConstraints'))
  const ca = parts[0]?.tag === 0x01 ? readBoolean(parts.shift()!) : false
  const pathLen = parts[0]?.tag === 0x02 ? derNumber(parts.shift()!, 'pathLenConstraint') : undefined
  if (parts.length > 0) throw new DerError('basicConstraints is malformed', value.start)
  return pathLen === undefined ? { ca } : { ca, pathLen }
}

function readPolicies(value: DerValue): string[] {
  const policies = strictMembers(expectDer(value, 0x30, 'certificatePolicies')).map((information) => {
    const [id] = strictMembers(expectDer(information, 0x30, 'a certificate policy'))
    if (id === undefined) throw new DerError('a certificate policy without a name', information.start)
    return derOidText(id)
  })
  if (policies.length === 0 || new Set(policies).size !== policies.length)
    throw new DerError('certificatePolicies is empty or names a policy twice', value.start)
  return policies
}

function readPolicyMappings(value: DerValue): { issuerPolicy: string; subjectPolicy: string }[] {
  return strictMembers(expectDer(value, 0x30, 'policyMappings')).map((mapping) => {
    const [issuerPolicy, subjectPolicy] = strictMembers(expectDer(mapping, 0x30, 'a policy mapping')).map(
      derOidText,
    )
    if (issuerPolicy === undefined || subjectPolicy === undefined)
      throw new DerError('an incomplete policy mapping', mapping.start)
    return { issuerPolicy, subjectPolicy }
  })
}

function readPolicyConstraints(value: DerValue): Extensions['policyConstraints'] {
  const constraints: { requireExplicitPolicy?: number; inhibitPolicyMapping?: number } = {}
  for (const part of strictMembers(expectDer(value, 0x30, 'policyConstraints'))) {
    const skip = readImplicitNumber(part)
    if (part.tag === 0x80) constraints.requireExplicitPolicy = skip
    else if (part.tag === 0x81) constraints.inhibitPolicyMapping = skip
    else throw new DerError('policyConstraints is malformed', part.start)
  }
  return constraints
}

function readImplicitNumber(value: DerValue): number {
  const content = derContent(value)
  if (content.length < 1 || content.length > 6 || content[0]! >= 0x80)
    throw new DerError('a number that is out of range', value.start)
  return content.readUIntBE(0, content.length)
}
