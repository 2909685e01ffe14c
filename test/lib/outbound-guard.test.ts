import { expect, test } from '@jest/globals'
import { isPublicAddress, resolveOutbound } from '../../src/lib/outbound-guard.ts'

test.each([
  '127.0.0.1',
  '127.8.9.10',
  '0.0.0.0',
  '10.1.2.3',
  '100.64.0.1',
  '169.254.169.254',
  '172.16.0.1',
  '172.31.255.255',
  '192.0.2.1',
  '192.88.99.1',
  '192.168.1.1',
  '198.18.0.1',
  '198.51.100.7',
  '203.0.113.9',
  '224.0.0.1',
  '240.0.0.1',
  '255.255.255.255',
  '::',
  '::1',
  '::ffff:127.0.0.1',
  '::ffff:10.0.0.1',
  '::ffff:8.8.8.8',
  '::127.0.0.1',
  '64:ff9b::7f00:1',
  '100::1',
  '2001::1',
  '2001:db8::1',
  '2002:7f00:1::',
  'fc00::1',
  'fd12:3456::1',
  'fe80::1',
  'fe80::1%eth0',
  'ff02::1',
  'not an address',
])('%s is not public', (address) => {
  expect(isPublicAddress(address)).toBe(false)
})

test.each([
  '8.8.8.8',
  '172.15.0.1',
  '172.32.0.1',
  '192.0.1.1',
  '223.255.255.255',
  '2606:4700::1111',
  '2a00:1450::1',
])('%s is public', (address) => {
  expect(isPublicAddress(address)).toBe(true)
})

const resolvesTo = (...addresses: string[]) => ({
  allowPrivateAddresses: false,
  resolve: async () =>
    addresses.map((address) => ({ address, family: address.includes(':') ? (6 as const) : (4 as const) })),
})

test('a name is allowed with the addresses that were checked, in their order', async () => {
  expect(await resolveOutbound('crl.example', resolvesTo('9.9.9.9', '2620:fe::fe'))).toEqual({
    outcome: 'allowed',
    addresses: [
      { address: '9.9.9.9', family: 4 },
      { address: '2620:fe::fe', family: 6 },
    ],
  })
})

test('one address inside spoils the name', async () => {
  expect(await resolveOutbound('crl.example', resolvesTo('9.9.9.9', '10.0.0.8'))).toEqual({
    outcome: 'refused',
    because: 'crl.example is at 10.0.0.8, which is not a public address (discovery.allowPrivateAddresses)',
  })
})

test('in a laboratory everything may be reached', async () => {
  const options = { ...resolvesTo('127.0.0.1'), allowPrivateAddresses: true }
  expect(await resolveOutbound('crl.example', options)).toMatchObject({ outcome: 'allowed' })
  expect(await resolveOutbound('[::1]', options)).toMatchObject({
    addresses: [{ address: '::1', family: 6 }],
  })
})

test.each(['a b', '', '.', 'a..b', '-a.example', 'a\nb', `${'a'.repeat(64)}.example`, 'a'.repeat(254)])(
  '%j is not even asked for',
  async (host) => {
    const never = {
      allowPrivateAddresses: true,
      resolve: () => Promise.reject(new Error('it was asked for')),
    }
    expect(await resolveOutbound(host, never)).toEqual({
      outcome: 'refused',
      because: 'the host is no name that DNS can have',
    })
  },
)

test('a resolver without an answer is not a refusal', async () => {
  const down = () => Promise.reject(Object.assign(new Error(), { code: 'EAI_AGAIN' }))
  expect(await resolveOutbound('crl.example', { allowPrivateAddresses: false, resolve: down })).toEqual({
    outcome: 'failed',
    because: 'the name crl.example does not resolve (EAI_AGAIN)',
  })
  expect(await resolveOutbound('crl.example', resolvesTo())).toMatchObject({ outcome: 'failed' })
})
