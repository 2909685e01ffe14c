import { drawKey } from '../keys.ts'
import { anyExtendedKeyUsage, emailProtection, issueFor, makeRoot, serverAuth } from '../pki.ts'
import type { CertificateWishes } from '../wishes.ts'
import { chain, ellen, threeTiers, type ChainCase } from './chain-case.ts'

/** What the key of a person or an organisation may be used for. */
export function usageChains(): ChainCase[] {
  const root = makeRoot({ keyType: 'rsa2048' })
  const key = drawKey('rsa2048')
  const rsa = (
    what: string,
    purpose: ChainCase['purpose'],
    expected: ChainCase['expected'],
    wishes: CertificateWishes,
    more: { differsBecause?: string } = {},
  ) =>
    chain(what, expected, {
      leaf: issueFor(root, ellen, { key, ...wishes }),
      anchors: [root],
      purpose,
      ...more,
    })
  const ec = (
    what: string,
    purpose: ChainCase['purpose'],
    expected: ChainCase['expected'],
    wishes: CertificateWishes,
    more: { differsBecause?: string } = {},
  ) => {
    const { leaf, given } = threeTiers({ leaf: wishes })
    return chain(what, expected, { ...given, leaf, purpose, ...more })
  }
  return [
    rsa('a dual-use key encrypts', 'encrypt', 'trusted', {}),
    rsa('a dual-use key signs', 'sign', 'trusted', {}),
    rsa('an encryption key encrypts', 'encrypt', 'trusted', { keyUsage: ['keyEncipherment'] }),
    rsa('an encryption key does not sign', 'sign', 'key-usage', { keyUsage: ['keyEncipherment'] }),
    rsa('a signing key signs', 'sign', 'trusted', { keyUsage: ['digitalSignature'] }),
    rsa('a signing key does not encrypt', 'encrypt', 'key-usage', { keyUsage: ['digitalSignature'] }),
    rsa('dataEncipherment alone does not encrypt keys', 'encrypt', 'key-usage', {
      keyUsage: ['dataEncipherment'],
    }),
    rsa(
      'nonRepudiation alone does not sign messages',
      'sign',
      'key-usage',
      { keyUsage: ['nonRepudiation'] },
      {
        differsBecause: 'openssl lets nonRepudiation sign mail; Direct asks for digitalSignature',
      },
    ),
    rsa('no keyUsage, every use', 'encrypt', 'trusted', { keyUsage: null }),
    rsa('no keyUsage signs, too', 'sign', 'trusted', { keyUsage: null }),
    rsa('a keyUsage that is not critical counts as much', 'sign', 'key-usage', {
      keyUsage: ['keyEncipherment'],
      keyUsageCritical: false,
    }),
    ec(
      'an EC key with keyAgreement encrypts',
      'encrypt',
      'trusted',
      { keyUsage: ['keyAgreement'] },
      {
        differsBecause: 'openssl’s smimeencrypt knows key transport only; RFC 5753 §7 asks for keyAgreement',
      },
    ),
    ec(
      'an EC key cannot transport keys',
      'encrypt',
      'key-usage',
      { keyUsage: ['keyEncipherment'] },
      {
        differsBecause: 'openssl does not look at the kind of key; RFC 5753 §7 asks for keyAgreement',
      },
    ),
    ec('an EC key signs', 'sign', 'trusted', { keyUsage: ['digitalSignature'] }),
    ec('meant for e-mail among others', 'sign', 'trusted', {
      extendedKeyUsage: [serverAuth, emailProtection],
    }),
    ec('meant for web servers only', 'sign', 'extended-key-usage', { extendedKeyUsage: [serverAuth] }),
    ec('meant for e-mail, critically', 'sign', 'trusted', { extendedKeyUsageCritical: true }),
    ec(
      'meant for any purpose',
      'sign',
      'trusted',
      { extendedKeyUsage: [anyExtendedKeyUsage] },
      {
        differsBecause:
          'openssl wants emailProtection by name; RFC 5280 §4.2.1.12 lets anyExtendedKeyUsage stand for it',
      },
    ),
    ec('no purpose named', 'sign', 'trusted', { extendedKeyUsage: null }),
  ]
}
