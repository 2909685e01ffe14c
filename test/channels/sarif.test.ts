import { expect, test } from '@jest/globals'
import { problemCodes } from '../../src/channels/problem.ts'
import type { Problem } from '../../src/channels/problem.ts'
import { sarifOf } from '../../src/channels/sarif.ts'

interface Log {
  readonly version: string
  readonly runs: readonly {
    readonly tool: {
      readonly driver: { readonly name: string; readonly rules: readonly { readonly id: string }[] }
    }
    readonly results: readonly { readonly ruleId: string; readonly ruleIndex: number }[]
  }[]
}

const problem: Problem = {
  file: 'channels/ADT Main.yaml',
  line: 14,
  column: 3,
  severity: 'error',
  code: 'unknown-key',
  what: 'the key "fliter" is not known here',
  remedy: 'did you mean "filter"?',
}
const logOf = (...problems: Problem[]) => sarifOf(problems) as unknown as Log

test('a finding is a result of the rule with its code, at its place', () => {
  const [run] = logOf(problem).runs
  const [result] = run!.results
  expect(result).toEqual({
    ruleId: 'unknown-key',
    ruleIndex: Object.keys(problemCodes).indexOf('unknown-key'),
    level: 'error',
    message: { text: 'the key "fliter" is not known here\ndid you mean "filter"?' },
    locations: [
      {
        physicalLocation: {
          artifactLocation: { uri: 'channels/ADT%20Main.yaml' },
          region: { startLine: 14, startColumn: 3 },
        },
      },
    ],
  })
  expect(run!.tool.driver.rules[result!.ruleIndex]!.id).toBe('unknown-key')
})

test('without findings it is a run with no results, and every code is a rule', () => {
  const log = logOf()
  expect(log.version).toBe('2.1.0')
  expect(log.runs[0]!.results).toEqual([])
  expect(log.runs[0]!.tool.driver.rules.map(({ id }) => id)).toEqual(Object.keys(problemCodes))
})

test.each([
  ['/srv/feeds/channels/a.yaml', 'file:///srv/feeds/channels/a.yaml'],
  ['channels/50%.yaml', 'channels/50%25.yaml'],
  ['C:\\feeds\\channels\\a.yaml', 'file:///C:/feeds/channels/a.yaml'],
])('a file elsewhere has a URI: %s', (file, uri) => {
  expect(JSON.stringify(logOf({ ...problem, file }))).toContain(`"uri":"${uri}"`)
})
