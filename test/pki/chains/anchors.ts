import { makeRoot } from '../pki.ts'
import {
  anEcIssuer,
  anEcLeaf,
  anEcRoot,
  bitFlipped,
  chain,
  ec,
  ellen,
  noTurningBack,
  threeTiers,
  type ChainCase,
} from './chain-case.ts'

/** Where a path may end, and how it is found. */
export function anchorChains(): ChainCase[] {
  const { root, issuer, leaf, given } = threeTiers()
  const lone = makeRoot({
    ...ec,
    emails: [ellen],
    keyUsage: ['digitalSignature', 'keyAgreement'],
    basicConstraints: { ca: false },
  })
  const stranger = anEcRoot()
  const namesake = anEcRoot({ subject: root.subjectName })
  // The same authority, certified by a stranger as well.
  const crossed = anEcIssuer(stranger, { subject: issuer.subjectName, key: issuer.privateKey })
  return [
    chain('right under the anchor', 'trusted', { leaf: anEcLeaf(root), anchors: [root] }),
    chain('one authority between', 'trusted', { ...given, leaf }),
    chain('an intermediate as anchor, its root unknown', 'trusted', { leaf, anchors: [issuer] }),
    chain('an intermediate as anchor, beside others', 'trusted', { leaf, anchors: [stranger, issuer, root] }),
    chain('the certificate itself as anchor', 'trusted', { leaf, anchors: [leaf] }),
    chain('signed by itself, and an anchor', 'trusted', { leaf: lone, anchors: [lone] }),
    chain('signed by itself, and no anchor', 'no-path', { leaf: lone, anchors: [root] }),
    chain('an unknown root', 'no-path', { leaf, pool: [issuer, root], anchors: [stranger] }),
    chain('a root in the pool is no anchor', 'no-path', {
      leaf,
      pool: [issuer, root],
      anchors: [anEcRoot()],
    }),
    chain('the authority between is missing', 'no-path', { leaf, anchors: [root] }),
    chain('anchors of one name with different keys', 'trusted', {
      leaf,
      pool: [issuer],
      anchors: [namesake, root],
    }),
    chain('only the namesake of the anchor', 'bad-signature', { leaf, pool: [issuer], anchors: [namesake] }),
    chain('an authority certified twice, one way leads home', 'trusted', {
      leaf,
      pool: [crossed, stranger, issuer],
      anchors: [root],
      differsBecause: noTurningBack,
    }),
    chain('an authority certified twice, the other way leads home', 'trusted', {
      leaf,
      pool: [issuer, crossed],
      anchors: [stranger],
      differsBecause: noTurningBack,
    }),
    ...loops(),
    ...long(),
    chain('a pool of strangers, in no order', 'trusted', {
      leaf,
      pool: [stranger, anEcIssuer(stranger), namesake, leaf, issuer, anEcLeaf(stranger)].map(
        (one) => one.certificate,
      ),
      anchors: [root],
    }),
    chain('junk after a certificate in the pool', 'no-path', {
      leaf,
      pool: [bitFlipped(issuer, 1)],
      anchors: [root],
    }),
  ]
}

/** Two authorities that certify each other. */
function loops(): ChainCase[] {
  const anchor = anEcRoot()
  const outside = anEcRoot()
  const north = anEcIssuer(outside)
  const south = anEcIssuer(north)
  const northBySouth = anEcIssuer(south, { subject: north.subjectName, key: north.privateKey })
  const northByAnchor = anEcIssuer(anchor, { subject: north.subjectName, key: north.privateKey })
  const leaf = anEcLeaf(south)
  return [
    chain('authorities in a circle', 'no-path', { leaf, pool: [south, northBySouth], anchors: [anchor] }),
    chain('a circle with a way out', 'trusted', {
      leaf,
      pool: [south, northBySouth, northByAnchor],
      anchors: [anchor],
      differsBecause: noTurningBack,
    }),
  ]
}

function long(): ChainCase[] {
  const authorities = [anEcRoot()]
  for (let n = 0; n < 7; n++) authorities.push(anEcIssuer(authorities.at(-1)!))
  const [root, ...pool] = authorities
  return [
    chain('eight certificates', 'trusted', {
      leaf: anEcLeaf(authorities[6]!),
      pool,
      anchors: [root!],
    }),
    chain('nine certificates', 'budget-exceeded', {
      leaf: anEcLeaf(authorities[7]!),
      pool,
      anchors: [root!],
      differsBecause: 'openssl goes 100 deep; the reference implementation stops at 5, we at 8',
    }),
  ]
}
