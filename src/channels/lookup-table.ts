import type { LookupTable } from '../domain/channel.ts'
import { problemsPerFileMax } from './problem.ts'
import type { Problem, ProblemCode } from './problem.ts'

/** The largest code systems that anybody maps by hand have some thousand rows. */
export const tableBytesMax = 4 * 1024 * 1024

export interface TableFile {
  readonly table: LookupTable
  /** The line of each row, by its `from`. */
  readonly lines: ReadonlyMap<string, number>
}

/**
 * Reads CSV (RFC 4180) with the header `from,to` and, for the people who edit it, an optional third column `note`.
 * Spreadsheets write a byte order mark and CRLF: both are read.
 */
export function readLookupTable(
  file: string,
  name: string,
  text: string,
): { readonly table: TableFile | undefined; readonly problems: readonly Problem[] } {
  const problems: Problem[] = []
  const report = (line: number, code: ProblemCode, what: string, remedy?: string, column = 1): void => {
    problems.push({
      file,
      line,
      column,
      severity: 'error',
      code,
      what,
      ...(remedy !== undefined && { remedy }),
    })
  }
  const records = readCsv(text.replace(/^\ufeff/, ''), report)
  const [header, ...body] = records.filter(({ cells }) => cells.some((cell) => cell.trim() !== ''))
  const columns = header?.cells.map((cell) => cell.trim().toLowerCase()).join(',')
  if (columns !== 'from,to' && columns !== 'from,to,note') {
    const semicolon = columns?.includes(';') === true
    report(
      header?.line ?? 1,
      'table-format',
      'the first line must be from,to or from,to,note',
      semicolon ? 'the file is separated by semicolons: save it with commas' : 'add the header line',
    )
    return { table: undefined, problems }
  }
  const width = header!.cells.length
  const rows = new Map<string, string>()
  const lines = new Map<string, number>()
  for (const { cells, line } of body) {
    if (problems.length > problemsPerFileMax) break
    if (cells.length > width || cells.length < 2) {
      report(
        line,
        'table-format',
        `the row has ${cells.length} cells, not ${width}`,
        'put a text with a comma in quotes: "a, b"',
      )
      continue
    }
    const [from, to] = [cells[0]!.trim(), cells[1]!.trim()]
    if (from === '' || to === '') {
      report(
        line,
        'table-format',
        `the cell ${from === '' ? 'from' : 'to'} is empty`,
        'fill it, or remove the row',
      )
      continue
    }
    const before = lines.get(from)
    if (before !== undefined) {
      report(
        line,
        'table-duplicate',
        `"${from}" stands in line ${before} already`,
        'keep one of the two rows',
      )
      continue
    }
    rows.set(from, to)
    lines.set(from, line)
  }
  if (problems.length === 0 && rows.size === 0) report(1, 'table-format', 'the table has no rows')
  return problems.length > 0
    ? { table: undefined, problems }
    : { table: { table: { name, rows }, lines }, problems }
}

interface CsvRecord {
  readonly cells: readonly string[]
  readonly line: number
}

function readCsv(
  text: string,
  report: (line: number, code: ProblemCode, what: string, remedy?: string, column?: number) => void,
): readonly CsvRecord[] {
  const records: CsvRecord[] = []
  let cells: string[] = []
  let line = 1
  let startLine = 1
  let at = 0
  const finish = (): void => {
    records.push({ cells, line: startLine })
    cells = []
  }
  while (at < text.length) {
    if (text[at] === '"') {
      const opened = line
      let cell = ''
      at++
      for (;;) {
        const close = text.indexOf('"', at)
        if (close === -1) {
          report(opened, 'table-format', 'a quote is opened and never closed', 'close the quote')
          return records
        }
        const piece = text.slice(at, close)
        line += piece.split('\n').length - 1
        cell += piece
        at = close + 1
        if (text[at] !== '"') break
        cell += '"'
        at++
      }
      cells.push(cell)
      if (at < text.length && text[at] !== ',' && text[at] !== '\r' && text[at] !== '\n') {
        report(
          line,
          'table-format',
          'text stands behind a closing quote',
          'double quotes inside a text: "a ""b"" c"',
        )
        return records
      }
    } else {
      const end = endOfCell(text, at)
      cells.push(text.slice(at, end))
      at = end
    }
    if (text[at] === ',') {
      at++
      // A comma at the very end of the file opens one more, empty cell.
      if (at === text.length || text[at] === '\r' || text[at] === '\n') cells.push('')
      if (at < text.length && text[at] !== '\r' && text[at] !== '\n') continue
    }
    if (text[at] === '\r' && text[at + 1] === '\n') at++
    at++
    finish()
    line++
    startLine = line
  }
  if (cells.length > 0) finish()
  return records
}

function endOfCell(text: string, from: number): number {
  for (let at = from; at < text.length; at++) {
    const character = text[at]
    if (character === ',' || character === '\n' || character === '\r') return at
  }
  return text.length
}
