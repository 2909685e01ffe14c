/** One MIME entity, cut where it stands: no byte is rewritten, so that signatures can be checked over it. */
export interface Entity {
  /** Unfolded values by lower-case name, in order of appearance. */
  headers: ReadonlyMap<string, readonly string[]>
  body: Buffer
}

export function entityOf(bytes: Buffer): Entity {
  const { end, bodyAt } = endOfHeaders(bytes)
  const headers = new Map<string, string[]>()
  const unfolded = bytes
    .subarray(0, end)
    .toString('latin1')
    .replace(/\r?\n(?=[ \t])/g, '')
  for (const line of unfolded.split(/\r?\n/)) {
    const colon = line.indexOf(':')
    if (colon <= 0) continue
    const name = line.slice(0, colon).trim().toLowerCase()
    headers.set(name, [...(headers.get(name) ?? []), line.slice(colon + 1).trim()])
  }
  return { headers, body: bytes.subarray(bodyAt) }
}

export function header(entity: Entity, name: string): string {
  return entity.headers.get(name.toLowerCase())?.[0] ?? ''
}

/** The media type in lower case and its parameters; quoted or not. */
export function contentType(entity: Entity): { type: string; parameters: ReadonlyMap<string, string> } {
  const [type, ...rest] = header(entity, 'content-type').split(';')
  const parameters = new Map<string, string>()
  for (const parameter of rest.join(';').matchAll(/([\w-]+)\s*=\s*(?:"([^"]*)"|([^;\s]+))/g))
    parameters.set((parameter[1] ?? '').toLowerCase(), parameter[2] ?? parameter[3] ?? '')
  return { type: (type ?? '').trim().toLowerCase(), parameters }
}

export function decodedBody(entity: Entity): Buffer {
  switch (header(entity, 'content-transfer-encoding').toLowerCase()) {
    case 'base64':
      return Buffer.from(entity.body.toString('latin1'), 'base64')
    case 'quoted-printable':
      return Buffer.from(
        entity.body
          .toString('latin1')
          .replace(/=\r?\n/g, '')
          .replace(/=([0-9A-F]{2})/gi, (_, hex: string) => String.fromCharCode(parseInt(hex, 16))),
        'latin1',
      )
    default:
      return entity.body
  }
}

/** The parts of a multipart body, each from its first header to before the line end that belongs to the next boundary. */
export function partsOf(body: Buffer, boundary: string): Buffer[] {
  const parts: Buffer[] = []
  const delimiter = Buffer.from(`--${boundary}`, 'latin1')
  let from = -1
  for (let at = body.indexOf(delimiter); at >= 0; at = body.indexOf(delimiter, at + 1)) {
    if (at > 0 && body[at - 1] !== 0x0a) continue
    if (from >= 0) {
      let end = at - 1
      if (body[end - 1] === 0x0d) end--
      parts.push(body.subarray(from, end))
    }
    if (body.subarray(at + delimiter.length, at + delimiter.length + 2).toString() === '--') return parts
    const lineEnd = body.indexOf(0x0a, at)
    if (lineEnd < 0) return parts
    from = lineEnd + 1
  }
  return parts
}

/** The addr-spec of a mailbox, lower case: `"Ellen" <ellen@x>` and `ellen@x` both give `ellen@x`. */
export function mailboxes(value: string): string[] {
  return value
    .replace(/"[^"]*"/g, '')
    .split(',')
    .map((mailbox) => (/<([^>]*)>/.exec(mailbox)?.[1] ?? mailbox).trim().toLowerCase())
    .filter((mailbox) => mailbox.includes('@'))
}

function endOfHeaders(bytes: Buffer): { end: number; bodyAt: number } {
  const crlf = bytes.indexOf('\r\n\r\n')
  const lf = bytes.indexOf('\n\n')
  if (crlf >= 0 && (lf < 0 || crlf < lf)) return { end: crlf, bodyAt: crlf + 4 }
  if (lf >= 0) return { end: lf, bodyAt: lf + 2 }
  return { end: bytes.length, bodyAt: bytes.length }
}
