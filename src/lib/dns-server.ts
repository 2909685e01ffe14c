import net from 'node:net'

/** A DNS server to ask. */
export interface Server {
  readonly host: string
  readonly port: number
  readonly text: string
}

/** `192.0.2.1`, `192.0.2.1:5353`, `[2001:db8::1]:53`; undefined for anything else. */
export function readServer(text: string): Server | undefined {
  const port = (digits: string | undefined) => (digits === undefined ? 53 : Number(digits))
  const bracketed = /^\[([^\]]+)\](?::(\d{1,5}))?$/.exec(text)
  const plain = /^([^:]+)(?::(\d{1,5}))?$/.exec(text)
  const server = net.isIPv6(text)
    ? { host: text, port: 53, text }
    : bracketed !== null
      ? { host: bracketed[1]!, port: port(bracketed[2]), text }
      : plain !== null
        ? { host: plain[1]!, port: port(plain[2]), text }
        : undefined
  if (server === undefined || net.isIP(server.host) === 0) return undefined
  return server.port >= 1 && server.port <= 65_535 ? server : undefined
}
