import {
  contentType,
  decodedBody,
  fieldValue,
  readEntity,
  readParameterized,
  splitMultipart,
  type Entity,
} from './mime-reader.ts'

/** One leaf of a message: whatever is no multipart. */
export interface MimePart {
  /** Such as `application/xml`, in lower case. */
  readonly mediaType: string
  /** As the sender wrote it: not a path to be used. */
  readonly fileName?: string
  /** With its transfer encoding undone. */
  readonly content: Buffer
}

/** multipart in multipart; real messages nest 3. */
const depthMax = 16
const partsMax = 1000

/**
 * The leaves of a message, in order, forwarded messages among them as one part each. A multipart that cannot be split, or
 * lies deeper than 16, is one part as it stands.
 */
export function mimeParts(message: Buffer): MimePart[] {
  const parts: MimePart[] = []
  collect(readEntity(message), parts, 0)
  return parts
}

function collect(entity: Entity, parts: MimePart[], depth: number): void {
  if (parts.length >= partsMax) return
  const { value, parameters } = contentType(entity)
  if (value.startsWith('multipart/') && depth < depthMax) {
    const split = splitMultipart(entity.body, parameters.get('boundary') ?? '')
    if (split.split) {
      for (const part of split.parts) collect(readEntity(part), parts, depth + 1)
      return
    }
  }
  const disposition = readParameterized(fieldValue(entity, 'content-disposition') ?? '')
  const fileName = disposition.parameters.get('filename') ?? parameters.get('name')
  parts.push({
    mediaType: value,
    ...(fileName === undefined ? {} : { fileName }),
    content: decodedBody(entity),
  })
}

/**
 * A name for a file inside one folder, from a name somebody sent: its last piece, without separators, control characters,
 * leading dots, what Windows cannot hold, or names already `taken` (which grows).
 *
 * @param fallback for names of which nothing is left
 */
export function safeFileName(sent: string | undefined, fallback: string, taken: Set<string>): string {
  const last = (sent ?? '').normalize('NFC').split(/[/\\]/).at(-1)!
  const clean = last

    .replaceAll(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069<>:"|?*]/g, '')
    .toWellFormed()
    .replace(/^[.\s]+/, '')
    .replace(/[.\s]+$/, '')
  const isDevice = /^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/i.test(clean)
  const base = clean === '' || isDevice ? fallback : shortened(clean)
  const dot = base.lastIndexOf('.')
  const [stem, extension] = dot > 0 ? [base.slice(0, dot), base.slice(dot)] : [base, '']
  let name = base
  // File systems of macOS and Windows do not tell upper from lower case.
  for (let count = 2; taken.has(name.toLowerCase()); count++) name = `${stem}-${count}${extension}`
  taken.add(name.toLowerCase())
  return name
}

/** File systems hold 255 octets; the extension says what it is and stays. */
function shortened(name: string): string {
  const extension = /\.[A-Za-z0-9]{1,8}$/.exec(name)?.[0] ?? ''
  let stem = name.slice(0, name.length - extension.length)
  while (Buffer.byteLength(stem) > 200) stem = [...stem].slice(0, -1).join('')
  return stem + extension
}
