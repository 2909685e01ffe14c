/** `II` of the HL7 v3 data types: an OID or UUID, and an extension unique within it. */
export interface InstanceIdentifier {
  readonly root?: string
  readonly extension?: string
}

export interface PersonName {
  /** In the order of the document: some vendors put the family name first. */
  readonly parts: readonly {
    readonly kind: 'prefix' | 'given' | 'family' | 'suffix' | 'text'
    readonly text: string
  }[]
}

/** What the header of a CDA R2 document says, as written there; and the few facts about its body that matter. PHI. */
export interface CdaHeader {
  readonly realmCode?: string
  readonly typeId?: InstanceIdentifier
  readonly templateIds: readonly InstanceIdentifier[]
  readonly id?: InstanceIdentifier
  readonly code?: {
    readonly code?: string
    readonly codeSystem?: string
    readonly translations: readonly string[]
  }
  readonly hasTitle: boolean
  /** HL7 TS as written. */
  readonly effectiveTime?: string
  /** The code, or the nullFlavor where there is no code. */
  readonly confidentiality?: string
  readonly languageCode?: string
  readonly setId?: InstanceIdentifier
  readonly versionNumber?: string
  readonly recordTargets: number
  /** `patientRole` or `patient` elements in the first recordTarget, whichever are more; CDA R2 has one of each. */
  readonly patients: number
  /** Of the first recordTarget. */
  readonly patient: {
    readonly ids: readonly InstanceIdentifier[]
    readonly names: readonly PersonName[]
    /** HL7 TS as written. */
    readonly birthTime?: string
    readonly gender?: string
  }
  readonly body?: 'structured' | 'nonXML'
  /** A nonXMLBody that only points to a file elsewhere. */
  readonly hasOutsideBody: boolean
  /** Of the file in a nonXMLBody, as written. */
  readonly bodyMediaType?: string
  /** Codes of HL7 v3 Confidentiality on sections, entries and further header elements, once each. */
  readonly innerConfidentiality: readonly string[]
  /** Named by a processing instruction: on another server, or beside the document. */
  readonly stylesheet?: 'outside' | 'beside'
  /** A link that runs something. */
  readonly hasActiveLink: boolean
  /** A link or picture on another server. */
  readonly hasOutsideLink: boolean
}
