interface DocumentType {
  /** LOINC codes a document of this type has; the first is the usual one. */
  readonly codes: readonly string[]
}

/** Document templates of C-CDA R1.1 to R5 (2.16.840.1.113883.10.20.22.1.N), and C32 of Meaningful Use stage 1. */
const templates = new Map<string, DocumentType>([
  ['2.16.840.1.113883.10.20.22.1.2', { codes: ['34133-9'] }],
  ['2.16.840.1.113883.3.88.11.32.1', { codes: ['34133-9'] }],
  ['2.16.840.1.113883.10.20.22.1.3', { codes: ['34117-2'] }],
  ['2.16.840.1.113883.10.20.22.1.4', { codes: ['11488-4'] }],
  ['2.16.840.1.113883.10.20.22.1.6', { codes: ['28570-0'] }],
  ['2.16.840.1.113883.10.20.22.1.7', { codes: ['11504-8'] }],
  ['2.16.840.1.113883.10.20.22.1.8', { codes: ['18842-5'] }],
  ['2.16.840.1.113883.10.20.22.1.9', { codes: ['11506-3'] }],
  ['2.16.840.1.113883.10.20.22.1.13', { codes: ['18761-7'] }],
  ['2.16.840.1.113883.10.20.22.1.14', { codes: ['57133-1'] }],
  ['2.16.840.1.113883.10.20.22.1.15', { codes: ['52521-2', '18776-5'] }],
])

/** What a templateId says the document is. */
export function documentTypeOfTemplate(root: string | undefined): DocumentType | undefined {
  return root === undefined ? undefined : templates.get(root)
}
