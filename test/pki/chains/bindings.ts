import type { CertificateWishes } from '../wishes.ts'
import { chain, domain, ellen, threeTiers, type ChainCase } from './chain-case.ts'

/** Whom a certificate speaks for (Applicability Statement §4). */
export function bindingChains(): ChainCase[] {
  const of = (
    what: string,
    expected: ChainCase['expected'],
    leaf: CertificateWishes,
    more: { address?: string; differsBecause?: string; opensslAlso?: readonly string[] } = {},
  ) => {
    const made = threeTiers({ leaf })
    return chain(what, expected, { ...made.given, leaf: made.leaf, ...more })
  }
  const ofDomain = (...domains: string[]) => ({ emails: [], domains })
  const local =
    'openssl minds the case of local parts; Direct compares them without (HappyPathAllCapsLocalPart)'
  return [
    of('the address', 'trusted', {}),
    of('the address, its domain in capitals', 'trusted', { emails: [`ellen.ross@${domain.toUpperCase()}`] }),
    of('the address in capitals', 'trusted', { emails: [ellen.toUpperCase()] }, { differsBecause: local }),
    of('asked for in capitals', 'trusted', {}, { address: ellen.toUpperCase(), differsBecause: local }),
    of('another address of the domain', 'address-not-bound', { emails: [`bob@${domain}`] }),
    of('the address among others', 'trusted', { emails: [`bob@${domain}`, ellen, 'x@y.example'] }),
    of('an address that only begins alike', 'address-not-bound', { emails: [`${ellen}.evil.example`] }),
    of('an address with a zero octet after the right one', 'address-not-bound', {
      emails: [`${ellen}\0.evil.example`],
    }),
    of('the domain', 'trusted', ofDomain(domain)),
    of('the domain in capitals', 'trusted', ofDomain(domain.toUpperCase())),
    of('another domain', 'address-not-bound', ofDomain('direct.other.example')),
    of('the parent domain', 'address-not-bound', ofDomain('somephr.example')),
    of('a domain below', 'address-not-bound', ofDomain(`a.${domain}`)),
    of('a wildcard', 'address-not-bound', ofDomain('*.somephr.example'), {
      differsBecause: 'wildcards are for web servers; a Direct certificate names its domain',
    }),
    of('the domain with a final dot', 'address-not-bound', ofDomain(`${domain}.`)),
    of(
      'the address in the subject only',
      'address-not-bound',
      { emails: [], subject: { CN: 'Ellen', E: ellen } },
      {
        differsBecause:
          'openssl looks into the subject where there is no alternative name; Direct binds by subjectAltName',
      },
    ),
    of(
      'the domain in the common name only',
      'address-not-bound',
      { emails: [], subject: { CN: domain } },
      {
        differsBecause: 'openssl looks into the common name; Direct binds by subjectAltName',
        opensslAlso: ['-verify_hostname', domain],
      },
    ),
    of('the same address in the subject', 'trusted', { subject: { CN: 'Ellen', E: ellen } }),
    of(
      'another address in the subject',
      'address-not-bound',
      { subject: { CN: 'Ellen', E: `bob@${domain}` } },
      {
        differsBecause:
          'openssl takes any of them; two addresses that contradict each other bind nobody (DCDT)',
      },
    ),
    of('a URI with the domain', 'address-not-bound', {
      emails: [],
      otherNames: [{ uri: `https://${domain}/` }],
    }),
    of(
      'a sub-address under the certificate of its address',
      'trusted',
      {},
      {
        address: ellen.replace('@', '+records@'),
        differsBecause: 'sub-addresses are published under their address; openssl knows no such thing',
      },
    ),
    of('an address under the certificate of its sub-address', 'address-not-bound', {
      emails: [ellen.replace('@', '+records@')],
    }),
    of('no name at all', 'address-not-bound', { emails: [] }),
  ]
}
