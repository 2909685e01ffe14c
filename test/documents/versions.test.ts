import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { compareVersions, type DocumentVersion } from '../../src/documents/versions.ts'

const day = 86_400_000
const noon = new Date('2026-06-01T12:00:00Z')
const later = (ms: number) => new Date(noon.getTime() + ms)

function aVersion(changes: Partial<DocumentVersion> = {}): DocumentVersion {
  return {
    sha256: 'aa',
    code: '34133-9',
    effectiveTime: noon,
    effectiveUntil: noon,
    setId: 'set',
    versionNumber: '2',
    ...changes,
  }
}
const made = (ms: number) => ({ effectiveTime: later(ms), effectiveUntil: later(ms) })

test.each<[string, Partial<DocumentVersion>, string]>([
  ['the same bytes', {}, 'same'],
  ['the next version', { sha256: 'bb', versionNumber: '3', ...made(-day) }, 'newer'],
  ['version 10 after 2', { sha256: 'bb', versionNumber: '10' }, 'newer'],
  ['the version before', { sha256: 'bb', versionNumber: '1', ...made(day) }, 'older'],
  ['the same version with other bytes', { sha256: 'bb' }, 'newer'],
  ['the same version, made earlier', { sha256: 'bb', ...made(-day) }, 'older'],
  ['a version that is no number', { sha256: 'bb', versionNumber: 'II', ...made(day) }, 'newer'],
  ['another set, made later', { sha256: 'bb', setId: 'x', ...made(1) }, 'newer'],
  ['another set, made earlier', { sha256: 'bb', setId: 'x', ...made(-1) }, 'older'],
  ['no set, made earlier', { sha256: 'bb', setId: null, ...made(-1) }, 'older'],
  [
    'made some time on the same day',
    { sha256: 'bb', setId: null, effectiveTime: later(-day / 2), effectiveUntil: later(day / 2) },
    'newer',
  ],
  [
    'another type of document, made earlier',
    { sha256: 'bb', setId: 'x', code: '18842-5', ...made(-day) },
    'newer',
  ],
  ['something that is no C-CDA', { sha256: 'bb', setId: null, code: null, ...made(-day) }, 'newer'],
])('%s is %s', (_, changes, expected) => {
  expect(compareVersions(aVersion(changes), aVersion()).verdict).toBe(expected)
})

test('of two different documents at most one is older', () => {
  const time = fc.option(
    fc.integer({ min: -2, max: 2 }).map((days) => later(days * day)),
    { nil: null },
  )
  const version = fc
    .record({
      sha256: fc.constantFrom('aa', 'bb', 'cc'),
      code: fc.constantFrom('34133-9', '18842-5', null),
      effectiveTime: time,
      setId: fc.constantFrom('set', 'other', null),
      versionNumber: fc.constantFrom('1', '2', '10', 'x', null),
    })
    .map((one) => ({ ...one, effectiveUntil: one.effectiveTime }))
  fc.assert(
    fc.property(version, version, (one, other) => {
      const both = [compareVersions(one, other).verdict, compareVersions(other, one).verdict]
      expect(both).not.toEqual(['older', 'older'])
      expect(both[0] === 'same').toBe(both[1] === 'same')
    }),
  )
})
