import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { docsOf, problemCodes } from '../../src/channels/problem.ts'
import type { ProblemCode } from '../../src/channels/problem.ts'

const root = join(import.meta.dirname, '../..')
const text = readFileSync(join(root, 'docs/findings.md'), 'utf8')
const sections = new Map(
  text
    .split(/^## /m)
    .slice(1)
    .map((section) => [section.slice(0, section.indexOf('\n')).trim(), section]),
)
const corpus = join(root, 'test/bad-configs')
const shown = readdirSync(corpus)
  .filter((name) => name !== 'base')
  .map((name) => readFileSync(join(corpus, name, 'expected.txt'), 'utf8'))
  .join('\n')
const codes = Object.keys(problemCodes) as ProblemCode[]

/** They need a file of their own size, a folder that is gone, or tests that are run: shown elsewhere. */
const notInCorpus = ['file-unreadable', 'file-too-large', 'untested-reason', 'untested-kind', 'test-failed']

test('every code has its heading, and no heading is of a code that is gone', () => {
  expect([...sections.keys()].sort()).toEqual([...codes].sort())
})

describe('each says what it is, why, what to do, and what one sees', () => {
  test.each(codes)('%s', (code) => {
    const section = sections.get(code) ?? ''
    expect(docsOf(code)).toBe(`docs/findings.md#${code}`)
    expect(section).toMatch(/\*\*Why\.\*\* \S/)
    expect(section).toMatch(/\*\*Do\.\*\* \S/)
    const example = new RegExp(`^\\S.*?:\\d+:\\d+ {2}(.*\\[${code}\\])$`, 'm').exec(section)?.[1]
    expect(example).toBeDefined()
    // What the page shows is what somebody really sees.
    if (!notInCorpus.includes(code)) expect(shown).toContain(example)
  })
})

test('every code is shown by a broken file', () => {
  expect(codes.filter((code) => !shown.includes(`[${code}]`)).sort()).toEqual(notInCorpus.toSorted())
  expect(readdirSync(corpus).length).toBeGreaterThan(60)
})
