import { der, derContent, derMembers, derRaw, expectDer, readDer, type DerValue } from '../lib/der.ts'

/** Messages of one session: entries and referrals of eight searches, and what ends each. */
const messagesMax = 1_000
/** Attributes and values of one session. */
const valuesMax = 10_000

const [integer, octetString, enumerated, sequence, set] = [0x02, 0x04, 0x0a, 0x30, 0x31] as const
/** RFC 4511 §4.2.2, §4.5.2: the operations that answer a bind and a search. */
const [bindResponse, searchEntry, searchDone, searchReference] = [0x61, 0x64, 0x65, 0x73] as const

/** What came is no answer to a bind or a search as RFC 4511 writes it, or is more of it than anybody needs. */
export class LdapUnreadable extends Error {}

/**
 * Cuts what a server sends into LDAP messages and lets through only whole ones of the right shape. The reader of ldapts
 * stands behind it, which must not see others: where a length points beyond its container, ldapts reads the same nothing
 * for ever and keeps each of them, until the memory of the process is full.
 *
 * Response controls, which nobody asked for, are taken out.
 *
 * @param octetsMax of one message
 * @returns to be given each chunk as it comes; throws LdapUnreadable, or DerError where it is not even BER
 */
export function makeMessageReader(octetsMax: number): (chunk: Buffer) => Generator<Buffer, void, undefined> {
  let held: Buffer[] = []
  let heldOctets = 0
  let needed = 2
  const seen = { messages: 0, values: 0 }
  return function* (chunk) {
    held.push(chunk)
    heldOctets += chunk.length
    while (heldOctets >= needed) {
      const octets = Buffer.concat(held)
      held = [octets]
      needed = octetsOfMessage(octets)
      if (needed > octetsMax) throw new LdapUnreadable('it announced a message that is too long')
      if (heldOctets < needed) return
      if (++seen.messages > messagesMax) throw new LdapUnreadable(`it sent more than ${messagesMax} messages`)
      yield checked(octets.subarray(0, needed), seen)
      held = [octets.subarray(needed)]
      heldOctets -= needed
      needed = 2
    }
  }
}

/** How long the message is, or how much of it must be there to tell. LDAP has definite lengths only (RFC 4511 §5.1). */
function octetsOfMessage(octets: Buffer): number {
  const first = octets[1]!
  if (octets[0] !== sequence || first === 0x80 || first > 0x84)
    throw new LdapUnreadable('what it sent is no LDAP')
  if (first < 0x80) return 2 + first
  const header = 2 + (first & 0x7f)
  return octets.length < header ? header : header + octets.readUIntBE(2, first & 0x7f)
}

function checked(octets: Buffer, seen: { values: number }): Buffer {
  const [id, operation] = membersOf(readDer(octets), seen)
  expectDer(id, integer, 'the message ID')
  if (operation === undefined) throw new LdapUnreadable('a message without an operation')
  checkOperation(operation, seen)
  return der(sequence, derRaw(id!), derRaw(operation))
}

function checkOperation(operation: DerValue, seen: { values: number }): void {
  const members = membersOf(operation, seen)
  switch (operation.tag) {
    case bindResponse:
    case searchDone: {
      const [code, matchedDn, message] = members
      if (derContent(expectDer(code, enumerated, 'the result code')).length !== 1)
        throw new LdapUnreadable('a result code of several octets')
      expectDer(matchedDn, octetString, 'the matched DN')
      expectDer(message, octetString, 'the diagnostic message')
      return
    }
    case searchReference:
      for (const uri of members) expectDer(uri, octetString, 'a referral')
      return
    case searchEntry: {
      const [name, attributes] = members
      expectDer(name, octetString, 'the name of an entry')
      for (const attribute of membersOf(expectDer(attributes, sequence, 'the attributes'), seen)) {
        const [type, values] = membersOf(expectDer(attribute, sequence, 'an attribute'), seen)
        expectDer(type, octetString, 'the type of an attribute')
        for (const value of membersOf(expectDer(values, set, 'the values'), seen))
          expectDer(value, octetString, 'a value')
      }
      return
    }
    default:
      throw new LdapUnreadable('it answered something that was not asked for')
  }
}

function membersOf(value: DerValue, seen: { values: number }): DerValue[] {
  if (value.indefinite) throw new LdapUnreadable('an indefinite length')
  const members: DerValue[] = []
  for (const member of derMembers(value)) {
    if (++seen.values > valuesMax) throw new LdapUnreadable(`it sent more than ${valuesMax} values`)
    members.push(member)
  }
  return members
}
