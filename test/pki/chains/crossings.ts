import type { Authority } from '../pki.ts'
import {
  anEcIssuer,
  anEcLeaf,
  anEcRoot,
  chain,
  daysFromNow,
  noTurningBack,
  type ChainCase,
} from './chain-case.ts'

/** Cross-certificates, renewals and namesakes: several certificates fit, and not each of them leads home. */
export function crossingChains(): ChainCase[] {
  return [...bothWays(), ...renewals(), ...namesakes()]
}

/** The same name and key, certified by another authority. */
const crossing = (above: Authority, one: Authority, wishes: Parameters<typeof anEcIssuer>[1] = {}) =>
  anEcIssuer(above, { subject: one.subjectName, key: one.privateKey, ...wishes })

/** Two communities whose roots certify each other. */
function bothWays(): ChainCase[] {
  const east = anEcRoot()
  const west = anEcRoot()
  const eastByWest = crossing(west, east)
  const westByEast = crossing(east, west)
  const issuer = anEcIssuer(east)
  const leaf = anEcLeaf(issuer)
  const pool = [issuer, eastByWest, westByEast]
  return [
    chain('roots certify each other, ours is the one', 'trusted', { leaf, pool, anchors: [east] }),
    chain('roots certify each other, ours is the other', 'trusted', { leaf, pool, anchors: [west] }),
    chain('roots certify each other, ours is neither', 'no-path', { leaf, pool, anchors: [anEcRoot()] }),
    chain('roots certify each other, the other way only', 'no-path', {
      leaf,
      pool: [issuer, westByEast],
      anchors: [west],
    }),
    chain('the root beside its cross-certificate', 'trusted', {
      leaf,
      pool: [east, ...pool],
      anchors: [west],
      differsBecause: noTurningBack,
    }),
    chain('a cross-certificate for mailboxes elsewhere', 'name-constraints', {
      leaf,
      pool: [
        issuer,
        crossing(west, east, { nameConstraints: { permitted: [{ email: 'elsewhere.example' }] } }),
      ],
      anchors: [west],
    }),
    chain('a cross-certificate for mailboxes elsewhere, and one without limits', 'trusted', {
      leaf,
      pool: [
        issuer,
        crossing(west, east, { nameConstraints: { permitted: [{ email: 'elsewhere.example' }] } }),
        eastByWest,
      ],
      anchors: [west],
      differsBecause: noTurningBack,
    }),
    chain('a cross-certificate that allows no authority below', 'path-too-long', {
      leaf,
      pool: [issuer, crossing(west, east, { pathLen: 0 })],
      anchors: [west],
    }),
  ]
}

function renewals(): ChainCase[] {
  const root = anEcRoot()
  const issuer = anEcIssuer(root)
  const past = { notBefore: daysFromNow(-800), notAfter: daysFromNow(-1) }
  const future = { notBefore: daysFromNow(1), notAfter: daysFromNow(800) }
  const old = crossing(root, issuer, past)
  const next = crossing(root, issuer, future)
  const other = anEcRoot()
  const leaf = anEcLeaf(issuer)
  const anchors = [root]
  return [
    chain('an expired twin first', 'trusted', { leaf, pool: [old, issuer], anchors }),
    chain('an expired twin last', 'trusted', { leaf, pool: [issuer, old], anchors }),
    chain('a twin of tomorrow first', 'trusted', { leaf, pool: [next, issuer], anchors }),
    chain('twins of yesterday and of tomorrow only', 'expired', { leaf, pool: [next, old], anchors }),
    chain('an expired cross-certificate', 'expired', {
      leaf,
      pool: [crossing(other, issuer, past)],
      anchors: [other],
    }),
    chain('an expired cross-certificate beside the good one', 'trusted', {
      leaf,
      pool: [crossing(other, issuer, past), issuer],
      anchors: [other, root],
    }),
    chain('an expired anchor whose twin in the pool leads to another', 'trusted', {
      leaf,
      pool: [issuer],
      anchors: [old, root],
      differsBecause: noTurningBack,
    }),
  ]
}

/** Other keys under the same name. */
function namesakes(): ChainCase[] {
  const root = anEcRoot()
  const issuer = anEcIssuer(root, { subjectKeyId: null })
  const leaf = anEcLeaf(issuer, { authorityKeyId: null })
  const before = anEcIssuer(root, { subject: issuer.subjectName, subjectKeyId: null })
  const forged = anEcIssuer(anEcRoot({ subject: root.subjectName }), {
    subject: issuer.subjectName,
    subjectKeyId: null,
  })
  const lax = {
    laxBecause: 'key identifiers help to find a path and prove nothing',
    differsBecause: noTurningBack,
  }
  return [
    chain('an authority whose namesake comes first, nothing to tell them apart', 'trusted', {
      leaf,
      pool: [before, forged, issuer],
      anchors: [root],
      ...lax,
    }),
    chain('namesakes of the authority only', 'bad-signature', {
      leaf,
      pool: [before, forged],
      anchors: [root],
    }),
    chain('an authority as anchor whose namesake is one, too', 'trusted', {
      leaf,
      anchors: [before, issuer],
      ...lax,
    }),
    chain('a namesake of the authority as anchor only', 'bad-signature', {
      leaf,
      pool: [issuer],
      anchors: [before],
    }),
  ]
}
