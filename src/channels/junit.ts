import type { Problem } from './problem.ts'
import type { TestResult } from './run-tests.ts'

/**
 * Results as the XML that build servers read (JUnit): a suite for each channel, a case for each test. What keeps a channel
 * from being loaded, or is required and not shown, is a suite with an error for each finding.
 */
export function junitOf(results: readonly TestResult[], problems: readonly Problem[]): string {
  const channels = [...new Set(results.map(({ channel }) => channel))]
  const failures = results.filter(({ passed }) => !passed).length
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites name="bluepost" tests="${results.length + problems.length}" failures="${failures}" errors="${problems.length}">`,
    ...channels.flatMap((channel) =>
      suiteOf(
        channel,
        results.filter((one) => one.channel === channel),
      ),
    ),
    ...(problems.length === 0 ? [] : problemSuite(problems)),
    '</testsuites>\n',
  ].join('\n')
}

function suiteOf(channel: string, results: readonly TestResult[]): string[] {
  const failures = results.filter(({ passed }) => !passed).length
  return [
    `  <testsuite name="${text(channel)}" tests="${results.length}" failures="${failures}" errors="0" skipped="0">`,
    ...results.flatMap(({ name, at, differences }) => {
      const [file, line] = [at.slice(0, at.lastIndexOf(':')), at.slice(at.lastIndexOf(':') + 1)]
      const head = `    <testcase classname="${text(channel)}" name="${text(name)}" file="${text(file)}" line="${text(line)}"`
      if (differences.length === 0) return [`${head}/>`]
      return [
        `${head}>`,
        `      <failure type="difference" message="${text(differences[0]!)}">${text(`${at}\n${differences.join('\n')}`)}</failure>`,
        '    </testcase>',
      ]
    }),
    '  </testsuite>',
  ]
}

function problemSuite(problems: readonly Problem[]): string[] {
  return [
    `  <testsuite name="files" tests="${problems.length}" failures="0" errors="${problems.length}" skipped="0">`,
    ...problems.flatMap(({ file, line, column, code, what, remedy = '' }) => [
      `    <testcase classname="files" name="${text(`${file}:${line}:${column}`)}" file="${text(file)}" line="${line}">`,
      `      <error type="${text(code)}" message="${text(what)}">${text(remedy)}</error>`,
      '    </testcase>',
    ]),
    '  </testsuite>',
  ]
}

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  '\n': '&#10;',
  '\t': '&#9;',
}

/** Character data and attribute values (XML 1.0 §2.2, §2.4): what no XML may hold becomes U+FFFD. */
function text(value: string): string {
  return value
    .toWellFormed()
    .replaceAll(/[\u0000-\u0008\u000b-\u001f\ufffe\uffff]/g, '\ufffd')
    .replaceAll(/[&<>"\n\t]/g, (character) => entities[character]!)
}
