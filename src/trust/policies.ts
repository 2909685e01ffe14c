import type { Certificate } from './certificate.ts'

const anyPolicy = '2.5.29.32.0'

/**
 * Why the certificate policies of a path fail, if they do (RFC 5280 §6.1, with any policy acceptable to us). Only
 * authorities that ask for it (policyConstraints) make a path depend on policies.
 *
 * With any-policy as the initial set only the last level of the policy tree matters, so the tree is kept as the set of
 * policies expected next; an empty set is the NULL tree.
 *
 * @param path leaf first, without the anchor
 */
export function policyViolation(path: readonly Certificate[]): string | undefined {
  const certificates = [...path].reverse()
  let expected = new Set([anyPolicy])
  let explicitAfter = Infinity
  let mappingFor = Infinity
  let anyPolicyFor = Infinity
  for (const [index, certificate] of certificates.entries()) {
    const isLast = index === certificates.length - 1
    const isSelfIssued = certificate.subject.comparable === certificate.issuer.comparable
    const mayBeAny = anyPolicyFor > 0 || (isSelfIssued && !isLast)
    expected = matched(expected, certificate.policies ?? [], mayBeAny)
    if (isLast) {
      // §6.1.5 (a), (b)
      if (!isSelfIssued || explicitAfter > 0) explicitAfter = Math.max(0, explicitAfter - 1)
      if (certificate.policyConstraints.requireExplicitPolicy === 0) explicitAfter = 0
      break
    }
    if (explicitAfter <= 0 && expected.size === 0) break
    for (const { issuerPolicy, subjectPolicy } of certificate.policyMappings)
      if (issuerPolicy === anyPolicy || subjectPolicy === anyPolicy) return 'a certificate maps “any policy”'
    expected = mapped(expected, certificate.policyMappings, mappingFor > 0)
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
  if (explicitAfter > 0 || expected.size > 0) return undefined
  return 'an authority asks for a certificate policy (policyConstraints) that the certificates below it do not carry'
}

/** §6.1.3 (d), (e). */
function matched(expected: ReadonlySet<string>, policies: readonly string[], mayBeAny: boolean): Set<string> {
  const next = new Set<string>()
  for (const policy of policies)
    if (policy !== anyPolicy && (expected.has(policy) || expected.has(anyPolicy))) next.add(policy)
  if (mayBeAny && policies.includes(anyPolicy)) for (const policy of expected) next.add(policy)
  return next
}

/** §6.1.4 (b). */
function mapped(
  expected: ReadonlySet<string>,
  mappings: Certificate['policyMappings'],
  isAllowed: boolean,
): Set<string> {
  const next = new Set(expected)
  for (const { issuerPolicy } of mappings) next.delete(issuerPolicy)
  if (isAllowed)
    for (const { issuerPolicy, subjectPolicy } of mappings)
      if (expected.has(issuerPolicy) || expected.has(anyPolicy)) next.add(subjectPolicy)
  return next
}
