import { canonicalAuthority } from '../domain/patient.ts'
import { readTimestamp } from '../lib/hl7v2-time.ts'
import { channelsOf } from '../main.ts'
import { explain as explainName, type Explanation } from '../pipeline/explain.ts'
import { explainPatient, type Day } from '../pipeline/explain-patient.ts'
import { noticeDocument } from '../pipeline/notices.ts'
import { appendAudit } from '../store/audit.ts'
import { queryOf, type Query } from '../store/query.ts'
import type { Settings } from '../settings.ts'
import {
  Findings,
  operatorName,
  print,
  printJson,
  settingsFor,
  theOne,
  Usage,
  type Command,
} from './command.ts'
import { onDatabase } from './on-database.ts'

export const explain: Command = {
  usage: `bluepost explain MESSAGE         its number, or its control id (MSH-10)
bluepost explain TRANSMISSION    its id
bluepost explain --patient 'urn:oid:1.2.3.4|E1001' --on 2026-03-02     a day of the data holder’s time zone

bluepost explain --dsn TRANSMISSION   its newest failure as a delivery status notification (RFC 3464)

Says in sentences what was received, decided and sent, and why not, from the reasons stored at the time. Where nothing was received
about a patient on a day, it says whether she had asked, and what each channel received; reading her request stands in the audit.`,
  options: { patient: { type: 'string' }, on: { type: 'string' }, dsn: { type: 'boolean' } },
  async run(call) {
    const settings = settingsFor(call)
    return onDatabase(settings, async (dataSource) => {
      const query = queryOf(dataSource)
      const { patient, on, dsn } = call.values
      if (dsn === true) return printNotice(query, settings, theOne(call, 'transmission'))
      const explanations =
        typeof patient === 'string'
          ? await explainDay(query, settings, patient, on)
          : await explainName(query, theOne(call, 'message or transmission'))
      if (call.isJson) printJson(explanations)
      else if (explanations.length === 0) print('Nothing with this name was received or sent.')
      else print(explanations.map(({ sentences }) => sentences.join('\n')).join('\n\n'))
      return explanations.length === 0 ? 1 : 0
    })
  },
}

async function printNotice(query: Query, { dataHolder }: Settings, id: string): Promise<number> {
  if (dataHolder === undefined)
    throw new Findings('a notice is written to the data holder’s address: set `dataHolder` in bluepost.yaml')
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(id))
    throw new Usage('--dsn needs the id of a transmission')
  const notice = await noticeDocument(query, id, dataHolder.address.text)
  if (notice === undefined) throw new Findings('there is no such transmission, or it never failed')
  print(notice.toString('latin1'))
  return 0
}

async function explainDay(
  query: Query,
  settings: Settings,
  patient: string,
  on: unknown,
): Promise<readonly Explanation[]> {
  const bar = patient.lastIndexOf('|')
  if (bar < 1) throw new Usage('--patient looks like urn:oid:1.2.3.4|E1001')
  const identifier = {
    system: canonicalAuthority(patient.slice(0, bar), settings.authorities),
    value: patient.slice(bar + 1),
  }
  const channels = channelsOf(settings).plans.filter(({ enabled }) => enabled)
  const day = dayOf(on, settings.timezone)
  const { explanations, authorizations } = await explainPatient(
    query,
    identifier,
    day,
    channels.map(({ name }) => name),
  )
  await appendAudit(
    query,
    authorizations.map(({ id }) => ({
      at: new Date(),
      actor: operatorName(),
      action: 'authorization-read' as const,
      subject: `authorization:${id}`,
      authorizationId: id,
      detail: { by: 'explain', on: day.name },
    })),
  )
  return explanations
}

/** A day as the data holder’s clocks have it. */
function dayOf(on: unknown, timezone: string): Day {
  const name = typeof on === 'string' && /^\d{4}-\d{2}-\d{2}$/.test(on) ? on : ''
  const start = (date: string) => readTimestamp(date.replaceAll('-', ''), timezone)
  const from = start(name)
  if (!from.valid) throw new Usage('--on looks like 2026-03-02')
  const next = new Date(Date.parse(`${name}T00:00:00Z`) + 86_400_000).toISOString().slice(0, 10)
  const until = start(next)
  if (!until.valid) throw new Usage('--on looks like 2026-03-02')
  return { name, from: from.at, until: until.at }
}
