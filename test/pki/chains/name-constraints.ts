import { contextPrimitive, integer, sequence } from '../der.ts'
import { directoryName, generalName, type GeneralNameWish } from '../names.ts'
import type { CertificateWishes } from '../wishes.ts'
import {
  anEcIssuer,
  anEcLeaf,
  anEcRoot,
  chain,
  domain,
  ellen,
  threeTiers,
  type ChainCase,
} from './chain-case.ts'

type Constraints = NonNullable<CertificateWishes['nameConstraints']>

/** RFC 5280 §4.2.1.10. */
export function nameConstraintChains(): ChainCase[] {
  const of = (
    what: string,
    expected: ChainCase['expected'],
    constraints: Constraints,
    leaf: CertificateWishes = {},
    more: { address?: string; differsBecause?: string; laxBecause?: string } = {},
  ) => {
    const made = threeTiers({ issuer: { nameConstraints: constraints }, leaf })
    return chain(what, expected, { ...made.given, leaf: made.leaf, ...more })
  }
  const email = (text: string) => ({ email: text })
  const dns = (text: string) => ({ domain: text })
  const permitted = (...names: GeneralNameWish[]) => ({ permitted: names })
  const excluded = (...names: GeneralNameWish[]) => ({ excluded: names })
  const ashby = { O: 'Ashby Medical Center' }
  const inAshby = { subject: { ...ashby, CN: 'Transmit' } }
  return [
    of('mailboxes of a host permitted', 'trusted', permitted(email(domain))),
    of('mailboxes of another host permitted', 'name-constraints', permitted(email('direct.other.example'))),
    of('mailboxes of a host permitted in capitals', 'trusted', permitted(email(domain.toUpperCase()))),
    of('hosts below a domain permitted', 'trusted', permitted(email('.somephr.example'))),
    of('hosts below, and not the host itself', 'name-constraints', permitted(email(`.${domain}`))),
    of('the parent host, which is another host', 'name-constraints', permitted(email('somephr.example'))),
    of('one mailbox permitted', 'trusted', permitted(email(ellen))),
    of('another mailbox permitted', 'name-constraints', permitted(email(`bob@${domain}`))),
    of('mailboxes of a host excluded', 'name-constraints', excluded(email(domain))),
    of('one mailbox excluded', 'name-constraints', excluded(email(ellen))),
    of(
      'one mailbox excluded, spelled otherwise',
      'name-constraints',
      excluded(email(ellen.toUpperCase())),
      {},
      { differsBecause: 'openssl minds the case of local parts; Direct delivers without it' },
    ),
    of('another host excluded', 'trusted', excluded(email('direct.other.example'))),
    of('permitted and excluded at once', 'name-constraints', {
      permitted: [email('.somephr.example')],
      excluded: [email(domain)],
    }),
    of('two addresses, one of them outside', 'name-constraints', permitted(email(domain)), {
      emails: [ellen, 'ellen@direct.other.example'],
    }),
    of('an address in the subject outside', 'name-constraints', permitted(email(domain)), {
      emails: [],
      domains: [domain],
      subject: { CN: 'Ellen', E: 'ellen@direct.other.example' },
    }),
    of('constraints of another kind', 'trusted', permitted(dns('other.example'))),
    of('domains below permitted', 'trusted', permitted(dns('somephr.example')), {
      emails: [],
      domains: [domain],
    }),
    of('the domain itself permitted', 'trusted', permitted(dns(domain)), { emails: [], domains: [domain] }),
    of('another domain permitted', 'name-constraints', permitted(dns('other.example')), {
      emails: [],
      domains: [domain],
    }),
    of('a domain that only ends alike', 'name-constraints', permitted(dns('phr.example')), {
      emails: [],
      domains: [domain],
    }),
    of('a domain above excluded', 'name-constraints', excluded(dns('SomePHR.example')), {
      emails: [],
      domains: [domain],
    }),
    of('every domain excluded', 'name-constraints', excluded(dns('')), { emails: [], domains: [domain] }),
    of('a directory name permitted', 'trusted', permitted({ directory: ashby }), inAshby),
    of(
      'a directory name permitted, written otherwise',
      'trusted',
      permitted({ directory: { O: ' ASHBY  Medical center' } }),
      inAshby,
    ),
    of('another directory name permitted', 'name-constraints', permitted({ directory: ashby })),
    of('a directory name excluded', 'name-constraints', excluded({ directory: ashby }), inAshby),
    of(
      'a directory name in the alternative names outside',
      'name-constraints',
      permitted({ directory: ashby }),
      {
        ...inAshby,
        otherNames: [{ directory: { O: 'Somebody' } }],
      },
    ),
    of('a URI permitted', 'trusted', permitted({ uri: '.example' }), {
      otherNames: [{ uri: 'https://www.somephr.example:8443/x' }],
    }),
    of('a URI of another host', 'name-constraints', permitted({ uri: 'www.somephr.example' }), {
      otherNames: [{ uri: 'https://evil.example/?www.somephr.example' }],
    }),
    of(
      'an IP address permitted',
      'trusted',
      permitted({ ip: Buffer.from([192, 0, 2, 0, 255, 255, 255, 0]) }),
      {
        otherNames: [{ ip: Buffer.from([192, 0, 2, 99]) }],
      },
    ),
    of(
      'an IP address outside',
      'name-constraints',
      permitted({ ip: Buffer.from([192, 0, 2, 0, 255, 255, 255, 0]) }),
      {
        otherNames: [{ ip: Buffer.from([192, 0, 3, 99]) }],
      },
    ),
    of('a kind of name that nobody compares', 'name-constraints', excluded({ raw: registeredId }), {
      otherNames: [{ raw: registeredId }],
    }),
    of(
      'constraints that are not critical',
      'name-constraints',
      { ...permitted(email('direct.other.example')), critical: false },
      {},
      { laxBecause: 'RFC 5280 wants them critical; they count all the same' },
    ),
    ...elsewhere(),
  ]
}

