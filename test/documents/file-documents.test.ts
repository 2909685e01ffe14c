import { afterEach, beforeEach, expect, test } from '@jest/globals'
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { documentFolder } from '../../src/documents/file-documents.ts'
import type { WantedDocument } from '../../src/documents/find-document.ts'

const ashby = 'urn:oid:2.16.840.1.113883.19.5'
const aliases = new Map([
  [ashby, ashby],
  ['ASHBY', ashby],
])
const at = new Date('2026-06-01T12:00:00Z')
let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'folder-'))
  for (const name of ['old.xml', 'new.xml', 'discharge.xml']) writeFileSync(join(folder, name), `<${name}/>`)
})
afterEach(() => rmSync(folder, { recursive: true }))

const head = 'authority\tidentifier\tfile\tcode\tdate'
const index = (...lines: string[]) => writeFileSync(join(folder, 'index.tsv'), [head, ...lines].join('\n'))
const places = () => documentFolder(folder, './archive', aliases)
const wanted = (changes: Partial<WantedDocument> = {}): WantedDocument => ({
  patient: {
    identifiers: [{ system: ashby, value: 'E1001' }],
    family: 'Ross',
    birthDate: '1956-08-14',
  },
  aliases,
  documentCodes: ['34133-9'],
  bytesMax: 1000,
  ...changes,
})
const told = async (changes: Partial<WantedDocument> = {}, place = places()) => {
  const { summary, additional } = await place.find(wanted(changes), at)
  return [summary, ...additional].map(({ bytes, source }) => `${bytes.toString()} ${source}`)
}

test('the newest of the patient is found, by every spelling of the authority', async () => {
  index(
    'ASHBY\tE1001\tnew.xml\t34133-9\t2026-06-01T10:00:00Z',
    '2.16.840.1.113883.19.5\tE1001\told.xml\t34133-9\t2026-05-01',
    'ASHBY\tE1002\tdischarge.xml\t34133-9\t2026-06-01T11:00:00Z',
  )
  expect(await told()).toEqual(['<new.xml/> ./archive/index.tsv:2'])
})

test('of several without a date the last one counts, and a further document goes along', async () => {
  index(
    'ASHBY\tE1001\told.xml\t34133-9',
    'ASHBY\tE1001\tnew.xml\t34133-9',
    'ASHBY\tE1001\tdischarge.xml\t18842-5',
  )
  expect(await told({ additionalCodes: ['18842-5'] })).toEqual([
    '<new.xml/> ./archive/index.tsv:3',
    '<discharge.xml/> ./archive/index.tsv:4',
  ])
})

test('a changed index is read again', async () => {
  const place = places()
  index('ASHBY\tE1001\told.xml\t34133-9')
  await told({}, place)
  index('ASHBY\tE1001\tnew.xml\t34133-9', '')
  expect(await told({}, place)).toEqual(['<new.xml/> ./archive/index.tsv:2'])
})

test.each<[string, string, Partial<WantedDocument>, string]>([
  ['of nobody', 'ASHBY\t01001\told.xml\t34133-9', {}, 'patient-unknown'],
  ['of an authority nobody knows', 'OTHER\tE1001\told.xml\t34133-9', {}, 'patient-unknown'],
  ['of another type', 'ASHBY\tE1001\told.xml\t11502-2', {}, 'document-missing'],
  ['that is not there yet', 'ASHBY\tE1001\tnext.xml\t34133-9', {}, 'document-missing'],
  [
    'that is too old',
    'ASHBY\tE1001\told.xml\t34133-9\t2026-05-01',
    { freshAfter: new Date('2026-05-31') },
    'document-stale',
  ],
  ['that is too large', 'ASHBY\tE1001\told.xml\t34133-9', { bytesMax: 5 }, 'document-refused'],
  ['outside', 'ASHBY\tE1001\t../../../etc/passwd\t34133-9', {}, 'document-refused'],
  ['that is a folder', 'ASHBY\tE1001\t.\t34133-9', {}, 'document-refused'],
])('a document %s is not found', async (_, line, changes, code) => {
  index(line)
  await expect(told(changes)).rejects.toMatchObject({ code })
})

test('a link that leads out of the folder is not followed', async () => {
  const outside = mkdtempSync(join(tmpdir(), 'outside-'))
  writeFileSync(join(outside, 'x.xml'), '<x/>')
  symlinkSync(join(outside, 'x.xml'), join(folder, 'link.xml'))
  index('ASHBY\tE1001\tlink.xml\t34133-9')
  await expect(told()).rejects.toMatchObject({
    code: 'document-refused',
    because: expect.stringContaining('outside the folder'),
  })
  rmSync(outside, { recursive: true })
})

test('an index without its columns says so; without an index there is nothing yet', async () => {
  await expect(told()).rejects.toMatchObject({ code: 'document-missing' })
  writeFileSync(join(folder, 'index.tsv'), 'identifier\tfile\nE1001\told.xml')
  await expect(told()).rejects.toMatchObject({
    code: 'document-refused',
    because: expect.stringContaining('authority, code'),
  })
})
