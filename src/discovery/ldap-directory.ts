import net from 'node:net'
import { Duplex } from 'node:stream'
import { Client, EqualityFilter, NoSuchObjectError, ResultCodeError, type Entry } from 'ldapts'
import type { ResolvedAddress } from '../lib/outbound-guard.ts'
import { pkcs7Certificates } from '../lib/pkcs7-certificates.ts'
import { LdapUnreadable, makeMessageReader } from './ldap-messages.ts'

/** A directory server as SRV names it, at the address that the outbound guard has checked. */
export interface DirectoryServer {
  readonly host: string
  readonly port: number
  readonly address: ResolvedAddress
}

/** What a directory says of one `mail` value. `failed` leaves the question open: another server may know. */
export type DirectoryAnswer =
  | { readonly outcome: 'found'; readonly certificates: readonly Buffer[]; readonly notes: readonly string[] }
  | { readonly outcome: 'nothing'; readonly notes: readonly string[] }
  | { readonly outcome: 'failed'; readonly because: string }

export interface DirectoryLimits {
  /** For connecting, and for each operation; three times that for the session. */
  readonly timeoutMs: number
  /** Everything a server may send in one session. */
  readonly octetsMax: number
  readonly basesMax: number
  /** Entries per search. */
  readonly entriesMax: number
}

export const directoryLimitsUsual: DirectoryLimits = {
  timeoutMs: 5_000,
  octetsMax: 4 * 1024 * 1024,
  basesMax: 8,
  entriesMax: 50,
}

/** `userCertificate` with and without its transfer option (RFC 4523 §4.1), and PKCS#7 (RFC 2798 §2.8, no option). */
const certificateAttributes = ['userCertificate;binary', 'userCertificate', 'userSMIMECertificate']

/**
 * Asks one server for the certificates of several `mail` values, in order, until one has any: anonymous bind, naming
 * contexts of the root DSE, then an equality search below each of them (Certificate Discovery IG §2.1, steps 5 to 7).
 * Values go into the filter as they are, never as filter text, so nothing in an address can change the question (RFC 4515 §4).
 * Referrals are noted and never followed.
 *
 * @returns one answer per value that was asked for; nothing behind the first that was found or failed
 */
export async function askDirectory(
  server: DirectoryServer,
  mails: readonly string[],
  limits: DirectoryLimits = directoryLimitsUsual,
): Promise<readonly DirectoryAnswer[]> {
  const connection = connectionTo(server, limits)
  const client = new Client({
    // The host name is for the server’s log; the connection goes to the checked address.
    url: 'ldap://directory.invalid',
    timeout: limits.timeoutMs,
    connectTimeout: limits.timeoutMs,
    strictDN: false,
    createConnection: connection.open,
  })
  const answers: DirectoryAnswer[] = []
  try {
    await client.bind('', '')
    const bases = await namingContexts(client, limits)
    for (const mail of mails) {
      const answer = await searchBelow(client, bases, mail, limits)
      answers.push(answer)
      if (answer.outcome !== 'nothing') break
    }
  } catch (error) {
    answers.push({ outcome: 'failed', because: connection.cutBecause() ?? wordsOf(error) })
  } finally {
    await client.unbind().catch(() => {})
    connection.close()
  }
  return answers
}

async function namingContexts(client: Client, limits: DirectoryLimits): Promise<readonly string[]> {
  const { searchEntries } = await client.search('', {
    scope: 'base',
    filter: '(objectClass=*)',
    attributes: ['namingContexts'],
    sizeLimit: 1,
    timeLimit: Math.ceil(limits.timeoutMs / 1000),
  })
  const values = valuesOf(searchEntries[0], 'namingContexts').map((value) => value.toString('utf8'))
  // Some servers name the empty base; a search below it is a search everywhere.
  return (values.length === 0 ? [''] : values).slice(0, limits.basesMax)
}

