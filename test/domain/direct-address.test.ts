import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { isSameAddress, readDirectAddress } from '../../src/domain/direct-address.ts'

test('an address is split at its @, and its spelling is kept', () => {
  expect(readDirectAddress('  Ellen.Ross@Direct.SomePHR.example ')).toEqual({
    valid: true,
    address: {
      local: 'Ellen.Ross',
      domain: 'Direct.SomePHR.example',
      text: 'Ellen.Ross@Direct.SomePHR.example',
    },
  })
})

const label63 = 'a'.repeat(63)
/** 190 octets. */
const longDomain = `${label63}.${label63}.${'b'.repeat(54)}.example`

test.each([
  ['every atext character of RFC 5322 §3.2.3', "!#$%&'*+-/=?^_`{|}~9aZ@direct.example.org"],
  ['64 octets before the @ (RFC 5321 §4.5.3.1.1)', `${'x'.repeat(64)}@d.example`],
  ['254 octets in all (RFC 5321 §4.5.3.1.3)', `${'x'.repeat(254 - 1 - longDomain.length)}@${longDomain}`],
  ['a label of 63 octets', `a@${label63}.example`],
  ['a digit at the start of a label (RFC 1123 §2.1)', 'a@3com.example'],
  ['an internationalised domain in its ASCII form', 'a@xn--bcher-kva.example'],
])('accepted: %s', (_, text) => {
  expect(readDirectAddress(text)).toMatchObject({ valid: true, address: { text } })
})

test.each([
  ['nothing', ''],
  ['no @', 'direct.example.org'],
  ['nothing before the @', '@direct.example.org'],
  ['nothing after the @', 'ellen@'],
  ['two @', 'ellen@ross@direct.example.org'],
  ['65 octets before the @', `${'x'.repeat(65)}@d.example`],
  ['255 octets in all', `${'x'.repeat(255 - 1 - longDomain.length)}@${longDomain}`],
  ['a label of 64 octets', `a@${label63}a.example`],
  ['a domain of one label', 'ellen@localhost'],
  ['a dot at the start', '.ellen@direct.example.org'],
  ['a dot at the end', 'ellen.@direct.example.org'],
  ['two dots', 'ellen..ross@direct.example.org'],
  ['a quoted local part', '"ellen ross"@direct.example.org'],
  ['an address literal', 'ellen@[192.0.2.1]'],
  ['a bare IPv4 address', 'ellen@192.0.2.1'],
  ['a domain that ends with a dot', 'ellen@direct.example.org.'],
  ['an empty label', 'ellen@direct..example.org'],
  ['a hyphen at the start of a label', 'ellen@-direct.example.org'],
  ['a hyphen at the end of a label', 'ellen@direct-.example.org'],
  ['an underscore in the domain', 'ellen@my_direct.example.org'],
  ['a local part beyond ASCII', 'élise@direct.example.org'],
  ['a domain beyond ASCII', 'ellen@bücher.example'],
  ['a full-width @', 'ellen＠direct.example.org'],
  ['a comment', 'ellen(home)@direct.example.org'],
  ['a display name', 'Ellen Ross <ellen@direct.example.org>'],
  ['a second recipient', 'ellen@direct.example.org,mallory@evil.example'],
  ['a header behind a line break', 'ellen@direct.example.org\r\nBcc: mallory@evil.example'],
  ['a line feed inside', 'ellen\n@direct.example.org'],
  ['an SMTP parameter', 'ellen@direct.example.org> NOTIFY=NEVER'],
  ['a NUL', 'ellen\0@direct.example.org'],
  ['a percent-encoded line break in the domain', 'ellen@direct%0d.example.org'],
  ['an angle bracket', 'ellen>@direct.example.org'],
  ['a backslash', 'ellen\\@direct.example.org'],
])('refused, with a reason that does not repeat it: %s', (_, text) => {
  const reading = readDirectAddress(text)
  expect(reading.valid).toBe(false)
  if (!reading.valid) {
    expect(reading.because).toMatch(/\w+ \w+/)
    if (text.includes('ellen')) expect(reading.because).not.toContain('ellen')
  }
})

test('whatever is accepted holds nothing that could end an envelope, a header line or a DNS label', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.emailAddress(),
        fc.string({ unit: 'binary' }),
        fc.tuple(fc.string(), fc.string()).map((parts) => parts.join('@')),
      ),
      (text) => {
        const reading = readDirectAddress(text)
        if (!reading.valid) return
        const { address } = reading
        expect(address.text).toMatch(/^[\x21-\x7e]{3,254}$/)
        expect(address.text).not.toMatch(/[<>()[\]\\,;:"\s]/)
        expect(`${address.local}@${address.domain}`).toBe(address.text)
        expect(address.local.length).toBeLessThanOrEqual(64)
        expect(address.domain.split('.').every((label) => label.length >= 1 && label.length <= 63)).toBe(true)
        expect(readDirectAddress(address.text)).toEqual(reading)
      },
    ),
    { numRuns: 2000 },
  )
})

test('addresses are the same whatever their case and outer blanks', () => {
  expect(isSameAddress(' ELLEN@Direct.example ', 'ellen@direct.EXAMPLE')).toBe(true)
  expect(isSameAddress('ellen@direct.example', 'ellen@direct.example.org')).toBe(false)
})
