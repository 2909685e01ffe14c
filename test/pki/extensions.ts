import { boolean, context, contextPrimitive, integer, namedBits, octetString, oid, sequence } from './der.ts'
import { generalName, type GeneralNameWish } from './names.ts'
import { keyUsageNames, type CertificateWishes } from './wishes.ts'

/** DER of each extension wished for, in the order of RFC 5280 §4.2.1 as far as tests need them. */
export function extensionsOf(wishes: CertificateWishes, keyId: Buffer, issuerKeyId: Buffer): Buffer[] {
  const written: Buffer[] = []
  const add = (id: string, critical: boolean, value: Buffer) =>
    written.push(sequence(oid(id), ...(critical ? [boolean(true)] : []), octetString(value)))

  const basic = wishes.basicConstraints
  if (basic !== undefined && basic !== null)
    add(
      '2.5.29.19',
      true,
      sequence(
        ...(basic.ca ? [boolean(true)] : []),
        ...(basic.pathLen === undefined ? [] : [integer(basic.pathLen)]),
      ),
    )
  if (wishes.keyUsage)
    add(
      '2.5.29.15',
      wishes.keyUsageCritical ?? true,
      namedBits(wishes.keyUsage.map((use) => keyUsageNames.indexOf(use))),
    )
  if (wishes.extendedKeyUsage)
    add('2.5.29.37', wishes.extendedKeyUsageCritical ?? false, sequence(...wishes.extendedKeyUsage.map(oid)))
  const altNames: GeneralNameWish[] = [
    ...(wishes.emails ?? []).map((email) => ({ email })),
    ...(wishes.domains ?? []).map((domain) => ({ domain })),
    ...(wishes.otherNames ?? []),
  ]
  if (altNames.length > 0)
    add('2.5.29.17', wishes.altNamesCritical ?? false, sequence(...altNames.map(generalName)))
  if (wishes.nameConstraints !== undefined) {
    const { permitted, excluded, critical } = wishes.nameConstraints
    const subtrees = (names: readonly GeneralNameWish[]) => names.map((name) => sequence(generalName(name)))
    add(
      '2.5.29.30',
      critical ?? true,
      sequence(
        ...(permitted === undefined ? [] : [context(0, ...subtrees(permitted))]),
        ...(excluded === undefined ? [] : [context(1, ...subtrees(excluded))]),
      ),
    )
  }
  if (wishes.policies !== undefined)
    add('2.5.29.32', false, sequence(...wishes.policies.map((policy) => sequence(oid(policy)))))
  if (wishes.crlUrls !== undefined)
    add(
      '2.5.29.31',
      false,
      sequence(...wishes.crlUrls.map((uri) => sequence(context(0, context(0, generalName({ uri })))))),
    )
  const access = [
    ...(wishes.ocspUrls ?? []).map((uri) => sequence(oid('1.3.6.1.5.5.7.48.1'), generalName({ uri }))),
    ...(wishes.caIssuersUrls ?? []).map((uri) => sequence(oid('1.3.6.1.5.5.7.48.2'), generalName({ uri }))),
  ]
  if (access.length > 0) add('1.3.6.1.5.5.7.1.1', false, sequence(...access))
  if (wishes.subjectKeyId !== null) add('2.5.29.14', false, octetString(keyId))
  if (wishes.authorityKeyId !== null)
    add('2.5.29.35', false, sequence(contextPrimitive(0, wishes.authorityKeyId ?? issuerKeyId)))
  for (const extension of wishes.extensions ?? [])
    add(extension.oid, extension.critical ?? false, extension.value)
  return written
}
