import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { ccdOf } from '../neighbours/ccd.ts'
import { ccd, ccdText, changed, ellen, gate, madeAt } from './an-expectation.ts'

const patientId = `<id root="2.16.840.1.113883.19.5" extension="E1001"/>`

const doctype = (inside: string) => ccdText.replace('<ClinicalDocument', `${inside}<ClinicalDocument`)
const deep = (n: number) =>
  ccdText.replace('</ClinicalDocument>', `${'<x>'.repeat(n)}${'</x>'.repeat(n)}</ClinicalDocument>`)

const refusals: [string, number, () => Buffer | string, RegExp][] = [
  ['nothing', 1, () => '', /empty/],
  [
    'one byte too much',
    1,
    () => Buffer.concat([ccd, Buffer.alloc(200_001 - ccd.length, ' ')]),
    /larger than 200000 bytes/,
  ],
  ['UTF-7', 2, () => `+/v8-${ccdText}`, /UTF-7/],
  ['UTF-32', 2, () => Buffer.concat([Buffer.from([0, 0, 0xfe, 0xff]), ccd]), /UTF-32/],
  ['an encoding nobody knows', 2, () => changed('encoding="UTF-8"', 'encoding="x-user"'), /encoding/],
  [
    'Latin-1 bytes that say UTF-8',
    2,
    () => Buffer.from(ccdText.replace('Ellen', 'Éllen'), 'latin1'),
    /encoding/,
  ],
  ['a character cut at the end', 2, () => Buffer.concat([ccd, Buffer.from([0xc3])]), /encoding/],
  ['a NUL', 2, () => changed('Ellen', 'El\0len'), /NUL/],
  ['UTF-16 that declares UTF-8', 2, () => Buffer.from(`\uFEFF${ccdText}`, 'utf16le'), /declares another/],
  ['UTF-8 that declares UTF-16', 2, () => changed('encoding="UTF-8"', 'encoding="UTF-16"'), /UTF-16/],
  ['a mark that disagrees', 2, () => `\uFEFF${changed('"UTF-8"', '"ISO-8859-1"')}`, /disagree/],
  [
    'a declaration beyond sight',
    2,
    () => changed(' encoding=', `${' '.repeat(400)}encoding=`),
    /declaration/,
  ],
  ['a DOCTYPE', 3, () => doctype('<!DOCTYPE ClinicalDocument>'), /DOCTYPE/],
  [
    'an external entity',
    3,
    () => doctype('<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>'),
    /DOCTYPE/,
  ],
  ['an external DTD', 3, () => doctype('<!DOCTYPE x SYSTEM "http://127.0.0.1:1/x.dtd">'), /DOCTYPE/],
  ['a parameter entity', 3, () => doctype('<!DOCTYPE x [<!ENTITY % e "x">%e;]>'), /DOCTYPE/],
  ['a DOCTYPE that never ends', 3, () => `<!DOCTYPE x [${'<!ENTITY a "a">'.repeat(1000)}`, /DOCTYPE/],
  ['a page', 3, () => '<!doctype html><html></html>', /HTML/],
  ['a page in XHTML', 3, () => '<html xmlns="http://www.w3.org/1999/xhtml"/>', /HTML/],
  ['a page behind a comment', 3, () => '<!-- x --><html/>', /HTML/],
  ['a PDF', 3, () => '%PDF-1.7', /PDF/],
  ['an archive', 3, () => 'PK\x03\x04rest', /ZIP/],
  ['an OperationOutcome', 3, () => '{"resourceType":"OperationOutcome"}', /OperationOutcome/],
  [
    'an OperationOutcome in XML',
    3,
    () => '<OperationOutcome xmlns="http://hl7.org/fhir"/>',
    /OperationOutcome/,
  ],
  ['a FHIR Composition', 3, () => '<Composition xmlns="http://hl7.org/fhir"/>', /FHIR/],
  ['other JSON', 3, () => '[1]', /JSON/],
  ['elements nested without end', 3, () => deep(100_000), /nested/],
  [
    'attributes without end',
    3,
    () => changed('<title', `<y ${Array.from({ length: 101 }, (_, n) => `a${n}=""`).join(' ')}/><title`),
    /attributes/,
  ],
  ['identifiers without end', 3, () => changed(patientId, patientId.repeat(501)), /repeats/],
  ['the half of it', 4, () => ccd.subarray(0, 10_000), /well-formed/],
  ['plain text', 4, () => 'Ellen Ross was here', /well-formed/],
  ['two roots', 4, () => ccdText + ccdText.slice(ccdText.indexOf('<Clin')), /well-formed/],
  ['a prefix without namespace', 4, () => changed('<title>', '<q:x/><title>'), /prefix is not declared/],
  ['an entity of HTML', 4, () => changed('Ellen', 'Ellen&nbsp;'), /entity/],
  ['an attribute twice', 4, () => changed('<realmCode', '<realmCode code="US"'), /attribute/],
  ['an open element', 4, () => changed('</patientRole>', ''), /not closed/],
  ['another root', 5, () => '<Bundle xmlns="urn:hl7-org:v3"/>', /ClinicalDocument/],
  ['another namespace', 5, () => changed('urn:hl7-org:v3', 'urn:hl7-org:v2'), /urn:hl7-org:v3/],
  ['no namespace', 5, () => '<ClinicalDocument/>', /urn:hl7-org:v3/],
  [
    'nothing but a root',
    6,
    () => '<ClinicalDocument xmlns="urn:hl7-org:v3"/>',
    /code, effectiveTime, recordTarget/,
  ],
  [
    'no effectiveTime',
    6,
    () => changed(/<effectiveTime value="\d+\+0000"\/>\s*<conf/, '<conf'),
    /lacks effectiveTime/,
  ],
  ['no recordTarget', 6, () => changed(/<recordTarget>[^]*<\/recordTarget>/, ''), /lacks recordTarget/],
  ['two recordTargets', 7, () => changed(/<recordTarget>[^]*<\/recordTarget>/, '$&$&'), /2 patients/],
  ['two patientRoles', 7, () => changed(/<patientRole>[^]*<\/patientRole>/, '$&$&'), /2 patients/],
  ['two patients in one role', 7, () => changed(/<patient>[^]*<\/patient>/, '$&$&'), /2 patients/],
  ['another identifier', 7, () => changed('"E1001"', '"E1002"'), /no strong identifier/],
  [
    'the identifier elsewhere',
    7,
    () => changed('"2.16.840.1.113883.19.5"', '"1.2.3"'),
    /no strong identifier/,
  ],
  ['another birth date', 7, () => changed('19560814', '19560815'), /birth date/],
  ['another family name', 7, () => changed('>Ross<', '>Bates<'), /family name/],
  ['no name', 7, () => changed(/<name use="L">[^]*?<\/name>/, ''), /family name/],
  ['no birth time', 7, () => changed(/<birthTime [^>]*>/, ''), /birth date/],
  [
    'a birth time without value',
    7,
    () => changed(/<birthTime [^>]*>/, '<birthTime nullFlavor="UNK"/>'),
    /birth date/,
  ],
  [
    'the identifier of her provider only',
    7,
    () =>
      changed(patientId, '').replace(
        'root="2.16.840.1.113883.4.6" extension="1234567893"',
        'root="2.16.840.1.113883.19.5" extension="E1001"',
      ),
    /no strong identifier/,
  ],
  [
    'a code of another kind',
    8,
    () => ccdText.replaceAll('34133-9', '11502-2').replaceAll('20.22.1.2"', '20.22.1.99"'),
    /LOINC 11502-2/,
  ],
  ['a code that is none', 8, () => changed('code="34133-9"', 'code="Ellen Ross"'), /no LOINC code/],
  [
    'a date that is none',
    9,
    () => changed(/<effectiveTime value="\d+\+0000"\/>\s*<conf/, '<effectiveTime value="20260230"/><conf'),
    /no date/,
  ],
  [
    'a date of 27 digits',
    9,
    () =>
      changed(
        /<effectiveTime value="\d+\+0000"\/>\s*<conf/,
        `<effectiveTime value="${'2'.repeat(27)}"/><conf`,
      ),
    /no date/,
  ],
  [
    'a document marked R',
    10,
    () => changed('<confidentialityCode code="N"', '<confidentialityCode code="R"'),
    /restricted/,
  ],
  [
    'a document marked V',
    10,
    () => changed('<confidentialityCode code="N"', '<confidentialityCode code="V"'),
    /restricted/,
  ],
  [
    'a document marked PSY',
    10,
    () => changed('<confidentialityCode code="N"', '<confidentialityCode code="PSY"'),
    /restricted/,
  ],
  [
    'a section marked R',
    10,
    () =>
      changed(
        '<structuredBody>',
        '<structuredBody><component><section><confidentialityCode code="R"/></section></component>',
      ),
    /part of the document/,
  ],
]

