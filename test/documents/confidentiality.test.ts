import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import {
  judgeConfidentiality,
  usualConfidentiality,
  type ConfidentialityPolicy,
} from '../../src/documents/confidentiality.ts'
import { changed, gate } from './an-expectation.ts'

const header = (code: string) => changed('<confidentialityCode code="N"', `<confidentialityCode ${code}`)
const inBody = (inside: string) =>
  changed('<structuredBody>', `<structuredBody><component><section>${inside}</section></component>`)
const section = inBody('<confidentialityCode code="R"/>')
const entry = inBody(
  `<entry><organizer classCode="CLUSTER" moodCode="EVN"><component><observation classCode="OBS" moodCode="EVN">
   <templateId root="2.16.840.1.113883.3.445.12"/><code code="SECCLASSOBS" codeSystem="2.16.840.1.113883.1.11.20457"/>
   <value code="R" codeSystem="2.16.840.1.113883.5.25"/></observation></component></organizer></entry>`,
)
const policy = (changes: Partial<ConfidentialityPolicy>) => ({
  confidentiality: { ...usualConfidentiality, ...changes },
})

test.each([
  ['R in the header', header('code="R"')],
  ['V in the header', header('code="V"')],
  ['a code of another system in the header', header('code="PSY"')],
  ['a typing error in the header', header('code="jsalkj"')],
  ['a label that is kept from us', header('nullFlavor="MSK"').replace(' codeSystem=', ' x=')],
  ['R on a section', section],
  ['R on an entry (DS4P)', entry],
  ['an unknown code on a section', section.replace('code="R"', 'code="PSY"')],
  ['N twice, then R in the header', header('code="N"/><confidentialityCode code="R"')],
])('%s is held, unless the authorization covers sensitive data', async (_, document) => {
  expect(await gate(document)).toMatchObject({ passed: false, step: 10, code: 'document-refused' })
  expect(await gate(document, { sensitiveData: 'included' })).toMatchObject({
    passed: true,
    findings: [{ code: 'restricted' }],
  })
})

test('a source that stamps every header R may be told to mean nothing by it; a part marked R is never a stamp', async () => {
  const stamps = policy({ restricted: 'send' })
  expect(await gate(header('code="R"'), stamps)).toMatchObject({
    passed: true,
    findings: [{ code: 'restricted' }],
  })
  for (const document of [section, entry, header('code="V"'), header('code="PSY"')])
    expect(await gate(document, stamps)).toMatchObject({ passed: false, step: 10 })
  const both = section.replace('<confidentialityCode code="N"', '<confidentialityCode code="R"')
  expect(await gate(both, stamps)).toMatchObject({ passed: false, step: 10 })
})

test.each([
  ['nothing', changed(/<confidentialityCode [^>]*>/, '')],
  ['a nullFlavor', changed(/<confidentialityCode [^>]*>/, '<confidentialityCode nullFlavor="NI"/>')],
])('%s in place of a label passes with a note, or is held where the settings say so', async (_, document) => {
  expect(await gate(document)).toMatchObject({ passed: true, findings: [{ code: 'confidentiality' }] })
  expect(await gate(document, policy({ missing: 'hold' }))).toMatchObject({ passed: false, step: 10 })
})

test('an unknown code may be let pass by the settings, with a note', async () => {
  expect(await gate(header('code="PSY"'), policy({ unknown: 'send' }))).toMatchObject({
    passed: true,
    findings: [{ code: 'confidentiality' }],
  })
})

test('another label never makes a document less confidential than it was', () => {
  const code = fc.constantFrom('N', 'M', 'L', 'U', 'R', 'V', 'PSY', 'NI', 'MSK')
  const choice = fc.constantFrom('hold' as const, 'send' as const)
  fc.assert(
    fc.property(
      fc.option(code, { nil: undefined }),
      fc.array(code),
      code,
      fc.record({ restricted: choice, missing: choice, unknown: choice }),
      (whole, parts, more, rules) => {
        const before = judgeConfidentiality({ whole, parts }, rules, 'excluded')
        const after = judgeConfidentiality({ whole, parts: [...parts, more] }, rules, 'excluded')
        expect(after.held || !before.held).toBe(true)
        if (more === 'V' || more === 'R') expect(after.held).toBe(true)
        expect(judgeConfidentiality({ whole, parts }, rules, 'included').held).toBe(false)
      },
    ),
  )
})
