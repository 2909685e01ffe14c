import type { ConstantRow, EachRow, MappingRow, Reading, ValueRow } from '../domain/channel.ts'
import { triggerKinds } from '../domain/trigger-event.ts'
import { identifierTargets, isTriggerKind, targets } from '../mapping/targets.ts'
import { readCondition, readPath, readPaths, report } from './condition-plan.ts'
import type { Desk, PathKind } from './condition-plan.ts'
import type { TableFile } from './lookup-table.ts'
import { didYouMean } from './problem.ts'
import type { Problem } from './problem.ts'
import type { Place } from './yaml-file.ts'

/** The lookup tables that exist; `find` gives undefined where one has errors of its own. */
export interface Tables {
  readonly names: readonly string[]
  find(name: string): { readonly file: string; readonly table: TableFile } | undefined
}

/** What a row is read with. */
export interface RowContext {
  readonly desk: Desk
  readonly tables: Tables
  readonly used: Map<string, TableFile['table']>
  readonly kind: PathKind
  /** Inside `each`, where rows fill an identifier. */
  readonly inside: boolean
}

const sources = ['from', 'first', 'value', 'each'] as const

/** A row of the right shape; undefined, with findings, where its parts do not fit together. */
export function readRow(
  context: RowContext,
  place: Place,
  row: Readonly<Record<string, unknown>>,
): MappingRow | undefined {
  const { desk, kind, inside } = context
  const to = String(row['to'])
  const known: Readonly<Record<string, string>> = inside ? identifierTargets : targets
  if (!Object.hasOwn(known, to))
    return report(
      desk,
      [...place, 'to'],
      'row-target',
      inside ? `an identifier has no "${to}"` : `a trigger event has no "${to}"`,
      `it has: ${Object.keys(known).join(', ')}${didYouMean(to, Object.keys(known))}`,
    )
  const [source, ...others] = sources.filter((key) => row[key] !== undefined)
  if (source === undefined || others.length > 0)
    return report(
      desk,
      place,
      'row',
      `the row for ${to} needs exactly one source`,
      'write one of from, first, value, each',
    )
  for (const [key, wants] of [
    ['keep', 'each'],
    ['rows', 'each'],
    ['table', 'from or first'],
    ['as', 'from or first'],
    ['miss', 'table'],
  ] as const)
    if (row[key] !== undefined && !wants.split(' or ').some((each) => row[each] !== undefined))
      return report(
        desk,
        [...place, key],
        'row',
        `"${key}" belongs to a row with ${wants}`,
        'remove it',
        'key',
      )
  const when =
    row['when'] === undefined ? undefined : readCondition(desk, [...place, 'when'], row['when'], kind)
  if (row['when'] !== undefined && when === undefined) return undefined
  const part = {
    to,
    required: row['required'] === true,
    at: `${desk.yaml.file}:${desk.yaml.line(place)}`,
    ...(when !== undefined && { when }),
  }
  switch (source) {
    case 'value':
      return readConstant(context, place, row['value'], part, known[to]!)
    case 'each':
      return readEach(context, place, row, part)
    case 'from':
    case 'first':
      return readValueRow(context, place, row, part, known[to]!)
  }
}

type Part = Pick<MappingRow, 'to' | 'required' | 'at' | 'when'>

function readConstant(
  { desk }: RowContext,
  place: Place,
  value: unknown,
  part: Part,
  wanted: string,
): ConstantRow | undefined {
  const at = [...place, 'value']
  if (wanted === 'cancels') {
    if (typeof value !== 'boolean' && value !== 'visit')
      return report(
        desk,
        at,
        'row',
        `${part.to} is true, false or visit`,
        'write value: true for one kind of event, value: visit for everything about the visit',
      )
    return { ...part, type: 'constant', value }
  }
  if (wanted === 'identifiers' || wanted === 'datetime' || wanted === 'date')
    return report(
      desk,
      at,
      'row',
      `${part.to} cannot be the same for every message`,
      'read it with from, first or each',
    )
  const text = String(value)
  if (wanted === 'kind' && !isTriggerKind(text))
    return report(
      desk,
      at,
      'wrong-value',
      `"${text}" is not a kind of trigger event`,
      `kinds: ${triggerKinds.join(', ')}${didYouMean(text, triggerKinds)}`,
    )
  return { ...part, type: 'constant', value: text }
}

/** What paths mean inside `each:`. */
const insideKinds: Partial<Record<PathKind, PathKind>> = { hl7v2: 'repetition', x12: 'x12-part' }

