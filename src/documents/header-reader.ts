import { SaxesParser, type SaxesTagNS } from 'saxes'
import type { CdaHeader, InstanceIdentifier, PersonName } from './cda-header.ts'
import { linkKind } from './outside-content.ts'
import { Unreadable } from './unreadable.ts'

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
const confidentialitySystem = '2.16.840.1.113883.5.25'
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
    hasActiveLink: false,
    hasOutsideLink: false,
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
    const stylesheet = stylesheetOf(this.#prolog)
    if (stylesheet !== undefined) this.#header.stylesheet = stylesheet
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
    if (uri !== cda) {
      if (local === 'confidentialityCode') this.#label(attributes['code']?.value)
      return
    }
    const header = this.#header
    switch (local) {
      case 'confidentialityCode':
        return this.#label(attributes['code']?.value)
      // HL7 DS4P: an entry says so by an observation whose value is of this code system.
      case 'value':
      case 'code':
      case 'translation':
        if (attributes['codeSystem']?.value === confidentialitySystem) this.#label(attributes['code']?.value)
        return
      case 'linkHtml':
        return this.#link(attributes['href']?.value)
      case 'reference':
        if (this.#depth === 5 && header.body === 'nonXML') header.hasOutsideBody = true
        else this.#link(attributes['value']?.value)
        return
      case 'text':
        if (this.#depth === 4 && header.body === 'nonXML')
          set(header, 'bodyMediaType', attributes['mediaType']?.value)
        return
      case 'structuredBody':
        if (this.#depth === 3) header.body ??= 'structured'
        return
      case 'nonXMLBody':
        if (this.#depth === 3) header.body ??= 'nonXML'
    }
  }

  #label(code: string | undefined): void {
    const { innerConfidentiality } = this.#header
    if (code !== undefined && !innerConfidentiality.includes(code)) add(innerConfidentiality, code)
  }

  #link(target: string | undefined): void {
    const kind = target === undefined ? 'inside' : linkKind(target)
    if (kind === 'active') this.#header.hasActiveLink = true
    if (kind === 'outside') this.#header.hasOutsideLink = true
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
        // A second one is not valid CDA; the stricter counts all the same.
        if (header.confidentiality !== undefined) return this.#label(value('code'))
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

/** Comments may hold anything; only the instruction itself is looked at. */
function stylesheetOf(prolog: string): CdaHeader['stylesheet'] {
  const found = prolog.replace(/<!--[^]*?-->/g, '').matchAll(/<\?xml-stylesheet\s([^]*?)\?>/g)
  const kinds = Array.from(found, ([, attributes]) => {
    const href = /\bhref\s*=\s*(?:"([^"]*)"|'([^']*)')/.exec(attributes!)
    return linkKind(href?.[1] ?? href?.[2] ?? '')
  })
  if (kinds.length === 0) return undefined
  return kinds.every((kind) => kind === 'inside') ? 'beside' : 'outside'
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
