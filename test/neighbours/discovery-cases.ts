import { makeRoot, type Authority, type CertificateWishes, type Issued } from '../pki/pki.ts'
import type { ZoneRecord } from './dns-server.ts'

/**
 * Two certification tools test certificate discovery with eighteen addresses each: the Direct Certificate Discovery Tool
 * of the ONC and that of DirectTrust, which counts the last two the other way round and is stricter about LDAP order.
 */
export type DiscoveryTool = 'dcdt' | 'directtrust'

export interface DiscoveryCase {
  /** `D1` to `D18`. */
  readonly id: string
  readonly what: string
  readonly address: string
  /** The certificates that the message must be encrypted to, DER; empty where nothing may be sent. */
  readonly expected: readonly Buffer[]
  /** Where the certificates are found, or why none is used. */
  readonly ends:
    'dns-address' | 'dns-domain' | 'ldap-address' | 'ldap-domain' | 'untrusted' | 'absent' | 'unreachable'
}

export interface LdapEntry {
  readonly mail: string
  readonly certificates: readonly Buffer[]
}

/** Everything the tool publishes, as data: any DNS, LDAP and HTTP server can play it. */
export interface DiscoveryWorld {
  readonly root: Authority
  readonly cases: readonly DiscoveryCase[]
  readonly zone: readonly ZoneRecord[]
  readonly ldap1: readonly LdapEntry[]
  readonly ldap2: readonly LdapEntry[]
  readonly ldap3: readonly LdapEntry[]
  /** Serial numbers that `/root.crl` lists. */
  readonly revoked: readonly bigint[]
  /** DER, served at `/intermediate.cer`. */
  readonly intermediate: Buffer
}

export interface WorldPlace {
  /** Below it lie `domain1` to `domain10`. */
  readonly base: string
  /** The host name that the three directories share, its address, and their ports; nobody listens on `downPort`. */
  readonly ldapHost: string
  readonly ldapAddress: string
  readonly ldapPorts: readonly [number, number, number]
  readonly downPort: number
  /** `http://…` of the server of revocation lists and issuers, without a slash at the end. */
  readonly pkiUrl: string
}

const dayMs = 86_400_000

