import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { passGate, type Expectations } from '../../src/documents/gate.ts'
import { anExpectation, ccd, ccdText, changed, gate, madeAt } from './an-expectation.ts'

test('a fitting C-CDA passes, with what is kept about it', async () => {
  expect(await gate(ccd)).toEqual({
    passed: true,
    header: {
      code: '34133-9',
      effectiveTime: madeAt,
      effectiveUntil: expect.any(Date),
      setId: expect.stringMatching(/^[0-9a-f-]{36}$/),
      versionNumber: '1',
    },
    findings: [],
  })
})

test('the bytes that are judged are not touched', async () => {
  const bytes = Buffer.from(ccd)
  await gate(bytes)
  expect(bytes.equals(ccd)).toBe(true)
})

test.each<[string, () => Buffer]>([
  ['a byte order mark', () => Buffer.from(`\uFEFF${ccdText}`)],
  ['no declaration', () => Buffer.from(ccdText.slice(ccdText.indexOf('?>') + 2).trimStart())],
  ['UTF-16 little endian', () => Buffer.from(`\uFEFF${changed('"UTF-8"', '"UTF-16"')}`, 'utf16le')],
  ['UTF-16 big endian', () => Buffer.from(`\uFEFF${changed('"UTF-8"', '"utf-16"')}`, 'utf16le').swap16()],
  [
    'UTF-16 with nothing but its mark',
    () => Buffer.from(`\uFEFF${changed(' encoding="UTF-8"', '')}`, 'utf16le'),
  ],
  [
    'Latin-1 as declared',
    () =>
      Buffer.from(
        changed('"UTF-8"', '"ISO-8859-1"')
          .replace(/[^\0-\u00ff]/g, '-')
          .replace('Ellen', 'Élise'),
        'latin1',
      ),
  ],
  ['CRLF', () => Buffer.from(ccdText.replaceAll('\n', '\r\n'))],
  [
    'another prefix',
    () => Buffer.from(ccdText.replaceAll(/<(\/?)(?=[A-Za-z])/g, '<$1v3:').replace('xmlns=', 'xmlns:v3=')),
  ],
  ['names in CDATA', () => Buffer.from(changed('>Ross<', '><![CDATA[Ro]]>ss<'))],
  ['a character reference in the name', () => Buffer.from(changed('>Ross<', '>&#82;oss<'))],
  [
    'comments everywhere',
    () => Buffer.from(changed('<family>Ross', '<!-- > --><family><!-- x -->Ro<!-- < -->ss')),
  ],
  [
    'a second name of another kind',
    () =>
      Buffer.from(changed('</name>', '</name><name use="P"><given>E</given><family>Rossi</family></name>')),
  ],
  ['birth time to the second', () => Buffer.from(changed('"19560814"', '"19560814101112-0500"'))],
  ['a template behind the prolog', () => Buffer.from(changed('?>', '?><!-- made by --><?app x?>'))],
])('the same document with %s passes', async (_, document) => {
  expect(await gate(document())).toMatchObject({ passed: true })
})

test.each<[string, () => string, string]>([
  [
    'no header template',
    () => ccdText.replaceAll('2.16.840.1.113883.10.20.22.1.1"', '1.2.3"'),
    'header-template',
  ],
  ['another realm', () => changed('realmCode code="US"', 'realmCode code="FR"'), 'realm'],
  ['no title', () => changed(/<title>[^<]*<\/title>/, ''), 'title'],
  ['no confidentiality', () => changed(/<confidentialityCode [^>]*>/, ''), 'confidentiality'],
  [
    'confidentiality unknown',
    () => changed(/<confidentialityCode [^>]*>/, '<confidentialityCode nullFlavor="NI"/>'),
    'confidentiality',
  ],
  ['a stylesheet', () => changed('?>', '?><?xml-stylesheet type="text/xsl" href="CDA.xsl"?>'), 'stylesheet'],
  ['code and template that differ', () => changed('code="34133-9"', 'code="18842-5"'), 'code-template'],
  [
    'a mistyped code beside a clear template',
    () => changed('code="34133-9"', 'code="57113-1"'),
    'code-unknown',
  ],
  [
    'the code in a translation',
    () =>
      changed(
        /<code code="34133-9"([^>]*)\/>/,
        '<code code="34113-9"$1><translation code="34133-9"/></code>',
      ),
    'code-translation',
  ],
])('%s is noted, and stops nothing', async (_, document, code) => {
  const result = await gate(document())
  expect(result).toMatchObject({ passed: true })
  if (result.passed) expect(result.findings.map((finding) => finding.code)).toContain(code)
})