test.each(refusals)('refused: %s, at step %i', async (_, step, document, because) => {
  const result = await gate(document(), { bytesMax: 200_000 })
  expect(result).toMatchObject({
    passed: false,
    step,
    code: step === 7 ? 'document-identity' : 'document-refused',
    because: expect.stringMatching(because),
  })
  // What is written down and shown quotes nothing of the document.
  if (!result.passed) expect(result.because).not.toMatch(/Ellen|Ross|Bates|E100\d|195608|passwd/)
})

test('arbitrary bytes never pass and never crash', async () => {
  const wild = fc.oneof(
    fc.uint8Array({ maxLength: 2000 }).map((bytes) => Buffer.from(bytes)),
    fc
      .array(
        fc.constantFrom(
          '<',
          '>',
          '</',
          '/>',
          '<?xml ',
          '?>',
          '<!--',
          '-->',
          '<![CDATA[',
          ']]>',
          '<!DOCTYPE ',
          '&',
          ';',
          '"',
          '=',
          'a',
          ' ',
          '\0',
          'ClinicalDocument',
          ' xmlns="urn:hl7-org:v3"',
          'recordTarget',
          '__proto__',
        ),
      )
      .map((parts) => Buffer.from(parts.join(''))),
  )
  await fc.assert(
    fc.asyncProperty(wild, async (bytes) => {
      expect(await gate(bytes)).toMatchObject({ passed: false, because: expect.stringMatching(/./) })
    }),
    { numRuns: 2000 },
  )
})

test('a document with bytes changed never crashes the gate, and passes only as the patient’s own', async () => {
  const small = ccdOf(ellen, { effectiveTime: madeAt, bytes: 9000 })
  const spoils = fc.array(fc.tuple(fc.nat(small.length - 1), fc.nat(255)), { minLength: 1, maxLength: 5 })
  await fc.assert(
    fc.asyncProperty(spoils, fc.nat(small.length), async (changes, length) => {
      const spoiled = Buffer.from(small)
      for (const [at, byte] of changes) spoiled[at] = byte
      const result = await gate(length % 2 === 0 ? spoiled : spoiled.subarray(0, length))
      if (!result.passed) return
      const kept = spoiled.toString('latin1')
      expect(kept).toContain('E1001')
      expect(kept.toLowerCase()).toContain('<family>ross')
    }),
    { numRuns: 1500 },
  )
})
