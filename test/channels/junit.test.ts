import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { SaxesParser } from 'saxes'
import { junitOf } from '../../src/channels/junit.ts'
import type { Problem } from '../../src/channels/problem.ts'
import type { TestResult } from '../../src/channels/run-tests.ts'

interface Element {
  readonly name: string
  readonly attributes: Readonly<Record<string, string>>
  text: string
}

/** The elements in the order they open, as a strict parser reads them. */
function read(xml: string): Element[] {
  const elements: Element[] = []
  const open: Element[] = []
  const parser = new SaxesParser()
  parser.on('error', (error) => {
    throw error
  })
  parser.on('opentag', ({ name, attributes }) => {
    const element = { name, attributes, text: '' }
    elements.push(element)
    open.push(element)
  })
  parser.on('text', (text) => {
    const element = open.at(-1)
    if (element !== undefined) element.text += text
  })
  parser.on('closetag', () => void open.pop())
  parser.write(xml).close()
  return elements
}

const passed: TestResult = {
  channel: 'adt',
  name: 'goes home',
  at: 'channels/adt.yaml:22',
  passed: true,
  differences: [],
}
const failed: TestResult = {
  ...passed,
  name: 'stays <here> & "there"',
  passed: false,
  differences: ['event.kind: expected "a", got "b"', 'because: expected ]]>, got &amp;'],
}
const problem: Problem = {
  file: 'channels/b.yaml',
  line: 3,
  column: 7,
  severity: 'error',
  code: 'unknown-key',
  what: 'the key "fliter" is not known here',
}

test('a suite for each channel, a case for each test, an error for what keeps a channel from running', () => {
  const elements = read(junitOf([passed, failed], [problem]))
  expect(elements.map(({ name }) => name)).toEqual([
    ...['testsuites', 'testsuite', 'testcase', 'testcase', 'failure', 'testsuite', 'testcase', 'error'],
  ])
  expect(elements[0]!.attributes).toMatchObject({ tests: '3', failures: '1', errors: '1' })
  expect(elements[3]!.attributes).toEqual({
    ...{ classname: 'adt', name: 'stays <here> & "there"', file: 'channels/adt.yaml', line: '22' },
  })
  expect(elements[4]).toMatchObject({
    attributes: { message: 'event.kind: expected "a", got "b"' },
    text: 'channels/adt.yaml:22\nevent.kind: expected "a", got "b"\nbecause: expected ]]>, got &amp;',
  })
  expect(elements[7]!.attributes).toMatchObject({ type: 'unknown-key' })
})

test('whatever names and values hold, it is well-formed and says the same', () => {
  fc.assert(
    fc.property(
      fc.string({ unit: 'binary' }),
      fc.string({ unit: 'binary', minLength: 1 }),
      (name, difference) => {
        const [, , testcase, failure] = read(junitOf([{ ...failed, name, differences: [difference] }], []))
        const legal = (text: string) =>
          text.toWellFormed().replaceAll(/[\u0000-\u0008\u000b-\u001f\ufffe\uffff]/g, '\ufffd')
        expect(testcase!.attributes['name']).toBe(legal(name))
        expect(failure!.attributes['message']).toBe(legal(difference))
      },
    ),
  )
})
