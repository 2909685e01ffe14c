/** An identifier as an assigning authority issued it. `value` is opaque: case and leading zeros are kept. */
export interface Identifier {
  /** Canonical authority: `urn:oid:…` or another URI; a bare namespace only where the settings name it. */
  readonly system: string
  readonly value: string
  /** HL7 table 0203 (MR, PI, SS …) where the source says it. */
  readonly type?: string
}

export interface Patient {
  readonly identifiers: readonly Identifier[]
  readonly family: string
  readonly given?: string
  /** Earlier family names (maiden name …): each satisfies the name check, too. */
  readonly previousFamilies?: readonly string[]
  /** YYYY-MM-DD, or shorter where no more is known. */
  readonly birthDate: string
}

/** “Ellen Ross”, as the context sentence and request.txt say it. */
export function fullName(patient: Pick<Patient, 'given' | 'family'>): string {
  return [patient.given, patient.family].filter((part) => part !== undefined && part !== '').join(' ')
}

/**
 * Types of identifiers that are shared, temporary, or name a visit or an account (HL7 table 0203). They never make a
 * match on their own.
 */
const weakTypes = new Set([
  'SS',
  'AN',
  'VN',
  'ANON',
  'MRT',
  'DL',
  'PPN',
  'BA',
  'GN',
  'HC',
  'RRI',
  'U',
  'ANC',
  'PT',
  'WP',
])

/**
 * US social security numbers, in the spellings seen in HL7v2, FHIR and C-CDA; and the numbers of providers (NPI), which ONC’s
 * own samples give as `1` for every patient.
 */
const weakSystems = new Set([
  'urn:oid:2.16.840.1.113883.4.1',
  'http://hl7.org/fhir/sid/us-ssn',
  'SSA',
  'SSN',
  'urn:oid:2.16.840.1.113883.4.6',
  'http://hl7.org/fhir/sid/us-npi',
  'NPI',
])

/** Values that stand for “we have none”; 28 of 401 certified C-CDAs carry one. */
const emptyValues = new Set(['', '""', 'UNK', 'UNKNOWN', 'NONE', 'NULL', 'N/A', 'NI'])

/** True where an equal identifier may make a match: not a shared or temporary kind, and not a filler value. */
export function isStrong(identifier: Identifier): boolean {
  if (identifier.system === '') return false
  if (identifier.type !== undefined && weakTypes.has(identifier.type.toUpperCase())) return false
  if (weakSystems.has(identifier.system)) return false
  const value = identifier.value.trim().toUpperCase()
  return !emptyValues.has(value) && !/^0+$/.test(value)
}

/** One text for one identifier, for maps and sets. The separator cannot occur in a URI. */
export function identifierKey(identifier: Identifier): string {
  return `${identifier.system} ${identifier.value.trim()}`
}

/**
 * The authority an identifier belongs to, spelled one way: a plain OID becomes `urn:oid:…`, a plain UUID (CDA roots may
 * be either) `urn:uuid:…`, an alias from the settings becomes the authority it stands for. Nothing else is guessed.
 */
export function canonicalAuthority(system: string, aliases: ReadonlyMap<string, string>): string {
  const trimmed = system.trim()
  const spelled = spelledOneWay(trimmed)
  return aliases.get(spelled) ?? aliases.get(spelled.toLowerCase()) ?? spelled
}

function spelledOneWay(system: string): string {
  // RFC 8141 §3.1: scheme and namespace of a URN do not depend on case; neither do UUIDs (RFC 9562 §4).
  const urn = /^urn:(oid|uuid):(.+)$/i.exec(system)
  const [kind, id] = urn === null ? [undefined, system] : [urn[1]!.toLowerCase(), urn[2]!]
  if (kind !== 'uuid' && /^[0-2](\.(0|[1-9][0-9]*))+$/.test(id)) return `urn:oid:${id}`
  if (kind !== 'oid' && /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(id))
    return `urn:uuid:${id.toLowerCase()}`
  return system
}

/** True where the authority says who issued the identifier worldwide; a bare namespace such as `HOSP` does not. */
export function isKnownAuthority(system: string, aliases: ReadonlyMap<string, string>): boolean {
  return /^[A-Za-z][A-Za-z0-9+.-]*:/.test(system) || [...aliases.values()].includes(system)
}

/** FHIR date or dateTime, HL7 TS: a year, then as much as is known. The time of a birth is not compared. */
const birthDateSyntax =
  /^(\d{4})(?:-?(\d{2})(?:-?(\d{2})(?:[T ]?\d{2}[\d:.]*(?:Z|[+-]\d{2}(?::?\d{2})?)?)?)?)?$/

/**
 * Whether two birth dates agree as far as both are known. Undefined where they cannot be compared.
 *
 * @example sameBirthDate('1956-08', '1956-08-14') // true
 */
export function sameBirthDate(a: string, b: string): boolean | undefined {
  const left = birthDateSyntax.exec(a.trim())
  const right = birthDateSyntax.exec(b.trim())
  if (left === null || right === null) return undefined
  for (const part of [1, 2, 3] as const) {
    const one = left[part]
    const other = right[part]
    if (one === undefined || other === undefined) return true
    if (one !== other) return false
  }
  return true
}

/**
 * A family name folded for comparison: case, diacritics, hyphens, apostrophes, blanks and a generation suffix do not
 * count (`O’Neil-Łuk JR` → `oneilluk`). Only ever used as a veto, never to find somebody.
 */
export function foldName(name: string): string {
  return name
    .normalize('NFKD')
    .toLowerCase()
    .replaceAll('ł', 'l')
    .replaceAll('ø', 'o')
    .replaceAll('ß', 'ss')
    .replaceAll('æ', 'ae')
    .replaceAll('œ', 'oe')
    .replaceAll('đ', 'd')
    .replaceAll('ı', 'i')
    .replace(/\p{M}/gu, '')
    .replace(/[,\s]+(jr|sr|ii|iii|iv)\.?$/u, '')
    .replace(/[^\p{L}\p{N}]/gu, '')
}

/** Whether a family name is one of the patient’s. Undefined where there is nothing to compare. */
export function isFamilyOf(
  family: string,
  patient: Pick<Patient, 'family' | 'previousFamilies'>,
): boolean | undefined {
  const folded = foldName(family)
  if (folded === '') return undefined
  return [patient.family, ...(patient.previousFamilies ?? [])].some((name) => foldName(name) === folded)
}
