import { contextPrimitive, integer, oid, sequence } from '../der.ts'
import type { Authority, Issued } from '../pki.ts'
import type { ExtensionWish } from '../wishes.ts'
import { anEcIssuer, anEcLeaf, anEcRoot, chain, threeTiers, type ChainCase } from './chain-case.ts'

const medium = '1.3.6.1.4.1.41179.2.3'
const high = '1.3.6.1.4.1.41179.2.4'
const other = '1.3.6.1.4.1.99999.7'
const any = '2.5.29.32.0'

/** Certificate policies (RFC 5280 §6.1): where an authority asks for one, and where an anchor is trusted for some only. */
export function policyChains(): ChainCase[] {
  return [...askedByAuthorities(), ...inhibited(), ...askedByUs()]
}

/** requireExplicitPolicy or inhibitPolicyMapping, after so many further certificates. */
const constraint = (tag: 0 | 1, after: number): ExtensionWish => ({
  oid: '2.5.29.36',
  critical: true,
  value: sequence(contextPrimitive(tag, Buffer.from([after]))),
})
const asking = constraint(0, 0)
const noAnyPolicy = (after: number): ExtensionWish => ({
  oid: '2.5.29.54',
  critical: true,
  value: integer(after),
})
const mapping = (from: string, to: string): ExtensionWish => ({
  oid: '2.5.29.33',
  critical: true,
  value: sequence(sequence(oid(from), oid(to))),
})

function askedByAuthorities(): ChainCase[] {
  const of = (
    what: string,
    expected: ChainCase['expected'],
    wishes: NonNullable<Parameters<typeof threeTiers>[0]>,
  ) => {
    const { leaf, given } = threeTiers(wishes)
    return chain(what, expected, { ...given, leaf, opensslAlso: ['-policy', any] })
  }
  return [
    of('a policy asked for and there', 'trusted', {
      issuer: { policies: [medium], extensions: [asking] },
      leaf: { policies: [medium] },
    }),
    of('a policy asked for and missing', 'policy', {
      issuer: { policies: [medium], extensions: [asking] },
    }),
    of('a policy asked for and another one there', 'policy', {
      issuer: { policies: [medium], extensions: [asking] },
      leaf: { policies: [other] },
    }),
    of('a policy asked for from the second certificate on', 'trusted', {
      issuer: { extensions: [constraint(0, 2)] },
    }),
    of('any policy', 'trusted', {
      issuer: { policies: [any], extensions: [asking] },
      leaf: { policies: [medium] },
    }),
    of('a policy mapped to another', 'trusted', {
      issuer: { policies: [medium], extensions: [asking, mapping(medium, other)] },
      leaf: { policies: [other] },
    }),
    of('a policy mapped away', 'policy', {
      issuer: { policies: [medium], extensions: [asking, mapping(medium, other)] },
      leaf: { policies: [medium] },
    }),
    of('“any policy” mapped, which must not be', 'policy', {
      issuer: { policies: [medium], extensions: [asking, mapping(any, other)] },
      leaf: { policies: [other] },
    }),
    of('no policy where nobody asks', 'trusted', {}),
  ]
}

/** What an authority forbids those below it. */
function inhibited(): ChainCase[] {
  const of = (
    what: string,
    expected: ChainCase['expected'],
    upper: { policies: readonly string[]; extensions: readonly ExtensionWish[] },
    lower: { policies: readonly string[]; extensions?: readonly ExtensionWish[] },
    policies: readonly string[],
  ) => {
    const root = anEcRoot()
    const above = anEcIssuer(root, upper)
    const below = anEcIssuer(above, lower)
    return chain(what, expected, {
      leaf: anEcLeaf(below, { policies }),
      pool: [below, above],
      anchors: [root],
      opensslAlso: ['-policy', any],
    })
  }
  const upper = { policies: [medium], extensions: [asking] }
  return [
    of(
      'any policy where any policy is inhibited',
      'policy',
      { ...upper, extensions: [asking, noAnyPolicy(0)] },
      { policies: [medium] },
      [any],
    ),
    of(
      'any policy of an authority where any policy is inhibited',
      'policy',
      { ...upper, extensions: [asking, noAnyPolicy(0)] },
      { policies: [any] },
      [medium],
    ),
    of(
      'any policy before it is inhibited',
      'trusted',
      { ...upper, extensions: [asking, noAnyPolicy(1)] },
      { policies: [any] },
      [medium],
    ),
    of(
      'any policy after it is inhibited',
      'policy',
      { ...upper, extensions: [asking, noAnyPolicy(1)] },
      { policies: [any] },
      [any],
    ),
    of(
      'a policy mapped by the lower authority',
      'trusted',
      upper,
      {
        policies: [medium],
        extensions: [mapping(medium, other)],
      },
      [other],
    ),
    of(
      'a policy mapped where mapping is inhibited',
      'policy',
      { ...upper, extensions: [{ ...asking, value: bothConstraints() }] },
      { policies: [medium], extensions: [mapping(medium, other)] },
      [other],
    ),
    of(
      'the mapped policy itself where mapping is inhibited',
      'policy',
      { ...upper, extensions: [{ ...asking, value: bothConstraints() }] },
      { policies: [medium], extensions: [mapping(medium, other)] },
      [medium],
    ),
    of(
      'mapping inhibited, and nothing mapped',
      'trusted',
      { ...upper, extensions: [{ ...asking, value: bothConstraints() }] },
      { policies: [medium] },
      [medium],
    ),
  ]
}

