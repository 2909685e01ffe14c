import { expect, test } from '@jest/globals'
import { ccd, changed, gate } from './an-expectation.ts'

const body = (inside: string) => changed(/<component>[^]*<\/component>/, `<component>${inside}</component>`)
const inText = (inside: string) =>
  changed(
    '<structuredBody>',
    `<structuredBody><component><section><text>${inside}</text></section></component>`,
  )
const codes = async (document: Buffer | string) => {
  const result = await gate(document)
  return result.passed ? result.findings.map(({ code }) => code) : `${result.code} ${result.step}`
}

test.each([
  ['a PDF', '<text mediaType="application/pdf" representation="B64">JVBERi0=</text>', []],
  ['a text without type', '<text>Ellen was here</text>', []],
  [
    'a TIFF with parameters',
    '<text mediaType="Image/TIFF; application=faxbw" representation="B64">A</text>',
    [],
  ],
  [
    'a program',
    '<text mediaType="application/x-msdownload" representation="B64">TVo=</text>',
    'document-refused 11',
  ],
  ['a file that is elsewhere', '<text><reference value="scan.pdf"/></text>', 'document-refused 11'],
  [
    'a file on a server',
    '<text mediaType="application/pdf"><reference value="https://a.example/x"/></text>',
    'document-refused 11',
  ],
])('a document that is nothing but %s: %j', async (_, inside, expected) => {
  expect(await codes(body(`<nonXMLBody>${inside}</nonXMLBody>`))).toEqual(expected)
})

test.each([
  ['within the document', '<linkHtml href="#section1">x</linkHtml><reference value="#a"/>', []],
  ['to a page', '<linkHtml href="https://a.example/">x</linkHtml>', ['outside-link']],
  ['to a picture on another server', '<reference value="//a.example/p.png"/>', ['outside-link']],
  ['to a share', '<reference value="\\\\host\\share"/>', ['outside-link']],
  ['that runs a script', '<linkHtml href="javascript:alert(1)">x</linkHtml>', 'document-refused 12'],
  [
    'that hides it',
    '<linkHtml href=" &#x1;Java&#x9;Script&#xA;:alert(1)">x</linkHtml>'.replace('&#x1;', ''),
    'document-refused 12',
  ],
  ['to a page of its own', '<linkHtml href="data:text/html;base64,PGI+">x</linkHtml>', 'document-refused 12'],
])('a link %s: %j', async (_, inside, expected) => {
  expect(await codes(inText(inside))).toEqual(expected)
})

const styled = (instruction: string) => changed('?>', `?>${instruction}`)

test.each([
  ['beside the document', '<?xml-stylesheet type="text/xsl" href="CDA.xsl"?>', ['stylesheet']],
  [
    'on a server',
    "<?xml-stylesheet href='https://a.example/c.xsl' type='text/xsl'?>",
    ['stylesheet-outside'],
  ],
  ['twice', '<?xml-stylesheet href="a.xsl"?><?xml-stylesheet href="//b/b.xsl"?>', ['stylesheet-outside']],
  ['in a comment', '<!-- <?xml-stylesheet href="https://a.example/c.xsl"?> -->', []],
])('a stylesheet %s is noted: %j', async (_, instruction, expected) => {
  expect(await codes(styled(instruction))).toEqual(expected)
})

test('whatever is noted, the bytes are not touched', async () => {
  const bytes = Buffer.from(styled('<?xml-stylesheet href="https://a.example/c.xsl"?>'))
  const before = Buffer.from(bytes)
  await gate(bytes)
  expect(bytes.equals(before)).toBe(true)
  expect(await codes(ccd)).toEqual([])
})
