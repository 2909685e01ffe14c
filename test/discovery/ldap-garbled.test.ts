import { once } from 'node:events'
import net, { type AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { askDirectory, directoryLimitsUsual } from '../../src/discovery/ldap-directory.ts'
import { serveLdap, type DirectoryNeighbour } from '../neighbours/ldap-server.ts'

// What comes from the directory passes through a wire that garbles it.
let directory: DirectoryNeighbour
let wire: net.Server
type Garble = (octets: Buffer) => Buffer
const garbles: Garble[] = []
const open = new Set<net.Socket>()

beforeAll(async () => {
  const attributes = { mail: ['carol@other.example'], cn: ['Carol'] }
  directory = await serveLdap({ entries: [{ dn: 'cn=carol,o=Direct', attributes }] })
  wire = net.createServer((near) => {
    const garble = garbles.pop()!
    const far = net.connect(directory.port, '127.0.0.1')
    for (const one of [near, far]) {
      open.add(one)
      one.on('error', () => {})
    }
    near.on('data', (octets) => far.write(octets)).on('close', () => far.destroy())
    far.on('data', (octets: Buffer) => near.write(garble(octets))).on('close', () => near.end())
  })
  wire.listen(0, '127.0.0.1')
  await once(wire, 'listening')
})
afterAll(async () => {
  for (const one of open) one.destroy()
  wire.close()
  await directory.close()
})

const ask = (timeoutMs: number) =>
  askDirectory(
    {
      host: 'ldap.phr.example',
      port: (wire.address() as AddressInfo).port,
      address: { address: '127.0.0.1', family: 4 },
    },
    ['bob@phr.example'],
    { ...directoryLimitsUsual, timeoutMs },
  )

/** Each of them for one connection, all at once. */
async function throughEach(ways: readonly Garble[]) {
  garbles.push(...ways)
  return await Promise.all(ways.map(() => ask(500)))
}

test('through a good wire the directory says that it has nothing', async () => {
  garbles.push((octets) => octets)
  expect(await ask(5000)).toMatchObject([{ outcome: 'nothing' }])
})

test('any octets instead of LDAP are no answer: not found, and not absent', async () => {
  const octets = fc.uint8Array({ minLength: 1, maxLength: 200 })
  await fc.assert(
    fc.asyncProperty(fc.array(octets, { minLength: 40, maxLength: 40 }), async (answers) => {
      for (const answer of await throughEach(answers.map((one) => () => Buffer.from(one))))
        expect(answer).toMatchObject([{ outcome: 'failed' }])
    }),
    { numRuns: 5, endOnFailure: true },
  )
})

test.each([
  [
    'an attribute longer than its list',
    '3015020102' + '6410' + '0403636e3d' + '3009' + '307f' + '04026d61' + '310104',
  ],
  ['an attribute that is no sequence', '3012020102' + '640d' + '0400' + '3009' + '0407' + '047f6d61310104'],
  ['a referral longer than all', '3008020102' + '7303' + '047f61'],
  ['a length below zero', '3084ffffffff020102'],
  ['an indefinite length', '3080020102' + '65070a010004000400' + '0000'],
  ['an operation nobody asked for', '300c020100' + '7807' + '0a010004000400'],
])('%s is no answer, at once', async (_, hex) => {
  garbles.push((octets) => (octets.includes(Buffer.from('6507', 'hex')) ? Buffer.from(hex, 'hex') : octets))
  const [answer] = await ask(5000)
  expect(answer).toMatchObject({ outcome: 'failed' })
  expect(JSON.stringify(answer)).not.toContain('in time')
})

test('entries without end are cut off by their number', async () => {
  const entry = Buffer.from('3009020102' + '6404' + '0400' + '3000', 'hex')
  const flood = Buffer.concat(Array.from({ length: 20_000 }, () => entry))
  garbles.push((octets) => (octets.includes(Buffer.from('6507', 'hex')) ? flood : octets))
  expect(await ask(5000)).toEqual([{ outcome: 'failed', because: 'it sent more than 1000 messages' }])
})

test('response controls are passed over', async () => {
  const done = Buffer.from('65070a010004000400', 'hex')
  garbles.push((octets) => {
    if (!octets.includes(done)) return octets
    return Buffer.concat([octets.subarray(0, -14), withControls(octets.subarray(-14))])
  })
  expect(await ask(5000)).toMatchObject([{ outcome: 'nothing' }])
})

/** A short message with the OID of a control behind it (RFC 4511 §4.1.11). */
function withControls(message: Buffer): Buffer {
  const control = Buffer.from('a01a30180416312e322e3834302e3131333535362e312e342e333139', 'hex')
  return Buffer.concat([Buffer.of(0x30, message.length - 2 + control.length), message.subarray(2), control])
}

test('changed, lost and doubled octets never make a certificate', async () => {
  const change = fc.record({
    at: fc.nat({ max: 200 }),
    how: fc.constantFrom('flip', 'lose', 'double', 'cut'),
    to: fc.nat({ max: 255 }),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(change, { minLength: 40, maxLength: 40 }), async (changes) => {
      for (const [answer, ...others] of await throughEach(changes.map(garbledBy))) {
        expect(others).toEqual([])
        expect(['nothing', 'failed']).toContain(answer?.outcome)
      }
    }),
    { numRuns: 8, endOnFailure: true },
  )
})

function garbledBy({ at, how, to }: { at: number; how: string; to: number }): Garble {
  return (octets) => {
    const place = at % octets.length
    const [before, behind] = [octets.subarray(0, place), octets.subarray(place)]
    switch (how) {
      case 'flip':
        return Buffer.concat([before, Buffer.of(to), behind.subarray(1)])
      case 'lose':
        return Buffer.concat([before, behind.subarray(1)])
      case 'double':
        return Buffer.concat([before, behind, behind])
      default:
        return before
    }
  }
}
