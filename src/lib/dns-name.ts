/** RFC 1035 §2.3.4. */
const labelOctetsMax = 63
const nameOctetsMax = 255

/** Can this be the name of a DNS record at all (RFC 1035 §2.3.4)? */
export function fitsDns(name: string): boolean {
  const octets = Buffer.from(name.replace(/\.$/, ''), 'utf8')
  if (octets.length + 2 > nameOctetsMax) return false
  return name
    .replace(/\.$/, '')
    .split('.')
    .every((label) => label.length > 0 && Buffer.byteLength(label) <= labelOctetsMax)
}

/** Names are compared without case and without the final dot (RFC 1035 §2.3.3). */
export function spelled(name: string): string {
  return name.toLowerCase().replace(/\.$/, '')
}
