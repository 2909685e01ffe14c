import type { FhirExportSource } from '../domain/channel.ts'
import { readTimeSpan, report, type Desk } from './condition-plan.ts'
import { duration, name, object, text, type JsonSchema } from './schema-parts.ts'
import { textAt, type Values } from './surroundings.ts'

/** A FHIR server that exports (Bulk Data Access), as a channel file says it. */
export function exportSourceSchema(ack: JsonSchema): JsonSchema {
  const texts = (description: string): JsonSchema => ({
    type: 'array',
    minItems: 1,
    maxItems: 50,
    items: text,
    description,
  })
  return object(
    'a FHIR server that exports what changed (Bulk Data, $export)',
    {
      type: { const: 'fhir-export' },
      server: { ...name, description: 'a FHIR server of the settings' },
      level: {
        enum: ['system', 'patient', 'group'],
        description: 'whose data: of all, of all patients, or of the members of a group; default: system',
      },
      group: { ...text, description: 'the id of the Group; with level: group' },
      types: texts(
        'the resource types; with Patient among them, patients come along and need not be asked for',
      ),
      typeFilters: texts('searches that narrow a type, such as ExplanationOfBenefit?status=active'),
      since: {
        ...text,
        description:
          'the first export holds what changed after this moment, such as 2026-01-01T00:00:00Z; default: nothing of the past',
      },
      every: { ...duration, description: 'how often an export is asked for; 5m or more' },
      fileOrigins: texts('where else the server keeps its files, such as https://files.payer.example'),
      ack,
    },
    ['type', 'server', 'types', 'every'],
  )
}

/** An export is work for the other side; most servers allow one at a time, and some a few a day. */
const everyMsMin = 300_000
/** FHIR R4 `instant`: a moment with seconds and a zone. */
const instant = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})$/
const typeSyntax = /^[A-Z][A-Za-z]{1,63}$/
const idSyntax = /^(?!\.+$)[A-Za-z0-9\-.]{1,64}$/

/** Finds what cannot work before a server is asked; findings go to the desk. */
export function readFhirExport(desk: Desk, source: Values): FhirExportSource {
  const level = (source['level'] ??
    (source['group'] === undefined ? 'system' : 'group')) as FhirExportSource['level']
  const group = source['group'] as string | undefined
  const types = source['types'] as readonly string[]
  const typeFilters = (source['typeFilters'] ?? []) as readonly string[]
  const fileOrigins = (source['fileOrigins'] ?? []) as readonly string[]
  checkGroup(desk, level, group)
  types.forEach((type, index) => {
    if (!typeSyntax.test(type))
      report(
        desk,
        ['source', 'types', index],
        'wrong-value',
        'this is not a FHIR resource type',
        'write one type an entry, such as [ExplanationOfBenefit, Patient]',
      )
  })
  if (types.every((type) => type === 'Patient'))
    report(
      desk,
      ['source', 'types'],
      'wrong-value',
      'patients alone are no messages: nothing would ever be kept',
      'name what the messages are, such as ExplanationOfBenefit',
    )
  typeFilters.forEach((filter, index) => {
    const [type = ''] = filter.split('?', 1)
    if (!filter.includes('?') || !types.includes(type))
      report(
        desk,
        ['source', 'typeFilters', index],
        'wrong-value',
        'this is not a search of one of the types',
        `begin with a type of types: and a question mark, such as ${types[0]}?status=active`,
      )
  })
  const since = source['since'] as string | undefined
  if (since !== undefined && (!instant.test(since) || Number.isNaN(Date.parse(since))))
    report(
      desk,
      ['source', 'since'],
      'wrong-value',
      'this is not a moment with its zone',
      'such as 2026-01-01T00:00:00Z',
    )
  fileOrigins.forEach((origin, index) => checkOrigin(desk, origin, index))
  const everyMs = readTimeSpan(desk, ['source', 'every'], source['every'])
  if (everyMs !== undefined && everyMs < everyMsMin)
    report(
      desk,
      ['source', 'every'],
      'duration',
      'an export is work for the server, and most servers refuse one so soon after another',
      'write 5m or more; for less delay, use fhir-subscription or fhir-poll',
    )
  return {
    type: 'fhir-export',
    server: source['server'] as string,
    level,
    ...(group !== undefined && { group }),
    types,
    typeFilters,
    ...textAt(source, 'since'),
    everyMs: everyMs ?? 0,
    fileOrigins,
  }
}

function checkGroup(desk: Desk, level: string, group: string | undefined): void {
  if ((level === 'group') !== (group !== undefined))
    report(
      desk,
      ['source', group === undefined ? 'level' : 'group'],
      'wrong-value',
      group === undefined ? 'nothing says which group' : `level: ${level} has no group`,
      'write level: group with group: ID, or neither',
    )
  else if (group !== undefined && !idSyntax.test(group))
    report(
      desk,
      ['source', 'group'],
      'wrong-value',
      'this is not the id of a FHIR resource',
      'write what stands behind Group/ in its address',
    )
}

/** The access token goes there where the server says that its files need it. */
function checkOrigin(desk: Desk, origin: string, index: number): void {
  const url = URL.canParse(origin) ? new URL(origin) : undefined
  const isSafe =
    url?.protocol === 'https:' ||
    (url?.protocol === 'http:' && /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(url.hostname))
  if (url?.origin !== origin || !isSafe)
    report(
      desk,
      ['source', 'fileOrigins', index],
      'wrong-value',
      'this is not an origin that patients’ data may come from',
      'write https://host or https://host:port, without a path',
    )
}