async function searchBelow(
  client: Client,
  bases: readonly string[],
  mail: string,
  limits: DirectoryLimits,
): Promise<DirectoryAnswer> {
  const certificates: Buffer[] = []
  const notes: string[] = []
  for (const base of bases) {
    const { searchEntries, searchReferences } = await client
      .search(base, {
        scope: 'sub',
        derefAliases: 'never',
        filter: new EqualityFilter({ attribute: 'mail', value: mail }),
        attributes: certificateAttributes,
        explicitBufferAttributes: certificateAttributes,
        sizeLimit: limits.entriesMax,
        timeLimit: Math.ceil(limits.timeoutMs / 1000),
      })
      .catch((error: unknown) => {
        // A naming context without any entry yet.
        if (error instanceof NoSuchObjectError) return { searchEntries: [], searchReferences: [] }
        throw error
      })
    if (searchReferences.length > 0)
      notes.push(`${searchReferences.length} referrals below “${base}” were not followed`)
    const found = searchEntries.flatMap((entry) => certificatesOf(entry, notes))
    notes.push(`below “${base}”: ${searchEntries.length} entries, ${found.length} certificates`)
    for (const der of found) if (!certificates.some((known) => known.equals(der))) certificates.push(der)
  }
  return certificates.length > 0 ? { outcome: 'found', certificates, notes } : { outcome: 'nothing', notes }
}

function certificatesOf(entry: Entry, notes: string[]): Buffer[] {
  const plain = [...valuesOf(entry, 'userCertificate;binary'), ...valuesOf(entry, 'userCertificate')]
  const packed = valuesOf(entry, 'userSMIMECertificate').flatMap((value) => {
    try {
      return pkcs7Certificates(value)
    } catch {
      notes.push('a userSMIMECertificate is no PKCS#7')
      return []
    }
  })
  return [...plain, ...packed]
}

/** Attribute names are compared without case (RFC 4512 §2.5). */
function valuesOf(entry: Entry | undefined, name: string): Buffer[] {
  return Object.entries(entry ?? {}).flatMap(([attribute, value]) => {
    if (attribute.toLowerCase() !== name.toLowerCase()) return []
    return [value].flat().map((one) => (Buffer.isBuffer(one) ? one : Buffer.from(one, 'utf8')))
  })
}

interface Connection {
  /** In place of net.connect: ldapts names the host of its URL, which is nobody’s. */
  open(): net.Socket
  /** Why the connection was cut, if we cut it. */
  cutBecause(): string | undefined
  close(): void
}

function connectionTo({ address, port }: DirectoryServer, limits: DirectoryLimits): Connection {
  const { octetsMax, timeoutMs } = limits
  // A server that answers each of many operations in the last moment is cut off, too.
  const sessionMs = 3 * timeoutMs
  const messagesIn = makeMessageReader(octetsMax)
  let near: Duplex | undefined
  let because: string | undefined
  let octets = 0
  const cut = (why: string) => {
    because ??= why
    near?.destroy(new Error(why))
  }
  const sessionTimer = setTimeout(() => cut(`it took longer than ${sessionMs} ms`), sessionMs)
  return {
    open() {
      // ldapts would connect again, and go on where it was cut off.
      if (near !== undefined) throw new Error((because ??= 'it closed the connection'))
      const far = net.connect({ host: address.address, port, family: address.family, noDelay: true })
      const gate = new Duplex({
        // One message, one event: ldapts goes one call deeper for each message of a chunk.
        readableObjectMode: true,
        read: () => far.resume(),
        write: (chunk, _, done) => far.write(chunk, done),
        final: (done) => far.end(done),
        destroy(error, done) {
          far.destroy()
          done(error)
        },
      })
      near = gate
      far.on('connect', () => gate.emit('connect'))
      far.on('error', (error) => gate.destroy(error))
      far.on('close', () => gate.destroy())
      far.on('data', (chunk: Buffer) => {
        octets += chunk.length
        if (octets > octetsMax) return cut(`it sent more than ${octetsMax} octets`)
        try {
          for (const message of messagesIn(chunk)) if (!gate.destroyed && !gate.push(message)) far.pause()
        } catch (error) {
          cut(error instanceof LdapUnreadable ? error.message : 'what it sent is no LDAP')
        }
      })
      // What ldapts uses of a socket, a duplex stream has.
      return gate as net.Socket
    },
    cutBecause: () => because,
    close() {
      clearTimeout(sessionTimer)
      near?.destroy()
    },
  }
}

function wordsOf(error: unknown): string {
  if (error instanceof ResultCodeError)
    return `it answered ${error.name.replace(/Error$/, '')} (${error.code})`
  const { code, message } = error as NodeJS.ErrnoException
  // ldapts puts what the server said into messages; only its own words and those of the system are passed on.
  if (typeof code === 'string') return `the connection failed (${code})`
  return /timeout|timed out/i.test(message) ? 'no answer in time' : 'what it sent is no LDAP'
}
