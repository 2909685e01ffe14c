import { boolean, enumerated, integer } from '../der.ts'
import { distributionPoints, extension } from '../crl.ts'
import { drawKey } from '../keys.ts'
import { directoryName } from '../names.ts'
import { ago, ahead, crlUrl, dayMs, hourMs, listCase, otherUrl, type CrlCase } from './crl-case.ts'

const unknownOid = '1.3.6.1.4.1.99999.1'

const signatures: CrlCase[] = [
  listCase('a list in its time that does not name the certificate', 'good'),
  listCase('a list that revokes nothing at all', 'good', { revoked: [] }),
  listCase('a list of version 1', 'good', { version1: true }),
  listCase('a list signed with RSA-PSS', 'good', {
    authority: { keyType: 'rsa2048' },
    signaturePadding: 'pss',
  }),
  listCase(
    'a list by an impostor: the same name, another key',
    'unknown',
    { signWith: drawKey('ec256') },
    {
      because: /not signed by/,
    },
  ),
  listCase(
    'a list by an impostor that revokes',
    'unknown',
    { signWith: drawKey('ec256'), entry: {} },
    {
      because: /not signed by/,
    },
  ),
  listCase(
    'a list of another authority, rightly signed',
    'unknown',
    { issuerName: { CN: 'Elsewhere' } },
    {
      because: /it is by “CN=Elsewhere”/,
    },
  ),
  listCase(
    'a list with one flipped bit in its entries',
    'unknown',
    {
      damage: (list) => {
        const changed = Buffer.from(list)
        changed[list.indexOf(Buffer.from('7fffffffffffffff', 'hex')) + 3]! ^= 1
        return changed
      },
    },
    { because: /not signed by/ },
  ),
  listCase(
    'an authority that may not sign lists',
    'unknown',
    { authority: { keyUsage: ['keyCertSign'] } },
    {
      because: /cRLSign/,
    },
  ),
  listCase('an authority without any keyUsage', 'good', { authority: { keyUsage: null } }),
  listCase(
    'a list signed with SHA-1',
    'unknown',
    { signatureDigest: 'sha1' },
    { because: /SHA1; SHA-256 or better/, opensslDiffersBecause: 'its level 2 does not look at lists' },
  ),
]

const entries: CrlCase[] = [
  listCase('a list that names the certificate', 'revoked', { entry: {} }),
  listCase('a list that names it with a reason', 'revoked', { entry: { reason: 'keyCompromise' } }),
  listCase('a list that names it as on hold', 'revoked', { entry: { reason: 'certificateHold' } }),
  listCase('a list that names it from tomorrow on', 'revoked', { entry: { revokedAt: ahead(dayMs) } }),
  listCase('a list that knows since when the key was lost', 'revoked', {
    entry: { reason: 'keyCompromise', invalidSince: ago(30 * dayMs) },
  }),
  listCase(
    'an entry, not ours, with an unknown critical extension',
    'unknown',
    { revoked: [{ serial: 99n, extensions: [extension(unknownOid, true, integer(1))] }] },
    { because: /unknown critical extension/ },
  ),
  listCase('an entry with an unknown extension that is not critical', 'good', {
    revoked: [{ serial: 99n, extensions: [extension(unknownOid, false, integer(1))] }],
  }),
  listCase(
    'an entry with its reason marked critical',
    'good',
    { revoked: [{ serial: 99n, extensions: [extension('2.5.29.21', true, enumerated(1))] }] },
    { opensslDiffersBecause: 'it knows no critical extension of entries but certificateIssuer' },
  ),
  listCase(
    'a list with an unknown critical extension',
    'unknown',
    { extensions: [extension(unknownOid, true, boolean(true))] },
    { because: /unknown critical extension 1\.3\.6\.1\.4\.1\.99999\.1/ },
  ),
  listCase('a list with an unknown extension that is not critical', 'good', {
    extensions: [extension(unknownOid, false, boolean(true))],
  }),
]

