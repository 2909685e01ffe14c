import { docsOf, problemCodes } from './problem.ts'
import type { Problem, ProblemCode } from './problem.ts'

/**
 * Findings as a SARIF 2.1.0 log (OASIS, §3.13): what code hosts and editors show beside the lines. Every code is a rule,
 * so that one without findings is known, too.
 */
export function sarifOf(problems: readonly Problem[]): Readonly<Record<string, unknown>> {
  const codes = Object.keys(problemCodes) as ProblemCode[]
  return {
    $schema: 'https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json',
    version: '2.1.0',
    runs: [
      {
        tool: {
          driver: {
            name: 'bluepost',
            rules: codes.map((code) => ({
              id: code,
              shortDescription: { text: problemCodes[code] },
              help: { text: `${docsOf(code)} says why, and what to do.` },
            })),
          },
        },
        // Columns count as the files are read: in UTF-16 code units (§3.14.17).
        columnKind: 'utf16CodeUnits',
        results: problems.map((problem) => resultOf(problem, codes.indexOf(problem.code))),
      },
    ],
  }
}

function resultOf(
  { file, line, column, severity, code, what, remedy }: Problem,
  ruleIndex: number,
): Readonly<Record<string, unknown>> {
  return {
    ruleId: code,
    ruleIndex,
    level: severity,
    message: { text: remedy === undefined ? what : `${what}\n${remedy}` },
    locations: [
      {
        physicalLocation: {
          artifactLocation: { uri: uriOf(file) },
          region: { startLine: line, startColumn: column },
        },
      },
    ],
  }
}

/** A relative reference, or an absolute file URI where the file lies elsewhere (§3.4.3). */
function uriOf(file: string): string {
  const path = file.replaceAll('\\', '/').split('/').map(encodeURIComponent).join('/')
  if (path.startsWith('/')) return `file://${path}`
  return /^[A-Za-z]%3A/.test(path) ? `file:///${path.replace('%3A', ':')}` : path
}