/** requireExplicitPolicy 0, inhibitPolicyMapping 0. */
function bothConstraints(): Buffer {
  const nought = Buffer.from([0])
  return sequence(contextPrimitive(0, nought), contextPrimitive(1, nought))
}

/** An anchor trusted for some policies only: explicit policy from the start, and those as user-initial-policy-set. */
function askedByUs(): ChainCase[] {
  const explicitly = (policies: readonly string[]) => [
    '-explicit_policy',
    ...policies.flatMap((policy) => ['-policy', policy]),
  ]
  const of = (
    what: string,
    expected: ChainCase['expected'],
    policies: readonly string[],
    wishes: NonNullable<Parameters<typeof threeTiers>[0]>,
  ) => {
    const { leaf, given } = threeTiers(wishes)
    return chain(what, expected, { ...given, leaf, policies, opensslAlso: explicitly(policies) })
  }
  const ends = (
    what: string,
    expected: ChainCase['expected'],
    leaf: Issued,
    anchor: Authority | Issued,
    differsBecause?: string,
  ) =>
    chain(what, expected, {
      leaf,
      anchors: [anchor],
      policies: [medium],
      opensslAlso: explicitly([medium]),
      ...(differsBecause === undefined ? {} : { differsBecause }),
    })
  const root = anEcRoot()
  const without = anEcLeaf(root)
  const with_ = anEcLeaf(root, { policies: [medium] })
  const whole = 'openssl asks no policy of a leaf that is an anchor itself; a trust domain means its leaves'
  return [
    of('trusted for a policy that all carry', 'trusted', [medium], {
      issuer: { policies: [medium] },
      leaf: { policies: [medium] },
    }),
    of('trusted for one of two policies', 'trusted', [high, medium], {
      issuer: { policies: [medium, other] },
      leaf: { policies: [medium] },
    }),
    of('trusted for a policy that the authority passes on as any', 'trusted', [medium], {
      issuer: { policies: [any] },
      leaf: { policies: [medium] },
    }),
    of('trusted for a policy that is mapped below', 'trusted', [medium], {
      issuer: { policies: [medium], extensions: [mapping(medium, other)] },
      leaf: { policies: [other] },
    }),
    of('trusted for a policy that something is mapped to', 'policy', [other], {
      issuer: { policies: [medium], extensions: [mapping(medium, other)] },
      leaf: { policies: [other] },
    }),
    of('trusted for a policy that the leaf lacks', 'policy', [medium], { issuer: { policies: [medium] } }),
    of('trusted for a policy that the authority lacks', 'policy', [medium], {
      leaf: { policies: [medium] },
    }),
    of('trusted for a policy, and all carry another', 'policy', [medium], {
      issuer: { policies: [other] },
      leaf: { policies: [other] },
    }),
    of('trusted for a policy of the authority that is not that of the leaf', 'policy', [medium], {
      issuer: { policies: [medium, other] },
      leaf: { policies: [other] },
    }),
    ends('trusted for a policy, right under the anchor', 'trusted', with_, root),
    ends('trusted for a policy, right under the anchor without it', 'policy', without, root),
    ends('trusted for a policy, as itself', 'trusted', with_, with_),
    ends('trusted for a policy, as itself without it', 'policy', without, without, whole),
  ]
}