const registeredId = contextPrimitive(8, Buffer.from([0x2a, 0x03, 0x04]))

/** Constraints at other levels, and some that cannot be honoured. */
function elsewhere(): ChainCase[] {
  const outside = { permitted: [{ email: 'direct.other.example' }] }
  const inside = { permitted: [{ email: domain }] }
  const byAnchor = threeTiers({ root: { nameConstraints: outside } })
  const both = threeTiers({ root: { nameConstraints: inside }, issuer: { nameConstraints: outside } })
  const issuerOutside = threeTiers({
    root: { nameConstraints: { permitted: [{ directory: { O: 'Ashby Medical Center' } }] } },
    leaf: { subject: { O: 'Ashby Medical Center', CN: 'Transmit' } },
  })
  const root = anEcRoot({ nameConstraints: { permitted: [{ directory: { O: 'Ashby Medical Center' } }] } })
  // Self-issued authorities are exempt; the certificate at the end never is.
  const renewed = anEcIssuer(root, { subject: root.subjectName })
  const distant = anEcIssuer(anEcRoot(), {
    extensions: [
      {
        oid: '2.5.29.30',
        critical: true,
        value: sequence(
          contextPermitted(
            sequence(generalName({ email: domain }), contextPrimitive(0, integer(1).subarray(2))),
          ),
        ),
      },
    ],
  })
  return [
    chain('constraints of the anchor itself', 'name-constraints', { ...byAnchor.given, leaf: byAnchor.leaf }),
    chain('permitted by one authority and not by the next', 'name-constraints', {
      ...both.given,
      leaf: both.leaf,
    }),
    chain('an authority between whose own name is outside', 'name-constraints', {
      ...issuerOutside.given,
      leaf: issuerOutside.leaf,
    }),
    chain('a self-issued authority outside, which is exempt', 'trusted', {
      leaf: anEcLeaf(renewed, { subject: directoryName({ O: 'Ashby Medical Center', CN: 'Transmit' }) }),
      pool: [renewed],
      anchors: [root],
    }),
    chain('constraints with a distance', 'name-constraints', {
      leaf: anEcLeaf(distant),
      pool: [distant],
      anchors: [distant],
    }),
  ]
}

function contextPermitted(subtree: Buffer): Buffer {
  return Buffer.concat([Buffer.from([0xa0, subtree.length]), subtree])
}
