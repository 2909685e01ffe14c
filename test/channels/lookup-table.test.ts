import { describe, expect, test } from '@jest/globals'
import { readLookupTable } from '../../src/channels/lookup-table.ts'

/** The rows of a table, or its findings as line and words. */
function read(text: string): unknown {
  const { table, problems } = readLookupTable('t.csv', 't', text)
  return table === undefined
    ? problems.map(({ line, what }) => `${line}: ${what}`)
    : Object.fromEntries(table.table.rows)
}

describe('a table is CSV as spreadsheets write it', () => {
  test.each([
    ['plain', 'from,to\nI,IMP\n'],
    ['without an end of the last line', 'from,to\nI,IMP'],
    ['with CRLF', 'from,to\r\nI,IMP\r\n'],
    ['with a byte order mark', '\ufefffrom,to\nI,IMP\n'],
    ['with empty lines', 'from,to\n\nI,IMP\n\n'],
    ['with blanks around cells', 'from , to\n I , IMP \n'],
    ['with notes', 'from,to,note\nI,IMP,"inpatient, as we say"\n'],
    ['with quotes', '"from","to"\n"I","IMP"\n'],
    ['with a note over two lines', 'from,to,note\nI,IMP,"one\ntwo"\n'],
    ['with empty cells for the note', 'from,to,note\nI,IMP,\n'],
  ])('%s', (_, text) => {
    expect(read(text)).toEqual({ I: 'IMP' })
  })

  test('codes keep zeros, case and what is in quotes', () => {
    expect(read('from,to\n01,a\n1,b\nx,c\nX,d\n"a,""b""",e\n')).toEqual({
      '01': 'a',
      1: 'b',
      x: 'c',
      X: 'd',
      'a,"b"': 'e',
    })
  })

  test.each([
    ['from,to\nI,IMP\nI,AMB\n', ['3: "I" stands in line 2 already']],
    ['from,to,note\nI,IMP,"one\ntwo"\nI,AMB,\n', ['4: "I" stands in line 2 already']],
    ['from,to\nI\n', ['2: the row has 1 cells, not 2']],
    ['from,to\n,x\n', ['2: the cell from is empty']],
    ['from,to\n"I,IMP\n', ['2: a quote is opened and never closed']],
    ['from,to\n"I"x,IMP\n', ['2: text stands behind a closing quote']],
    ['from,to\n', ['1: the table has no rows']],
    ['', ['1: the first line must be from,to or from,to,note']],
    ['I,IMP\n', ['1: the first line must be from,to or from,to,note']],
  ])('%j: found with its line', (text, problems) => {
    expect(read(text)).toEqual(problems)
  })
})
