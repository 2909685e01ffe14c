import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { migrationTable } from '../../src/store/data-source.ts'
import { migrate } from '../../src/store/migrate.ts'
import { listQuarantine } from '../../src/store/quarantine.ts'
import { queryOf } from '../../src/store/query.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'

let database: TestDatabase
beforeAll(async () => {
  database = await freshDatabase()
})
afterAll(() => database.close())

/** Reasons as they were written before causes were, and the cause that the same message gets today. */
const causes: readonly (readonly [code: string | null, because: string, cause: string])[] = [
  [
    'lookup-miss',
    'table discharge-disposition has no row for "ZZ"',
    'lookup-miss:discharge-disposition:"ZZ"',
  ],
  ['lookup-miss', 'table gender has no row for the value of PID-8', 'lookup-miss:gender:PID-8'],
  [
    'required-missing',
    'encounter.id is required and no source gave a value',
    'required-missing:encounter.id',
  ],
  [
    'required-missing',
    'patient.identifiers is required and none of the 3 in PID-3 was kept and gave system and value',
    'required-missing:patient.identifiers',
  ],
  [
    'required-missing',
    'the patient is required and no source gave identifiers or a reference',
    'required-missing:patient',
  ],
  ['datetime-unreadable', 'PV1-45 is not a time: no calendar has that day', 'datetime-unreadable:PV1-45'],
  ['date-unreadable', 'PID-7 is not a date: it is not of the form YYYYMMDD', 'date-unreadable:PID-7'],
  ['age-unknown', 'EVN-2 and MSH-7 gives no time: its age cannot be judged', 'age-unknown:EVN-2 and MSH-7'],
  ['value-refused', 'PID-5.1 holds a NUL character', 'value-refused:PID-5.1'],
  ['value-refused', 'PID-5.1 is longer than 1000 characters', 'value-refused:PID-5.1'],
  ['needs-a-person', 'psychiatric unit: needs a person', 'needs-a-person:psychiatric unit: needs a person'],
  ['hl7-charset', 'MSH-18 names no character set', 'hl7-charset'],
  [null, 'nobody knows', 'unknown'],
]

test('messages that waited before the upgrade get their cause from their reason, and are counted', async () => {
  const query = queryOf(database.dataSource)
  for (const statement of [
    'DROP TABLE quarantine_group, quarantine_change, quarantine_release, lookup_miss',
    'DROP FUNCTION note_quarantine_change() CASCADE',
    'DROP FUNCTION quarantine_group_id(text, text)',
    'ALTER TABLE message DROP COLUMN cause CASCADE',
    `CREATE INDEX message_quarantined ON message (channel, code, id) WHERE state = 'quarantined'`,
  ])
    await query(statement)
  await query(`DELETE FROM ${migrationTable} WHERE name = 'QuarantineCauses1764130000000'`)
  for (const [code, because] of causes)
    await query(
      `INSERT INTO message (channel, received_at, received_on, sender, control_id, digest, bytes, peer, lane, state, code, because)
       VALUES ('adt', now(), '2026-03-02', 'HIS', $2, '\\x00', 10, 'test', 3, 'quarantined', $1, $2)`,
      [code, because],
    )
  expect(await migrate(database.dataSource)).toEqual(['QuarantineCauses1764130000000'])
  const rows = await query<{ code: string | null; because: string; cause: string }>(
    'SELECT code, because, cause FROM message ORDER BY id',
  )
  expect(rows.map(({ code, because, cause }) => [code, because, cause])).toEqual(causes)
  const groups = await listQuarantine(query, undefined)
  expect(groups.reduce((sum, { count }) => sum + count, 0)).toBe(causes.length)
  expect(groups[0]).toMatchObject({ cause: 'value-refused:PID-5.1', count: 2 })
})