/** The world of cases D1 to D18, decoys included, with certificates made for this moment. */
export function discoveryWorld(tool: DiscoveryTool, place: WorldPlace): DiscoveryWorld {
  const root = makeRoot({ name: `${tool} root` })
  const domain = (number: number) => `domain${number}.${place.base}`
  const expired = {
    notBefore: new Date(Date.now() - 400 * dayMs),
    notAfter: new Date(Date.now() - 2 * dayMs),
  }
  const zone: ZoneRecord[] = [{ type: 'A', name: place.ldapHost, data: place.ldapAddress }]
  const directories: [LdapEntry[], LdapEntry[], LdapEntry[]] = [[], [], []]
  const revoked: bigint[] = []
  const cases: DiscoveryCase[] = []

  const addressBound = (address: string, wishes: CertificateWishes = {}, issuer = root) =>
    issuer.issue({ emails: [address], ...wishes }).certificate
  const domainBound = (name: string, wishes: CertificateWishes = {}) =>
    root.issue({ domains: [name], ...wishes }).certificate
  const publish = (name: string, ...certificates: Buffer[]) =>
    zone.push(
      ...certificates.map((der): ZoneRecord => ({
        type: 'CERT',
        name: name.replace('@', '.'),
        certificate: der.toString('base64'),
      })),
    )
  const list = (directory: 0 | 1 | 2, mail: string, ...certificates: Buffer[]) => {
    const known = directories[directory].findIndex((entry) => entry.mail === mail)
    if (known < 0) directories[directory].push({ mail, certificates })
    else
      directories[directory][known] = {
        mail,
        certificates: [...directories[directory][known]!.certificates, ...certificates],
      }
  }
  const serve = (name: string, priority: number, weight: number, port: number) =>
    zone.push({ type: 'SRV', name: `_ldap._tcp.${name}`, priority, weight, port, target: place.ldapHost })
  const expect = (
    number: number,
    home: number,
    what: string,
    ends: DiscoveryCase['ends'],
    ...expected: Buffer[]
  ) => cases.push({ id: `D${number}`, what, address: addressOf(number, home), ends, expected })
  const addressOf = (number: number, home: number) => `d${number}@${domain(home)}`

  const [port1, port2, port3] = place.ldapPorts
  serve(domain(1), 0, 0, port1)
  serve(domain(2), 0, 0, port1)
  serve(domain(2), 1, 0, port2)
  serve(domain(3), 0, 0, place.downPort)
  serve(domain(3), 1, 0, port2)
  // The heavier one is asked first; a random draw by weight (RFC 2782) would find the decoy now and then.
  serve(domain(5), 0, 0, port1)
  serve(domain(5), 0, 100, port3)
  serve(domain(7), 0, 0, place.downPort)
  serve(domain(8), 0, 0, port1)

  const d1 = addressBound(addressOf(1, 1))
  publish(addressOf(1, 1), d1)
  publish(domain(1), domainBound(domain(1), expired))
  list(0, addressOf(1, 1), addressBound(addressOf(1, 1), expired))
  list(0, domain(1), domainBound(domain(1), expired))
  expect(1, 1, 'valid, address-bound, in DNS', 'dns-address', d1)

  const d2 = domainBound(domain(1))
  publish(domain(1), d2)
  list(0, addressOf(2, 1), addressBound(addressOf(2, 1), expired))
  expect(2, 1, 'valid, domain-bound, in DNS', 'dns-domain', d2)

  const d3 = addressBound(addressOf(3, 2))
  list(0, addressOf(3, 2), d3)
  list(0, domain(2), domainBound(domain(2), expired))
  expect(3, 2, 'valid, address-bound, in LDAP', 'ldap-address', d3)

  const d4 = domainBound(domain(2))
  list(0, domain(2), d4)
  expect(4, 2, 'valid, domain-bound, in LDAP', 'ldap-domain', d4)

  publish(addressOf(5, 1), addressBound(addressOf(5, 1), expired))
  expect(5, 1, 'expired, address-bound, in DNS; the domain’s own is valid', 'untrusted')

  publish(domain(4), domainBound(domain(4), expired))
  expect(6, 4, 'expired, domain-bound, in DNS', 'untrusted')

  list(0, addressOf(7, 2), addressBound(addressOf(7, 2), expired))
  expect(7, 2, 'expired, address-bound, in LDAP; the domain’s own is valid', 'untrusted')

  const home8 = tool === 'dcdt' ? 5 : 11
  if (tool === 'directtrust') serve(domain(11), 0, 0, port3)
  list(2, domain(home8), domainBound(domain(home8), expired))
  expect(8, home8, 'expired, domain-bound, in LDAP', 'untrusted')

  const d9 = addressBound(addressOf(9, 1))
  publish(addressOf(9, 1), addressBound(addressOf(9, 1), expired), d9)
  expect(9, 1, 'one valid and one expired in the same DNS answer', 'dns-address', d9)

  const d10 = addressBound(addressOf(10, 3))
  list(1, addressOf(10, 3), d10)
  expect(10, 3, 'the first LDAP server is down, the second has it', 'ldap-address', d10)

  expect(11, 6, 'neither certificates nor SRV records', 'absent')
  expect(12, 7, 'the only LDAP server is down', 'unreachable')
  expect(13, 8, 'an LDAP server that knows nothing of it', 'absent')

  const d14 = addressBound(addressOf(14, 1), { keyType: 'rsa4096' })
  publish(addressOf(14, 1), d14)
  expect(14, 1, 'a certificate too large for one UDP answer', 'dns-address', d14)

  const d15 = addressBound(addressOf(15, 2))
  list(0, addressOf(15, 2), d15)
  list(1, addressOf(15, 2), addressBound(addressOf(15, 2), tool === 'dcdt' ? expired : {}))
  expect(15, 2, 'SRV priority: the lower one is asked', 'ldap-address', d15)

  const d16 = addressBound(addressOf(16, 5))
  list(2, addressOf(16, 5), d16)
  list(0, addressOf(16, 5), addressBound(addressOf(16, 5)))
  expect(16, 5, 'SRV weight: the heavier one is asked', 'ldap-address', d16)

  const [revocationNumber, issuerNumber] = tool === 'dcdt' ? [17, 18] : [18, 17]
  const listed = { crlUrls: [`${place.pkiUrl}/root.crl`] }
  const withdrawn = (wishes: CertificateWishes): Issued => {
    const serial = 0x4d00n + BigInt(revoked.length)
    revoked.push(serial)
    return root.issue({ serial, ...listed, ...wishes })
  }
  const address9 = addressOf(revocationNumber, 9)
  const bothRevoked = [withdrawn({ emails: [address9] }), withdrawn({ emails: [address9] })]
  publish(address9, ...bothRevoked.map((one) => one.certificate))
  publish(domain(9), withdrawn({ domains: [domain(9)], ...expired }).certificate)
  if (tool === 'dcdt') {
    const valid = addressBound(address9, listed)
    publish(address9, valid)
    expect(17, 9, 'one valid among revoked ones, all in DNS', 'dns-address', valid)
  }

  const intermediate = root.issueAuthority({ name: `${tool} intermediate` })
  const address10 = addressOf(issuerNumber, 10)
  const below = addressBound(address10, { caIssuersUrls: [`${place.pkiUrl}/intermediate.cer`] }, intermediate)
  publish(address10, below)
  publish(domain(10), domainBound(domain(10), expired))
  expect(issuerNumber, 10, 'the issuer is found through AIA only', 'dns-address', below)
  if (tool === 'directtrust') expect(18, 9, 'revoked ones only, in DNS', 'untrusted')

  return {
    root,
    cases: cases.toSorted((a, b) => Number(a.id.slice(1)) - Number(b.id.slice(1))),
    zone,
    ldap1: directories[0],
    ldap2: directories[1],
    ldap3: directories[2],
    revoked,
    intermediate: intermediate.certificate,
  }
}
