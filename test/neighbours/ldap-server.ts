import { once } from 'node:events'
import net from 'node:net'
import type { AddressInfo } from 'node:net'
import * as asn1 from 'asn1js'

/** One entry: attribute descriptions as a server stores them (`mail`, `userCertificate;binary`, …) with their values. */
export interface DirectoryEntry {
  readonly dn: string
  readonly attributes: Readonly<Record<string, readonly (string | Buffer)[]>>
}

/** How the server misbehaves until it is told not to. */
export type DirectoryFault =
  /** Takes connections and never says anything. */
  | { readonly how: 'silence' }
  /** Answers every search as it should, but only after a while. */
  | { readonly how: 'slowness'; readonly afterMs: number }
  /** Answers every search with this result code (RFC 4511 §4.1.9). */
  | { readonly how: 'result'; readonly code: number }
  /** Closes the connection when something is searched for. */
  | { readonly how: 'hang-up' }
  /** Octets that are no LDAP, as many as wanted. */
  | { readonly how: 'garbage'; readonly octets: Buffer }
  /** Entries for as long as somebody takes them. */
  | { readonly how: 'endless' }
  /** Names another server instead of answering. */
  | { readonly how: 'referral'; readonly url: string }

export interface DirectoryNeighbour {
  readonly port: number
  /** `base filter`, such as `o=Direct (mail=bob@a.example)`, oldest first. */
  readonly asked: readonly string[]
  fill(entries: readonly DirectoryEntry[]): void
  misbehave(fault: DirectoryFault | undefined): void
  close(): Promise<void>
}

/** The directory of a trading partner: anonymous bind, root DSE, searches by filter (RFC 4511). */
export async function serveLdap({
  entries = [],
  contexts = ['o=Direct'],
  port = 0,
}: {
  entries?: readonly DirectoryEntry[]
  contexts?: readonly string[]
  port?: number
} = {}): Promise<DirectoryNeighbour> {
  let stored = entries
  let fault: DirectoryFault | undefined
  const asked: string[] = []
  const sockets = new Set<net.Socket>()

  const search = (socket: net.Socket, id: number, fields: readonly asn1.BaseBlock[]) => {
    const base = textOf(fields[0]!)
    const filter = fields[6]!
    asked.push(`${base} ${wordsOf(filter)}`)
    switch (fault?.how) {
      case 'hang-up':
        return socket.destroy()
      case 'result':
        return socket.write(message(id, result(5, fault.code)))
      case 'referral':
        socket.write(message(id, application(19, octets(fault.url))))
        return socket.write(message(id, result(5, 0)))
      case 'endless': {
        const flood = message(id, entryOf({ dn: 'cn=x', attributes: { mail: ['x'.repeat(10_000)] } }))
        const more = () => {
          while (!socket.destroyed && socket.write(flood));
        }
        socket.on('drain', more)
        return more()
      }
      case 'slowness':
      case 'silence':
      case 'garbage':
      case undefined:
    }
    if (base === '' && contexts.length > 0)
      socket.write(message(id, entryOf({ dn: '', attributes: { namingContexts: contexts } })))
    else
      for (const entry of stored)
        if (entry.dn.toLowerCase().endsWith(base.toLowerCase()) && fits(filter, entry))
          socket.write(message(id, entryOf(entry)))
    return socket.write(message(id, result(5, 0)))
  }

  const server = net.createServer((socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    socket.on('error', () => {})
    if (fault?.how === 'garbage') socket.write(fault.octets)
    let received = Buffer.alloc(0)
    socket.on('data', (chunk) => {
      received = Buffer.concat([received, chunk])
      for (;;) {
        const { offset, result: read } = asn1.fromBER(received)
        if (offset === -1 || fault?.how === 'silence' || fault?.how === 'garbage') return
        received = received.subarray(offset)
        const [messageId, operation] = childrenOf(read)
        const id = (messageId as asn1.Integer).valueBlock.valueDec
        const kind = operation!.idBlock.tagNumber
        if (kind === 0) socket.write(message(id, result(1, 0)))
        else if (kind === 2) socket.end()
        else if (kind === 3) {
          const fields = childrenOf(operation!)
          if (fault?.how === 'slowness') setTimeout(() => search(socket, id, fields), fault.afterMs)
          else search(socket, id, fields)
        }
      }
    })
  })
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    asked,
    fill: (next) => (stored = next),
    misbehave: (next) => (fault = next),
    async close() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

/** Entries as directories of trading partners have them: a `mail` and certificates. */
export function memberEntry(mail: string, certificates: readonly Buffer[]): DirectoryEntry {
  return { dn: `mail=${mail},o=Direct`, attributes: { mail: [mail], 'userCertificate;binary': certificates } }
}

const tags = { and: 0, or: 1, not: 2, equality: 3, present: 7 }

function fits(filter: asn1.BaseBlock, entry: DirectoryEntry): boolean {
  switch (filter.idBlock.tagNumber) {
    case tags.and:
      return childrenOf(filter).every((one) => fits(one, entry))
    case tags.or:
      return childrenOf(filter).some((one) => fits(one, entry))
    case tags.not:
      return !fits(childrenOf(filter)[0]!, entry)
    case tags.equality: {
      const [attribute, value] = childrenOf(filter).map(textOf)
      return valuesOf(entry, attribute!).some((one) => String(one).toLowerCase() === value!.toLowerCase())
    }
    case tags.present:
      return textOf(filter).toLowerCase() === 'objectclass' || valuesOf(entry, textOf(filter)).length > 0
    default:
      return false
  }
}

function wordsOf(filter: asn1.BaseBlock): string {
  const all = () => childrenOf(filter).map(wordsOf).join('')
  switch (filter.idBlock.tagNumber) {
    case tags.and:
      return `(&${all()})`
    case tags.or:
      return `(|${all()})`
    case tags.not:
      return `(!${all()})`
    case tags.equality:
      return `(${childrenOf(filter).map(textOf).join('=')})`
    case tags.present:
      return `(${textOf(filter)}=*)`
    default:
      return '(?)'
  }
}

function valuesOf({ attributes }: DirectoryEntry, name: string): readonly (string | Buffer)[] {
  return Object.entries(attributes).find(([one]) => one.toLowerCase() === name.toLowerCase())?.[1] ?? []
}

function childrenOf(block: asn1.BaseBlock): asn1.BaseBlock[] {
  return (block as asn1.Constructed).valueBlock.value
}

function textOf(block: asn1.BaseBlock): string {
  return Buffer.from((block as asn1.OctetString).valueBlock.valueHexView).toString('utf8')
}

const octets = (value: string | Buffer) =>
  new asn1.OctetString({ valueHex: Uint8Array.from(Buffer.from(value)).buffer })

const application = (tagNumber: number, ...value: asn1.BaseBlock[]) =>
  new asn1.Constructed({ idBlock: { tagClass: 2, tagNumber }, value })

const result = (kind: number, code: number) =>
  application(kind, new asn1.Enumerated({ value: code }), octets(''), octets(''))

function entryOf({ dn, attributes }: DirectoryEntry): asn1.BaseBlock {
  const listed = Object.entries(attributes).map(
    ([name, values]) =>
      new asn1.Sequence({ value: [octets(name), new asn1.Set({ value: values.map(octets) })] }),
  )
  return application(4, octets(dn), new asn1.Sequence({ value: listed }))
}

function message(id: number, operation: asn1.BaseBlock): Buffer {
  return Buffer.from(new asn1.Sequence({ value: [new asn1.Integer({ value: id }), operation] }).toBER(false))
}
