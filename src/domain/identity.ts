import {
  canonicalAuthority,
  isFamilyOf,
  isKnownAuthority,
  isStrong,
  sameBirthDate,
  type Identifier,
  type Patient,
} from './patient.ts'

/** A person as somebody names her: an event, a FHIR Patient, the recordTarget of a document. */
export interface NamedPerson {
  readonly identifiers: readonly Identifier[]
  /** Every family name given: of one name or of several (maiden name, alias). */
  readonly families: readonly string[]
  /** With whatever precision and spelling the source has: `1956-08-14`, `195608`, `1956`. */
  readonly birthDate?: string
}

/** Why two descriptions are not provably one person. Only the first means “somebody else, as far as we know”. */
export type DoubtCode =
  | 'no-common-identifier'
  | 'identifier-contradicts'
  | 'birth-date-differs'
  | 'family-differs'
  | 'birth-date-missing'
  | 'family-missing'

export type IdentityVerdict =
  | { readonly same: true; readonly because: string }
  | { readonly same: false; readonly code: DoubtCode; readonly because: string }

/**
 * Is this the patient of the authorization? One strong identifier must be exactly equal in the same known authority;
 * birth date and family name can only veto. Name and birth date alone never say yes: 56 certified systems hold an
 * “Alice Newman, 1970-05-01”, all of them different people.
 *
 * Asked three times with the same answer: for the event, for the FHIR Patient, for the document. `because` names no value.
 *
 * @param aliases authority spellings from the settings → canonical authority
 */
export function compareIdentity(
  patient: Patient,
  person: NamedPerson,
  aliases: ReadonlyMap<string, string>,
): IdentityVerdict {
  const ours = strongIdentifiers(patient.identifiers, aliases)
  const theirs = strongIdentifiers(person.identifiers, aliases)
  const common = ours.find((one) => theirs.some((other) => isSameIdentifier(one, other)))
  if (common === undefined) return doubt('no-common-identifier', 'no strong identifier is the same')

  const contradicting = contradictingAuthority(ours, theirs)
  if (contradicting !== undefined)
    return doubt(
      'identifier-contradicts',
      `another identifier of the same authority ${contradicting} differs: one of the two records mixes two patients`,
    )

  const birthDate =
    person.birthDate === undefined ? undefined : sameBirthDate(person.birthDate, patient.birthDate)
  if (birthDate === false)
    return doubt('birth-date-differs', 'an identifier is the same, but the birth date differs')

  const families = person.families.map((family) => isFamilyOf(family, patient))
  if (families.includes(false) && !families.includes(true))
    return doubt('family-differs', 'an identifier is the same, but the family name differs')

  if (birthDate === undefined)
    return doubt('birth-date-missing', 'an identifier is the same, but there is no birth date to check it by')
  if (!families.includes(true))
    return doubt('family-missing', 'an identifier is the same, but there is no family name to check it by')

  return {
    same: true,
    because: `an identifier of ${common.system} is the same; birth date and family name agree`,
  }
}

const noAliases = new Map<string, string>()

/**
 * The identifiers that may make a match, each with its authority in canonical spelling and without outer blanks:
 * strong kinds, real values, authorities that are known worldwide or named in the settings.
 */
export function strongIdentifiers(
  identifiers: readonly Identifier[],
  aliases: ReadonlyMap<string, string>,
): Identifier[] {
  const strong: Identifier[] = []
  for (const identifier of identifiers) {
    const canonical = {
      ...identifier,
      system: canonicalAuthority(identifier.system, aliases),
      value: identifier.value.trim(),
    }
    if (!isKnownAuthority(canonical.system, aliases)) continue
    // Asked of both spellings: an alias must not launder a social security number into something strong.
    const asWritten = { ...identifier, system: canonicalAuthority(identifier.system, noAliases) }
    if (!isStrong(asWritten) || !isStrong(canonical)) continue
    if (!strong.some((other) => isSameIdentifier(other, canonical))) strong.push(canonical)
  }
  return strong
}

/** An authority in which both have identifiers, and none is equal. Both lists as {@link strongIdentifiers} yields them. */
export function contradictingAuthority(
  ours: readonly Identifier[],
  theirs: readonly Identifier[],
): string | undefined {
  for (const { system } of ours) {
    const others = theirs.filter((other) => other.system === system)
    if (others.length === 0) continue
    if (!others.some((other) => ours.some((one) => isSameIdentifier(one, other)))) return system
  }
  return undefined
}

function isSameIdentifier(a: Identifier, b: Identifier): boolean {
  return a.system === b.system && a.value === b.value
}

function doubt(code: DoubtCode, because: string): IdentityVerdict {
  return { same: false, code, because }
}
