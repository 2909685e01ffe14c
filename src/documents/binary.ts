import { SaxesParser } from 'saxes'
import { Failed } from '../domain/failure.ts'

/**
 * The content of a FHIR Binary resource, where a server wraps it although it was asked for the content (R4 §2.27.4);
 * anything else comes back as it is.
 *
 * @throws Failed `document-refused` for a Binary without readable content, `fhir-refused` for an OperationOutcome
 */
export function unwrapBinary(bytes: Buffer, serverName: string): Buffer {
  const start = bytes
    .subarray(0, 512)
    .toString('latin1')
    .replace(/^\xef\xbb\xbf/, '')
    .trimStart()
  if (start.startsWith('{')) return fromJson(bytes, serverName)
  if (/^(<\?xml[^>]*>\s*)?<(\w+:)?Binary[\s>]/.test(start)) return fromXml(bytes, serverName)
  return bytes
}

function fromJson(bytes: Buffer, serverName: string): Buffer {
  let resource: { resourceType?: unknown; data?: unknown; content?: unknown }
  try {
    resource = JSON.parse(bytes.toString('utf8').replace(/^\uFEFF/, '')) as typeof resource
  } catch {
    return bytes
  }
  if (resource.resourceType === 'OperationOutcome')
    throw new Failed(
      'fhir-refused',
      `${serverName} answered with an OperationOutcome instead of the document`,
    )
  if (resource.resourceType !== 'Binary') return bytes
  // STU3 calls it `content`.
  return decoded(resource.data ?? resource.content, serverName)
}

function fromXml(bytes: Buffer, serverName: string): Buffer {
  const parser = new SaxesParser({ xmlns: true, position: false })
  let data: string | undefined
  parser.on('doctype', () => {
    throw new Failed('document-refused', `${serverName} gave a Binary with a DOCTYPE`)
  })
  parser.on('opentag', ({ local, uri, attributes }) => {
    if (uri === 'http://hl7.org/fhir' && (local === 'data' || local === 'content'))
      data ??= attributes['value']?.value
  })
  try {
    parser.write(bytes.toString('utf8')).close()
  } catch (error) {
    if (error instanceof Failed) throw error
    throw new Failed('document-refused', `${serverName} gave a Binary that is not well-formed XML`)
  }
  return decoded(data, serverName)
}

function decoded(data: unknown, serverName: string): Buffer {
  const bytes = typeof data === 'string' ? decodeBase64(data) : undefined
  if (bytes === undefined)
    throw new Failed('document-refused', `${serverName} gave a Binary without readable content`)
  return bytes
}

/** Undefined for what is not base64; Buffer.from would drop the foreign characters and go on. */
export function decodeBase64(text: string): Buffer | undefined {
  const compact = /\s/.test(text) ? text.replace(/\s+/g, '') : text
  return compact.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(compact)
    ? Buffer.from(compact, 'base64')
    : undefined
}
