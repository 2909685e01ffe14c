import type { MappingPlan, MappingRow } from '../domain/channel.ts'
import { neededTargets, patientTargets } from '../mapping/targets.ts'
import { report } from './condition-plan.ts'
import type { Desk } from './condition-plan.ts'
import type { TableFile } from './lookup-table.ts'
import { readRow } from './mapping-row.ts'
import type { RowContext, Tables } from './mapping-row.ts'

/** A mapping file of the right shape, as a plan; findings go to the desk. */
export function readMapping(desk: Desk, tables: Tables): MappingPlan | undefined {
  const { value } = desk.yaml
  const before = desk.problems.length
  const input = value['input'] as MappingPlan['input']
  const used = new Map<string, TableFile['table']>()
  const context: RowContext = {
    desk,
    tables,
    used,
    kind: input === 'fhir' ? 'fhirpath' : input,
    inside: false,
  }
  const rows = (value['rows'] as readonly Record<string, unknown>[])
    .map((row, index) => readRow(context, ['rows', index], row))
    .filter((row) => row !== undefined)
  if (desk.problems.length === before) checkWhole(desk, rows)
  if (desk.problems.length > before) return undefined
  return { name: value['mapping'] as string, input, rows, tables: used }
}

/** Whether the rows together can yield an event, and whether each can ever be reached. */
function checkWhole(desk: Desk, rows: readonly MappingRow[]): void {
  const filled = new Set(rows.map((row) => row.to))
  for (const needed of neededTargets)
    if (!filled.has(needed))
      report(
        desk,
        ['rows'],
        'mapping-incomplete',
        `no row fills ${needed}`,
        `add { to: ${needed}, … }`,
        'key',
      )
  if (!patientTargets.some((target) => filled.has(target)))
    report(
      desk,
      ['rows'],
      'mapping-incomplete',
      'no row says which patient it is',
      `fill ${patientTargets.join(' or ')}`,
      'key',
    )
  const settled = new Map<string, string>()
  for (const [index, row] of rows.entries()) {
    const by = settled.get(row.to)
    if (by !== undefined)
      report(
        desk,
        ['rows', index],
        'row-unreachable',
        `the row for ${row.to} is never reached: ${by} always gives a value`,
        'give the earlier row a when:, or remove one of them',
      )
    else if (row.type === 'constant' && row.when === undefined) settled.set(row.to, row.at)
  }
}