const times: CrlCase[] = [
  listCase(
    'a list past its nextUpdate',
    'unknown',
    { thisUpdate: ago(3 * dayMs), nextUpdate: ago(dayMs) },
    {
      because: /it ended on/,
    },
  ),
  listCase('a list past its nextUpdate that names the certificate', 'revoked', {
    thisUpdate: ago(3 * dayMs),
    nextUpdate: ago(dayMs),
    entry: {},
  }),
  listCase(
    'a list from tomorrow',
    'unknown',
    { thisUpdate: ahead(dayMs), nextUpdate: ahead(2 * dayMs) },
    {
      because: /yet to come/,
    },
  ),
  listCase(
    'a list whose clock is two minutes ahead',
    'good',
    { thisUpdate: ahead(120_000) },
    { opensslDiffersBecause: 'it allows no skew of clocks' },
  ),
  listCase(
    'a list without nextUpdate',
    'unknown',
    { nextUpdate: null },
    { because: /no nextUpdate/, opensslDiffersBecause: 'it takes such a list for current for ever' },
  ),
]

const scopes: CrlCase[] = [
  listCase('a list for the distribution point of the certificate', 'good', {
    issuingPoint: { names: [{ uri: crlUrl }] },
  }),
  listCase('a list for several points, ours among them', 'good', {
    issuingPoint: { names: [{ uri: otherUrl }, { uri: crlUrl }] },
  }),
  listCase(
    'a list for another distribution point',
    'unknown',
    { issuingPoint: { names: [{ uri: otherUrl }] } },
    {
      because: /another distribution point/,
    },
  ),
  listCase(
    'a list for another distribution point that names it',
    'unknown',
    { issuingPoint: { names: [{ uri: otherUrl }] }, entry: {} },
    { because: /another distribution point/ },
  ),
  listCase('a list for a point named by a directory name written in other letters', 'good', {
    certificate: { points: [{ names: [{ uri: crlUrl }, { directory: { CN: 'List One' } }] }] },
    issuingPoint: { names: [{ directory: { CN: 'list  one' } }] },
  }),
  listCase('a list for users, and ours is one', 'good', { issuingPoint: { onlyUsers: true } }),
  listCase(
    'a list for authorities only',
    'unknown',
    { issuingPoint: { onlyAuthorities: true } },
    {
      because: /for authorities only/,
    },
  ),
  listCase(
    'a list for attribute certificates only',
    'unknown',
    { issuingPoint: { onlyAttributes: true } },
    {
      because: /attribute certificates/,
    },
  ),
  listCase(
    'an indirect list of the issuer itself',
    'good',
    { issuingPoint: { indirect: true } },
    { opensslDiffersBecause: 'it wants -extended_crl for indirect lists' },
  ),
  listCase(
    'an indirect list that names our serial number under another issuer',
    'good',
    {
      issuingPoint: { indirect: true },
      entry: { certificateIssuer: directoryName({ CN: 'Somebody Else' }) },
    },
    { opensslDiffersBecause: 'it wants -extended_crl for indirect lists' },
  ),
  listCase(
    'a certificate that names another authority for its list',
    'unknown',
    {
      certificate: {
        points: [{ names: [{ uri: crlUrl }], crlIssuer: directoryName({ CN: 'List Office' }) }],
      },
    },
    { because: /cRLIssuer/, opensslDiffersBecause: 'without -extended_crl it looks past cRLIssuer' },
  ),
]

const reasons: CrlCase[] = [
  listCase(
    'a list for one reason only',
    'unknown',
    { issuingPoint: { onlyReasons: ['keyCompromise'] } },
    { because: /some reasons/ },
  ),
  listCase('a list for one reason only that names the certificate', 'revoked', {
    issuingPoint: { onlyReasons: ['keyCompromise'] },
    entry: { reason: 'keyCompromise' },
  }),
  listCase(
    'a distribution point for one reason only',
    'unknown',
    { certificate: { points: [{ names: [{ uri: crlUrl }], reasons: ['keyCompromise'] }] } },
    { because: /some reasons/ },
  ),
]

