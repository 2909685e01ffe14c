import { SaxesParser, type SaxesTagNS } from 'saxes'
import { Unreadable } from './unreadable.ts'

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
  /** Codes of confidentialityCode elements below the header, once each. */
  readonly innerConfidentiality: readonly string[]
  readonly hasStylesheet: boolean
}

/** Deepest of 401 certified documents: 34. Namespace look-ups cost depth × elements at worst. */
const elementDepthMax = 128
/** A document of 25 MB with the density of certified ones has 400,000. */
const elementsMax = 1_000_000
/** Most of 401 certified documents: 12, namespaces included. */
const attributesMax = 100
const attributeCharactersMax = 1024 * 1024
/** Of one element of the header: identifiers, templates, names. Certified documents: at most 30. */
const repetitionsMax = 500
/** One part of a name. */
const namePartCharactersMax = 1000
/** What may stand before the root element and still be looked through for a stylesheet. */
const prologCharactersMax = 256 * 1024
const cda = 'urn:hl7-org:v3'
const fhir = 'http://hl7.org/fhir'

type Mutable<Shape> = {
  -readonly [Key in keyof Shape]: Shape[Key] extends readonly (infer Item)[] ? Item[] : Shape[Key]
}

/** Collects the header while saxes reads. Elements are interpreted down to the first `component` only. */
export class HeaderReader {
  readonly #parser = new SaxesParser({ xmlns: true, position: false })
  readonly #header: Mutable<Omit<CdaHeader, 'patient'>> & { patient: Mutable<CdaHeader['patient']> } = {
    templateIds: [],
    hasTitle: false,
    recordTargets: 0,
    patients: 0,
    patient: { ids: [], names: [] },
    hasOutsideBody: false,
    innerConfidentiality: [],
    hasStylesheet: false,
  }
  /** Local names of the open elements below the root; `?` for other namespaces than CDA’s. Empty outside the header. */
  #path: string[] = []
  #depth = 0
  #elements = 0
  #attributes = 0
  #hasRoot = false
  #isCda = false
  #inBody = false
  /** What is heard of the name part that is open, or undefined outside names. */
  #text: string | undefined
  #nameParts: PersonName['parts'][number][] = []
  readonly #translations: string[] = []
  #patientRoles = 0
  #patientElements = 0
  #prolog = ''

  constructor() {
    const parser = this.#parser
    // No more than six kinds of handlers: saxes sets them by computed name, and V8 gives up on the fast layout of the
    // parser at the seventh, which makes everything four times slower. Errors and stylesheets are found without one.
    parser.on('opentag', (tag) => this.#open(tag))
    parser.on('closetag', (tag) => this.#close(tag))
    parser.on('attribute', ({ value }) => {
      if (++this.#attributes > attributesMax)
        throw new Unreadable(3, `an element has more than ${attributesMax} attributes`)
      if (value.length > attributeCharactersMax)
        throw new Unreadable(3, `an attribute is longer than ${attributeCharactersMax} characters`)
    })
    parser.on('doctype', () => {
      throw doctypeRefusal()
    })
  }

  write(text: string): void {
    if (!this.#hasRoot && this.#prolog.length < prologCharactersMax) this.#prolog += text
    try {
      this.#parser.write(text)
    } catch (error) {
      throw this.#unreadable(error)
    }
  }

  end(): CdaHeader {
    try {
      this.#parser.close()
    } catch (error) {
      throw this.#unreadable(error)
    }
    if (!this.#isCda) throw new Unreadable(5, `its root element is not ClinicalDocument in ${cda}`)
    return this.#header
  }

  /** Without a handler of ours saxes throws at the first mistake; what it says quotes the document. */
  #unreadable(error: unknown): unknown {
    if (error instanceof Unreadable || !(error instanceof Error) || error.constructor !== Error) return error
    // A DOCTYPE that never ends reaches us as a syntax error only.
    if (!this.#hasRoot && /<!DOCTYPE/i.test(this.#prolog)) return doctypeRefusal()
    const { line, column } = this.#parser
    return new Unreadable(
      4,
      `it is not well-formed XML: ${syntaxReason(error.message)}, line ${line}, column ${column}`,
    )
  }

  #open(tag: SaxesTagNS): void {
    this.#depth++
    if (this.#depth > elementDepthMax)
      throw new Unreadable(3, `its elements are nested more than ${elementDepthMax} deep`)
    if (++this.#elements > elementsMax) throw new Unreadable(3, `it has more than ${elementsMax} elements`)
    this.#attributes = 0

    if (this.#depth === 1) return this.#openRoot(tag)
    if (!this.#isCda) return
    if (this.#depth === 2) {
      if (tag.uri === cda && tag.local === 'recordTarget') this.#openRecordTarget()
      if (tag.uri === cda && tag.local === 'component') this.#inBody = true
    }
    if (this.#inBody) return this.#openInBody(tag)
    this.#path.push(tag.uri === cda ? tag.local : '?')
    this.#openInHeader(tag)
  }

  #openRoot(tag: SaxesTagNS): void {
    this.#hasRoot = true
    this.#header.hasStylesheet = /<\?xml-stylesheet\s/.test(this.#prolog)
    this.#prolog = ''
    if (/^html$/i.test(tag.local)) throw new Unreadable(3, 'it is an HTML page, not a document')
    if (tag.uri === fhir)
      throw new Unreadable(
        3,
        tag.local === 'OperationOutcome'
          ? 'it is a FHIR OperationOutcome, the server’s error message, not a document'
          : 'it is a FHIR resource, not a C-CDA',
      )
    this.#isCda = tag.uri === cda && tag.local === 'ClinicalDocument'
  }

  #openRecordTarget(): void {
    this.#header.recordTargets++
    // Text is listened to in here only: everywhere else saxes need not put it together.
    if (this.#header.recordTargets !== 1) return
    this.#parser.on('text', (text) => this.#heard(text))
    this.#parser.on('cdata', (text) => this.#heard(text))
  }

  #openInBody({ local, uri, attributes }: SaxesTagNS): void {
    if (uri !== cda) return
    const header = this.#header
    if (local === 'confidentialityCode') {
      const code = attributes['code']?.value
      if (code !== undefined && !header.innerConfidentiality.includes(code))
        add(header.innerConfidentiality, code)
    } else if (this.#depth === 3 && local === 'structuredBody') header.body ??= 'structured'
    else if (this.#depth === 3 && local === 'nonXMLBody') header.body ??= 'nonXML'
    else if (this.#depth === 5 && local === 'reference' && header.body === 'nonXML')
      header.hasOutsideBody = true
  }

  #openInHeader(tag: SaxesTagNS): void {
    const header = this.#header
    const value = (name: string) => tag.attributes[name]?.value
    switch (this.#path.join('/')) {
      case 'realmCode':
        return set(header, 'realmCode', value('code'))
      case 'typeId':
        return set(header, 'typeId', instanceIdentifier(tag))
      case 'templateId':
        return add(header.templateIds, instanceIdentifier(tag))
      case 'id':
        return set(header, 'id', instanceIdentifier(tag))
      case 'code':
        header.code ??= {
          ...definedCode(value('code'), value('codeSystem')),
          translations: this.#translations,
        }
        return
      case 'code/translation': {
        const code = value('code')
        if (code !== undefined) add(this.#translations, code)
        return
      }
      case 'title':
        return void (header.hasTitle = true)
      case 'effectiveTime':
        return set(header, 'effectiveTime', value('value'))
      case 'confidentialityCode':
        return set(header, 'confidentiality', value('code') ?? value('nullFlavor'))
      case 'languageCode':
        return set(header, 'languageCode', value('code'))
      case 'setId':
        return set(header, 'setId', instanceIdentifier(tag))
      case 'versionNumber':
        return set(header, 'versionNumber', value('value'))
    }
    if (header.recordTargets !== 1) return
    const { patient } = header
    switch (this.#path.join('/')) {
      case 'recordTarget/patientRole':
        header.patients = Math.max(header.patients, ++this.#patientRoles)
        return
      case 'recordTarget/patientRole/patient':
        header.patients = Math.max(header.patients, ++this.#patientElements)
        return
      case 'recordTarget/patientRole/id':
        return add(patient.ids, instanceIdentifier(tag))
      case 'recordTarget/patientRole/patient/name':
        this.#nameParts = []
        this.#text = ''
        return add(patient.names, { parts: this.#nameParts })
      case 'recordTarget/patientRole/patient/name/prefix':
      case 'recordTarget/patientRole/patient/name/given':
      case 'recordTarget/patientRole/patient/name/family':
      case 'recordTarget/patientRole/patient/name/suffix':
        this.#text = ''
        return
      case 'recordTarget/patientRole/patient/birthTime':
        return set(patient, 'birthTime', value('value'))
      case 'recordTarget/patientRole/patient/administrativeGenderCode':
        return set(patient, 'gender', value('code'))
    }
  }

  #close(tag: SaxesTagNS): void {
    this.#depth--
    if (this.#depth === 0 || !this.#isCda) return
    if (this.#inBody) {
      if (this.#depth === 1) this.#inBody = false
      return
    }
    if (this.#depth === 1 && tag.local === 'recordTarget') {
      this.#parser.off('text')
      this.#parser.off('cdata')
    }
    const path = this.#path.join('/')
    this.#path.pop()
    if (this.#text === undefined || !path.startsWith('recordTarget/patientRole/patient/name')) return
    const text = this.#text.trim().replace(/\s+/g, ' ')
    this.#text = path.endsWith('/name') ? undefined : ''
    if (text === '') return
    const kind = tag.local === 'name' ? 'text' : (tag.local as PersonName['parts'][number]['kind'])
    if (!['prefix', 'given', 'family', 'suffix', 'text'].includes(kind)) return
    add(this.#nameParts, { kind, text })
  }

  #heard(text: string): void {
    if (this.#text !== undefined && this.#text.length < namePartCharactersMax) this.#text += text
  }
}

function add<Item>(list: Item[], item: Item): void {
  if (list.length >= repetitionsMax)
    throw new Unreadable(3, `an element of its header repeats more than ${repetitionsMax} times`)
  list.push(item)
}

function set<Shape, Key extends keyof Shape>(shape: Shape, key: Key, value: Shape[Key] | undefined): void {
  // The first one counts; a second is not valid CDA, and the gate counts what must be there once.
  if (value !== undefined && shape[key] === undefined) shape[key] = value
}

function instanceIdentifier({ attributes }: SaxesTagNS): InstanceIdentifier {
  const root = attributes['root']?.value
  const extension = attributes['extension']?.value
  return { ...(root === undefined ? {} : { root }), ...(extension === undefined ? {} : { extension }) }
}

function definedCode(code: string | undefined, codeSystem: string | undefined) {
  return { ...(code === undefined ? {} : { code }), ...(codeSystem === undefined ? {} : { codeSystem }) }
}

function doctypeRefusal(): Unreadable {
  return new Unreadable(3, 'it has a DOCTYPE, which could pull in other files or grow without bound')
}

/** saxes’ messages quote names of the document; only what kind of mistake it is may be shown. */
function syntaxReason(message: string): string {
  if (/unbound namespace prefix/.test(message)) return 'a namespace prefix is not declared'
  if (/unmatched closing tag|unexpected close tag|unclosed tag/.test(message))
    return 'an element is not closed properly'
  if (/undefined entity/.test(message)) return 'an entity is not defined'
  if (/disallowed character/.test(message)) return 'a character is not allowed there'
  if (/duplicate attribute/.test(message)) return 'an attribute occurs twice'
  if (/must contain a root element|text data outside of root/.test(message))
    return 'there is text outside the root element'
  return 'syntax error'
}
