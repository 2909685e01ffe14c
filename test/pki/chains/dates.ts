import {
  anEcIssuer,
  anEcLeaf,
  anEcRoot,
  chain,
  dayMs,
  daysFromNow,
  threeTiers,
  type ChainCase,
} from './chain-case.ts'

/** RFC 5280 §4.1.2.5: from notBefore through notAfter, both included. */
export function dateChains(): ChainCase[] {
  const past = { notBefore: daysFromNow(-90), notAfter: daysFromNow(-1) }
  const future = { notBefore: daysFromNow(1), notAfter: daysFromNow(90) }
  const expiredLeaf = threeTiers({ leaf: past })
  const futureLeaf = threeTiers({ leaf: future })
  const expiredIssuer = threeTiers({ issuer: past })
  const futureIssuer = threeTiers({ issuer: future })
  const expiredRoot = threeTiers({ root: past })
  const futureRoot = threeTiers({ root: future })
  const usual = threeTiers({ leaf: { notBefore: daysFromNow(-0.5), notAfter: daysFromNow(30) } })
  const wholeSecond = (date: Date) => new Date(Math.floor(date.getTime() / 1000) * 1000)
  const far = threeTiers({ leaf: { notAfter: new Date('2064-02-29T23:59:59Z') } })
  const { root } = usual
  const renewed = anEcIssuer(root)
  const outdated = anEcIssuer(root, { key: renewed.privateKey, subject: renewed.subjectName, ...past })
  return [
    chain('an expired certificate', 'expired', { ...expiredLeaf.given, leaf: expiredLeaf.leaf }),
    chain('a certificate that is not valid yet', 'not-yet-valid', {
      ...futureLeaf.given,
      leaf: futureLeaf.leaf,
    }),
    chain('an expired authority', 'expired', { ...expiredIssuer.given, leaf: expiredIssuer.leaf }),
    chain('an authority that is not valid yet', 'not-yet-valid', {
      ...futureIssuer.given,
      leaf: futureIssuer.leaf,
    }),
    chain('an expired anchor', 'anchor-expired', { ...expiredRoot.given, leaf: expiredRoot.leaf }),
    chain('an anchor that is not valid yet', 'not-yet-valid', { ...futureRoot.given, leaf: futureRoot.leaf }),
    chain('the very second of notBefore', 'trusted', {
      ...usual.given,
      leaf: usual.leaf,
      at: wholeSecond(daysFromNow(-0.5)),
    }),
    chain('the second before notBefore', 'not-yet-valid', {
      ...usual.given,
      leaf: usual.leaf,
      at: new Date(wholeSecond(daysFromNow(-0.5)).getTime() - 1000),
    }),
    chain('the very second of notAfter', 'trusted', {
      ...usual.given,
      leaf: usual.leaf,
      at: wholeSecond(daysFromNow(30)),
      differsBecause: 'openssl takes the second of notAfter for past; RFC 5280 includes it',
    }),
    chain('the second after notAfter', 'expired', {
      ...usual.given,
      leaf: usual.leaf,
      at: new Date(wholeSecond(daysFromNow(30)).getTime() + 1000),
    }),
    chain('an end in 2064, written as GeneralizedTime', 'trusted', { ...far.given, leaf: far.leaf }),
    chain('an outdated twin of the issuer before the current one', 'trusted', {
      leaf: anEcLeaf(renewed),
      pool: [outdated, renewed],
      anchors: [root],
    }),
    chain('only the outdated twin of the issuer', 'expired', {
      leaf: anEcLeaf(renewed),
      pool: [outdated],
      anchors: [root],
    }),
    chain('two anchors of one name and key, the outdated one first', 'trusted', {
      leaf: anEcLeaf(root),
      anchors: [
        anEcRoot({
          key: root.privateKey,
          subject: root.subjectName,
          notBefore: new Date(past.notBefore.getTime() - 300 * dayMs),
          notAfter: past.notAfter,
        }),
        root,
      ],
    }),
  ]
}