const freshest = (uri: string) => [{ oid: '2.5.29.46', value: distributionPoints({ names: [{ uri }] }) }]
const withDelta = { extensions: freshest(otherUrl) }

const deltas: CrlCase[] = [
  listCase('a delta that brings nothing about it', 'good', {
    certificate: withDelta,
    delta: () => ({ number: 9n, deltaBase: 5n }),
  }),
  listCase('a delta that revokes', 'revoked', {
    certificate: withDelta,
    delta: (serial) => ({ number: 9n, deltaBase: 5n, revoked: [{ serial, reason: 'superseded' }] }),
  }),
  listCase('a delta that ends a hold', 'good', {
    certificate: withDelta,
    entry: { reason: 'certificateHold' },
    delta: (serial) => ({ number: 9n, deltaBase: 5n, revoked: [{ serial, reason: 'removeFromCRL' }] }),
  }),
  listCase(
    'a delta that takes back what was no hold',
    'revoked',
    {
      certificate: withDelta,
      entry: { reason: 'keyCompromise' },
      delta: (serial) => ({ number: 9n, deltaBase: 5n, revoked: [{ serial, reason: 'removeFromCRL' }] }),
    },
    { opensslDiffersBecause: 'it takes back everything' },
  ),
  listCase('a delta that ends a hold, on a base we do not have', 'revoked', {
    certificate: withDelta,
    entry: { reason: 'certificateHold' },
    delta: (serial) => ({ number: 9n, deltaBase: 8n, revoked: [{ serial, reason: 'removeFromCRL' }] }),
  }),
  listCase('a delta of another scope that ends a hold', 'revoked', {
    certificate: withDelta,
    entry: { reason: 'certificateHold' },
    delta: (serial) => ({
      number: 9n,
      deltaBase: 5n,
      issuingPoint: { onlyUsers: true },
      revoked: [{ serial, reason: 'removeFromCRL' }],
    }),
  }),
  listCase('a delta older than the list, in which the certificate was on hold', 'good', {
    certificate: withDelta,
    delta: (serial) => ({ number: 6n, deltaBase: 5n, revoked: [{ serial, reason: 'certificateHold' }] }),
  }),
  listCase('a delta by an impostor that ends a hold', 'revoked', {
    certificate: withDelta,
    entry: { reason: 'certificateHold' },
    delta: (serial) => ({
      number: 9n,
      deltaBase: 5n,
      signWith: drawKey('ec256'),
      revoked: [{ serial, reason: 'removeFromCRL' }],
    }),
  }),
  listCase('a list past its time under a delta in its time', 'good', {
    certificate: withDelta,
    thisUpdate: ago(3 * dayMs),
    nextUpdate: ago(hourMs),
    delta: () => ({ number: 9n, deltaBase: 5n }),
  }),
  listCase(
    'a list past its time under a delta past its time',
    'unknown',
    {
      certificate: withDelta,
      thisUpdate: ago(3 * dayMs),
      nextUpdate: ago(2 * hourMs),
      delta: () => ({ number: 9n, deltaBase: 5n, thisUpdate: ago(dayMs), nextUpdate: ago(hourMs) }),
    },
    { because: /it ended on/ },
  ),
  listCase('a delta where the complete list should be', 'unknown', { deltaBase: 5n }, { because: /a delta/ }),
]

/** Every situation, in groups. Built once for each file that imports it. */
export const everyCrl: readonly { readonly about: string; readonly cases: readonly CrlCase[] }[] = [
  { about: 'who signed', cases: signatures },
  { about: 'what is listed', cases: entries },
  { about: 'when', cases: times },
  { about: 'for which certificates', cases: scopes },
  { about: 'for which reasons', cases: reasons },
  { about: 'what changed since', cases: deltas },
]