function readEach(
  context: RowContext,
  place: Place,
  row: Readonly<Record<string, unknown>>,
  part: Part,
): EachRow | undefined {
  const { desk, kind } = context
  if (part.to !== 'patient.identifiers')
    return report(
      desk,
      [...place, 'each'],
      'row',
      `${part.to} is not a list`,
      'each: fills patient.identifiers',
      'key',
    )
  const path = readPath(desk, [...place, 'each'], row['each'], kind === 'x12' ? 'x12-segment' : kind)
  if (path?.type === 'hl7v2' && (path.path.component !== undefined || path.path.repetition !== undefined))
    return report(
      desk,
      [...place, 'each'],
      'path',
      'each: takes a whole field',
      'write it without component, such as PID-3',
    )
  const inner: RowContext = { ...context, kind: insideKinds[kind] ?? kind, inside: true }
  const keep =
    row['keep'] === undefined ? undefined : readCondition(desk, [...place, 'keep'], row['keep'], inner.kind)
  if (row['rows'] === undefined)
    return report(
      desk,
      place,
      'row',
      'each: needs rows that read one repetition',
      'add rows with to: system, value, type',
    )
  const rows = (row['rows'] as readonly Record<string, unknown>[]).map((each, index) =>
    readRow(inner, [...place, 'rows', index], each),
  )
  if (path === undefined || rows.some((each) => each === undefined)) return undefined
  if (row['keep'] !== undefined && keep === undefined) return undefined
  if (!rows.some((each) => each?.to === 'value'))
    return report(
      desk,
      [...place, 'rows'],
      'mapping-incomplete',
      'no row fills the value of the identifier',
      'add { to: value, from: "1" }',
      'key',
    )
  return {
    ...part,
    type: 'each',
    path,
    ...(keep !== undefined && { keep }),
    rows: rows as readonly (ValueRow | ConstantRow)[],
  }
}

function readValueRow(
  context: RowContext,
  place: Place,
  row: Readonly<Record<string, unknown>>,
  part: Part,
  wanted: string,
): ValueRow | undefined {
  const { desk, kind } = context
  const source = row['from'] === undefined ? 'first' : 'from'
  if (wanted === 'identifiers')
    return report(
      desk,
      [...place, source],
      'row',
      `${part.to} is a list`,
      'write each: PID-3 with rows',
      'key',
    )
  if (wanted === 'cancels')
    return report(
      desk,
      [...place, source],
      'row',
      `${part.to} is true, false or visit`,
      'write value: true with when:',
      'key',
    )
  const paths =
    source === 'first'
      ? readPaths(desk, [...place, 'first'], row['first'], kind)
      : [readPath(desk, [...place, 'from'], row['from'], kind)].filter((path) => path !== undefined)
  const as = readingOf(context, place, row['as'], part.to, wanted)
  if (as === undefined) return undefined
  if (as === 'assigner')
    for (const [index, path] of paths.entries())
      if ((path.type === 'hl7v2' || path.type === 'repetition') && path.path.subcomponent !== undefined)
        return report(
          desk,
          source === 'first' ? [...place, 'first', index] : [...place, 'from'],
          'path',
          'as: assigner reads the whole assigning authority, not one part of it',
          `write from: "${path.text.replace(/\.[0-9]+$/, '')}"`,
        )
  const name = row['table'] as string | undefined
  const table = name === undefined ? undefined : readTable(context, [...place, 'table'], name, wanted)
  if (wanted === 'kind' && name === undefined)
    return report(
      desk,
      place,
      'row',
      'kind is one of a fixed list',
      'add table: with a row for each code, or write value:',
    )
  if (name !== undefined && (as !== 'text' || wanted === 'datetime' || wanted === 'date'))
    return report(desk, [...place, 'table'], 'row', 'a table turns codes into codes', 'remove table:', 'key')
  if ((name !== undefined && table === undefined) || paths.length === 0) return undefined
  return {
    ...part,
    type: 'value',
    paths,
    as,
    miss: row['miss'] === 'skip' ? 'skip' : 'quarantine',
    ...(table !== undefined && { table: table.table }),
  }
}

/** A target that is a time is always read as one; `as:` can only repeat it, or choose between text and assigner. */
function readingOf(
  context: RowContext,
  place: Place,
  as: unknown,
  to: string,
  wanted: string,
): Reading | undefined {
  const usual: Reading = wanted === 'datetime' || wanted === 'date' || wanted === 'assigner' ? wanted : 'text'
  if (as === undefined || as === usual) return usual
  if (usual === 'assigner' && as === 'text') return 'text'
  return report(
    context.desk,
    [...place, 'as'],
    'row',
    `${to} is read as ${usual}, not as ${String(as)}`,
    as === 'assigner'
      ? 'as: assigner belongs to the system of an identifier'
      : `write as: ${usual}, or leave it out`,
  )
}

function readTable(context: RowContext, place: Place, name: string, wanted: string): TableFile | undefined {
  const { desk, tables, used } = context
  if (!tables.names.includes(name))
    return report(
      desk,
      place,
      'table-unknown',
      `table "${name}" does not exist`,
      tables.names.length === 0
        ? `add mappings/tables/${name}.csv`
        : `mappings/tables/ has: ${tables.names.join(', ')}${didYouMean(name, tables.names)}`,
    )
  const found = tables.find(name)
  if (found === undefined)
    return report(
      desk,
      place,
      'table-unknown',
      `table "${name}" has errors of its own`,
      'correct the table first',
    )
  if (wanted === 'kind')
    for (const [from, to] of found.table.table.rows)
      if (!isTriggerKind(to))
        desk.problems.push(tableValueProblem(found.file, found.table.lines.get(from) ?? 1, to))
  used.set(name, found.table.table)
  return found.table
}

function tableValueProblem(file: string, line: number, to: string): Problem {
  return {
    file,
    line,
    column: 1,
    severity: 'error',
    code: 'table-value',
    what: `"${to}" is not a kind of trigger event`,
    remedy: `kinds: ${triggerKinds.join(', ')}${didYouMean(to, triggerKinds)}`,
  }
}
