import { nothing, octetString } from '../der.ts'
import { serverAuth } from '../pki.ts'
import { anEcIssuer, anEcLeaf, anEcRoot, chain, threeTiers, type ChainCase } from './chain-case.ts'

/** Who may issue: basicConstraints, pathLen, keyCertSign, critical extensions. */
export function authorityChains(): ChainCase[] {
  const of = (
    what: string,
    expected: ChainCase['expected'],
    wishes: Parameters<typeof threeTiers>[0],
    more = {},
  ) => {
    const { leaf, given } = threeTiers(wishes)
    return chain(what, expected, { ...given, ...more, leaf })
  }
  const root = anEcRoot()
  const notAnAuthority = anEcIssuer(root, {
    basicConstraints: { ca: false },
    keyUsage: ['digitalSignature', 'keyAgreement'],
  })
  const critical = [{ oid: '1.3.6.1.4.1.99999.1', critical: true, value: nothing() }]
  return [
    of('an authority without basicConstraints', 'not-a-ca', { issuer: { basicConstraints: null } }),
    of('an authority with cA false', 'not-a-ca', { issuer: { basicConstraints: { ca: false } } }),
    chain('a person’s certificate used as an authority', 'key-usage', {
      leaf: anEcLeaf(notAnAuthority),
      pool: [notAnAuthority],
      anchors: [root],
    }),
    of('an authority of version 1', 'not-a-ca', { issuer: { version: 1 } }),
    of(
      'an anchor of version 1',
      'not-a-ca',
      { root: { version: 1 } },
      {
        laxBecause: 'strict openssl refuses as we do',
        differsBecause: 'lax openssl takes any self-signed certificate of version 1 for an authority',
      },
    ),
    of('an anchor of version 1, strictly', 'not-a-ca', { root: { version: 1 } }),
    of('an authority without keyCertSign', 'key-usage', { issuer: { keyUsage: ['cRLSign'] } }),
    of('an anchor without keyCertSign', 'key-usage', { root: { keyUsage: ['cRLSign'] } }),
    of(
      'an authority without keyUsage',
      'trusted',
      { issuer: { keyUsage: null } },
      { laxBecause: 'RFC 5280 wants authorities to have keyUsage, and says no verifier must insist' },
    ),
    of(
      'an authority without key identifiers',
      'trusted',
      { issuer: { subjectKeyId: null, authorityKeyId: null }, leaf: { authorityKeyId: null } },
      { laxBecause: 'key identifiers help to find a path and prove nothing' },
    ),
    of('an authority meant for web servers', 'extended-key-usage', {
      issuer: { extendedKeyUsage: [serverAuth] },
    }),
    of('an authority meant for e-mail', 'trusted', { issuer: { extendedKeyUsage: ['1.3.6.1.5.5.7.3.4'] } }),
    of('an unknown critical extension', 'critical-extension', { leaf: { extensions: critical } }),
    of('an unknown critical extension in an authority', 'critical-extension', {
      issuer: { extensions: critical },
    }),
    of('an unknown critical extension in the anchor', 'critical-extension', {
      root: { extensions: critical },
    }),
    of('an unknown extension that is not critical', 'trusted', {
      leaf: { extensions: [{ oid: '1.3.6.1.4.1.99999.1', value: nothing() }] },
    }),
    of(
      'an extension twice',
      'unreadable',
      {
        leaf: {
          extensions: [1, 2].map(() => ({ oid: '1.3.6.1.4.1.99999.1', value: octetString(Buffer.alloc(3)) })),
        },
      },
      {
        differsBecause:
          'openssl looks for doubles among the extensions it knows only; RFC 5280 §4.2 forbids any',
      },
    ),
    of('keyUsage twice', 'unreadable', {
      leaf: { extensions: [{ oid: '2.5.29.15', value: Buffer.from([0x03, 0x02, 0x00, 0xff]) }] },
    }),
    ...pathLengths(),
  ]
}

function pathLengths(): ChainCase[] {
  const under = (root: ReturnType<typeof anEcRoot>, ...lengths: (number | undefined)[]) => {
    const authorities = [root]
    for (const pathLen of lengths)
      authorities.push(anEcIssuer(authorities.at(-1)!, pathLen === undefined ? {} : { pathLen }))
    return { leaf: anEcLeaf(authorities.at(-1)!), pool: authorities.slice(1), anchors: [root] }
  }
  const selfIssued = () => {
    const root = anEcRoot({ pathLen: 1 })
    const one = anEcIssuer(root)
    // The same name with a new key, as authorities do when they renew theirs.
    const renewed = anEcIssuer(one, { subject: one.subjectName })
    return { leaf: anEcLeaf(renewed), pool: [one, renewed], anchors: [root] }
  }
  return [
    chain('pathLen 0 with nothing below', 'trusted', under(anEcRoot(), 0)),
    chain('pathLen 0 with an authority below', 'path-too-long', under(anEcRoot(), 0, undefined)),
    chain(
      'pathLen 1 with two authorities below',
      'path-too-long',
      under(anEcRoot(), 1, undefined, undefined),
    ),
    chain('pathLen 1 with one authority below', 'trusted', under(anEcRoot(), 1, undefined)),
    chain('pathLen of the anchor', 'path-too-long', under(anEcRoot({ pathLen: 0 }), undefined)),
    chain('pathLen of the anchor, kept', 'trusted', under(anEcRoot({ pathLen: 1 }), undefined)),
    chain('a self-issued authority, which pathLen does not count', 'trusted', selfIssued()),
    chain('three authorities', 'trusted', under(anEcRoot(), undefined, undefined, undefined)),
  ]
}
