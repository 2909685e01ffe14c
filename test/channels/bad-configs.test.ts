import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { formatProblem } from '../../src/channels/problem.ts'
import { loadChannels } from '../../src/channels/load.ts'
import type { LoadedChannels } from '../../src/channels/load.ts'

// Each folder of test/bad-configs holds the files that differ from base/, and in expected.txt what the analyst reads.
// BLUEPOST_GOLDEN=write writes the expectations anew; look at the difference before keeping it.
const corpus = join(import.meta.dirname, '../bad-configs')
const cases = readdirSync(corpus).filter((name) => name !== 'base')

function load(name: string): LoadedChannels & { readonly text: string } {
  const folder = mkdtempSync(join(tmpdir(), 'bluepost-'))
  try {
    cpSync(join(corpus, 'base'), folder, { recursive: true })
    if (name !== 'base') cpSync(join(corpus, name), folder, { recursive: true })
    const loaded = loadChannels({
      channelsDirectory: join(folder, 'channels'),
      mappingsDirectory: join(folder, 'mappings'),
      environment: {},
      secrets: {
        secret: (secret) => (['mllp-cert', 'mllp-key', 'mllp-ca'].includes(secret) ? 'pem' : undefined),
      },
      fhirServers: ['clinic-r4'],
    })
    const text = loaded.problems.map(formatProblem).join('\n').replaceAll(`${folder}/`, '')
    return { ...loaded, text: `${text}\n` }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

test('the base is right, so that each case shows one thing', () => {
  const { plans, text } = load('base')
  expect(text).toBe('\n')
  expect(plans.map((plan) => plan.name)).toEqual(['adt'])
})

test('there are enough ways to be wrong', () => {
  expect(cases.length).toBeGreaterThanOrEqual(30)
})

describe('a broken file is named with its place, what is wrong and what to do', () => {
  test.each(cases)('%s', (name) => {
    const { text } = load(name)
    const golden = join(corpus, name, 'expected.txt')
    if (process.env['BLUEPOST_GOLDEN'] === 'write') writeFileSync(golden, text)
    expect(existsSync(golden)).toBe(true)
    expect(text).toBe(readFileSync(golden, 'utf8'))
  })
})
