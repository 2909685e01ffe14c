import type { CdaHeader } from './cda-header.ts'
import type { Finding } from './gate.ts'

/**
 * C-CDA SupportedFileFormats 2.16.840.1.113883.11.20.7.1, and what certified systems write for the same. Anything else in
 * a nonXMLBody is nothing that a patient’s system shows, and may be something that runs.
 */
const bodyMediaTypes = new Set([
  'application/msword',
  'application/pdf',
  'application/vnd.openxmlformats-officedocument.wordprocessingml.document',
  'text/plain',
  'text/rtf',
  'application/rtf',
  'text/html',
  'image/gif',
  'image/tiff',
  'image/jpeg',
  'image/png',
])

/** Step 11: is the whole of the body in the document, and is it something a receiver can show? */
export function judgeBody({ body, hasOutsideBody, bodyMediaType }: CdaHeader): string | undefined {
  if (body !== 'nonXML') return undefined
  if (hasOutsideBody)
    return 'the body of the document only points to a file elsewhere, which the receiver would not get'
  const type = bodyMediaType?.split(';')[0]!.trim().toLowerCase()
  return type === undefined || bodyMediaTypes.has(type)
    ? undefined
    : 'the body of the document is a file of a type that clinical documents do not carry (mediaType of nonXMLBody)'
}

/**
 * Step 12: a link that runs something where it is clicked is held. A stylesheet or a picture from elsewhere tells a server
 * who opened the document, and is noted; nothing is ever taken out, because the source may have signed the bytes.
 */
export function judgeLinks(header: CdaHeader, findings: Finding[]): string | undefined {
  if (header.hasActiveLink)
    return 'the document has a link that runs a script where it is clicked (linkHtml, reference)'
  if (header.stylesheet === 'outside')
    findings.push({
      code: 'stylesheet-outside',
      because: 'the document names a stylesheet on another server; it is sent as it is',
    })
  if (header.stylesheet === 'beside')
    findings.push({ code: 'stylesheet', because: 'the document names a stylesheet; it is sent as it is' })
  if (header.hasOutsideLink)
    findings.push({
      code: 'outside-link',
      because: 'the document refers to something on another server; it is sent as it is',
    })
  return undefined
}

export type LinkKind = 'active' | 'outside' | 'inside'

/** Where a link leads. Browsers drop blanks and control characters before they read the scheme (WHATWG URL). */
export function linkKind(target: string): LinkKind {
  const start = [...target.slice(0, 4096)]
    .filter((character) => character > ' ' && character !== '\u007f')
    .join('')
    .slice(0, 40)
    .toLowerCase()
  if (/^(javascript|vbscript|livescript|data:text\/html|data:image\/svg)/.test(start)) return 'active'
  return /^(https?|ftp|file|smb|gopher|wss?):|^[/\\]{2}/.test(start) ? 'outside' : 'inside'
}