const hour = 3_600_000
const from = (ms: number) => new Date(madeAt.getTime() + ms)
const timed = (value: string) =>
  Buffer.from(changed(/<effectiveTime value="\d+\+0000"\/>(?=\s*<conf)/, `<effectiveTime value="${value}"/>`))

test.each<[string, Buffer, Partial<Expectations>, string]>([
  ['made after the event', ccd, { occurredAt: from(-hour) }, 'passed'],
  ['made at the event', ccd, { occurredAt: madeAt }, 'passed'],
  ['older, within the tolerance', ccd, { occurredAt: from(hour), freshnessToleranceMs: hour }, 'passed'],
  [
    'older than the tolerance',
    ccd,
    { occurredAt: from(hour + 1000), freshnessToleranceMs: hour },
    'document-stale',
  ],
  ['for a request, however old', ccd, { at: from(1000 * 24 * hour) }, 'passed'],
  ['a day ahead of our clock', ccd, { at: from(-24 * hour) }, 'passed'],
  ['further ahead than clocks differ', ccd, { at: from(-24 * hour - 1000) }, 'document-refused'],
  [
    'of the day of the event, time unknown',
    timed('20260601'),
    { occurredAt: from(6 * hour), freshnessToleranceMs: 0 },
    'passed',
  ],
  ['of the day before', timed('20260531'), { occurredAt: madeAt, freshnessToleranceMs: 0 }, 'document-stale'],
  [
    'in the zone of the settings',
    timed('20260601070000'),
    { occurredAt: madeAt, freshnessToleranceMs: 0, timezone: 'America/Chicago' },
    'passed',
  ],
  [
    'in another zone',
    timed('20260601070000'),
    { occurredAt: madeAt, freshnessToleranceMs: 0 },
    'document-stale',
  ],
  [
    'a zone without minutes',
    timed('20260601070000-05'),
    { occurredAt: madeAt, freshnessToleranceMs: 0 },
    'passed',
  ],
  [
    'fractions of a second',
    timed('20260601120000.000+0000'),
    { occurredAt: madeAt, freshnessToleranceMs: 0 },
    'passed',
  ],
])('freshness: %s', async (_, document, changes, expected) => {
  const result = await gate(document, changes)
  expect(result.passed ? 'passed' : result.code).toBe(expected)
})

test('in pieces of any size the verdict is the same', async () => {
  const documents = [
    ccd,
    Buffer.from(`\uFEFF${ccdText.replace('"UTF-8"', '"UTF-16"')}`, 'utf16le'),
    Buffer.from(changed('"E1001"', '"E1002"')),
  ]
  const whole = await Promise.all(documents.map((document) => gate(document)))
  await fc.assert(
    fc.asyncProperty(
      fc.nat(documents.length - 1),
      fc.array(fc.nat(ccd.length * 2), { maxLength: 20 }),
      async (which, cuts) => {
        const document = documents[which]!
        const at = [0, ...cuts.filter((cut) => cut < document.length).sort((a, b) => a - b), document.length]
        const pieces = at.slice(1).map((end, index) => document.subarray(at[index], end))
        expect(await passGate(pieces, anExpectation())).toEqual(whole[which])
      },
    ),
    { numRuns: 60 },
  )
})
