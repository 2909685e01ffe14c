import type { Certificate } from './certificate.ts'

const anyPolicy = '2.5.29.32.0'

/**
 * Why the certificate policies of a path fail, if they do (RFC 5280 §6.1). A path depends on policies where an authority
 * asks for it (policyConstraints), or where we do.
 *
 * Only the last level of the policy tree matters, so the tree is kept as the policies expected next, each with the policies
 * at the top of the path that it stands for; an empty level is the NULL tree.
 *
 * @param path leaf first, without the anchor
 * @param wanted the path must be valid for one of these (user-initial-policy-set with initial-explicit-policy); absent: any
 */
export function policyViolation(
  path: readonly Certificate[],
  wanted?: readonly string[],
): string | undefined {
  const certificates = [...path].reverse()
  let level: Level = new Map([[anyPolicy, new Set([anyPolicy])]])
  let explicitAfter = wanted === undefined ? Infinity : 0
  let mappingFor = Infinity
  let anyPolicyFor = Infinity
  for (const [index, certificate] of certificates.entries()) {
    const isLast = index === certificates.length - 1
    const isSelfIssued = certificate.subject.comparable === certificate.issuer.comparable
    const mayBeAny = anyPolicyFor > 0 || (isSelfIssued && !isLast)
    level = matched(level, certificate.policies ?? [], mayBeAny)
    if (isLast) {
      // §6.1.5 (a), (b)
      if (!isSelfIssued || explicitAfter > 0) explicitAfter = Math.max(0, explicitAfter - 1)
      if (certificate.policyConstraints.requireExplicitPolicy === 0) explicitAfter = 0
      break
    }
    if (explicitAfter <= 0 && level.size === 0) break
    for (const { issuerPolicy, subjectPolicy } of certificate.policyMappings)
      if (issuerPolicy === anyPolicy || subjectPolicy === anyPolicy) return 'a certificate maps “any policy”'
    level = mapped(level, certificate.policyMappings, mappingFor > 0)
    // §6.1.4 (h) to (j)
    if (!isSelfIssued) {
      explicitAfter = Math.max(0, explicitAfter - 1)
      mappingFor = Math.max(0, mappingFor - 1)
      anyPolicyFor = Math.max(0, anyPolicyFor - 1)
    }
    const { requireExplicitPolicy, inhibitPolicyMapping } = certificate.policyConstraints
    explicitAfter = Math.min(explicitAfter, requireExplicitPolicy ?? Infinity)
    mappingFor = Math.min(mappingFor, inhibitPolicyMapping ?? Infinity)
    anyPolicyFor = Math.min(anyPolicyFor, certificate.inhibitAnyPolicy ?? Infinity)
  }
  if (wanted !== undefined && !isValidFor(level, wanted))
    return `the certificates carry none of the policies that this anchor is trusted for (${wanted.join(', ')})`
  if (explicitAfter > 0 || level.size > 0) return undefined
  return 'an authority asks for a certificate policy (policyConstraints) that the certificates below it do not carry'
}

/** Policies of one level of the tree, each with those at its top. */
type Level = ReadonlyMap<string, ReadonlySet<string>>

/** §6.1.3 (d), (e). What “any policy” above lets in stands for itself. */
function matched(above: Level, policies: readonly string[], mayBeAny: boolean): Level {
  const next = new Map<string, ReadonlySet<string>>()
  for (const policy of policies) {
    if (policy === anyPolicy) continue
    const tops = above.get(policy) ?? (above.has(anyPolicy) ? new Set([policy]) : undefined)
    if (tops !== undefined) next.set(policy, tops)
  }
  if (mayBeAny && policies.includes(anyPolicy))
    for (const [policy, tops] of above) if (!next.has(policy)) next.set(policy, tops)
  return next
}

/** §6.1.4 (b). */
function mapped(level: Level, mappings: Certificate['policyMappings'], isAllowed: boolean): Level {
  const next = new Map(level)
  for (const { issuerPolicy } of mappings) next.delete(issuerPolicy)
  if (isAllowed)
    for (const { issuerPolicy, subjectPolicy } of mappings) {
      const tops = level.get(issuerPolicy) ?? (level.has(anyPolicy) ? new Set([issuerPolicy]) : undefined)
      if (tops !== undefined) next.set(subjectPolicy, new Set([...(next.get(subjectPolicy) ?? []), ...tops]))
    }
  return next
}

/** §6.1.5 (g). */
function isValidFor(level: Level, wanted: readonly string[]): boolean {
  if (wanted.includes(anyPolicy)) return level.size > 0
  for (const tops of level.values())
    if (tops.has(anyPolicy) || wanted.some((policy) => tops.has(policy))) return true
  return false
}
