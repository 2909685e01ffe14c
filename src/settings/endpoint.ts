/** Where to listen, or whom to ask. */
export interface Endpoint {
  readonly host: string
  readonly port: number
}

/** True for names and addresses of this machine only. */
export function isLoopback(host: string): boolean {
  const bare = host.replace(/^\[|\]$/g, '').toLowerCase()
  return bare === 'localhost' || bare === '::1' || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(bare)
}

/** `host:port`, an IPv6 address in brackets. */
export function placeOf({ host, port }: Endpoint): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}
