import { canonicalAuthority } from '../domain/patient.ts'
import { explain as explainName, type Explanation } from '../pipeline/explain.ts'
import { noticeDocument } from '../pipeline/notices.ts'
import { patientKey, readBlindKey } from '../store/decisions.ts'
import { queryOf, type Query } from '../store/query.ts'
import { eventsOfPatient } from '../store/views.ts'
import type { Settings } from '../settings.ts'
import { Findings, print, printJson, settingsFor, theOne, Usage, type Command } from './command.ts'
import { onDatabase } from './on-database.ts'

export const explain: Command = {
  usage: `bluepost explain MESSAGE         its number, or its control id (MSH-10)
bluepost explain TRANSMISSION    its id
bluepost explain --patient 'urn:oid:1.2.3.4|E1001' --on 2026-03-02

bluepost explain --dsn TRANSMISSION   its newest failure as a delivery status notification (RFC 3464)

Says in sentences what was received, decided and sent, and why not, from the reasons stored at the time.`,
  options: { patient: { type: 'string' }, on: { type: 'string' }, dsn: { type: 'boolean' } },
  async run(call) {
    const settings = settingsFor(call)
    return onDatabase(settings, async (dataSource) => {
      const query = queryOf(dataSource)
      const { patient, on, dsn } = call.values
      if (dsn === true) return printNotice(query, settings, theOne(call, 'transmission'))
      const explanations =
        typeof patient === 'string'
          ? await explainPatient(query, settings, patient, on)
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

async function explainPatient(
  query: Query,
  settings: Settings,
  patient: string,
  on: Command['options'] | unknown,
): Promise<Explanation[]> {
  const bar = patient.lastIndexOf('|')
  if (bar < 1) throw new Usage('--patient looks like urn:oid:1.2.3.4|E1001')
  const from = new Date(`${typeof on === 'string' ? on : ''}T00:00:00Z`)
  if (typeof on !== 'string' || Number.isNaN(from.getTime()))
    throw new Usage('--on looks like 2026-03-02 (a day, UTC)')
  const until = new Date(from.getTime() + 86_400_000)
  const identifier = {
    system: canonicalAuthority(patient.slice(0, bar), settings.authorities),
    value: patient.slice(bar + 1),
  }
  const events = await eventsOfPatient(
    query,
    [patientKey(await readBlindKey(query), identifier)],
    from,
    until,
  )
  if (events.length > 0)
    return (await Promise.all(events.map((event) => explainName(query, event.messageId)))).flat()
  const subject = `patient on ${on}`
  return [
    {
      subject,
      sentences: [
        `Nothing was received about this patient on ${on} (UTC) that says a trigger event happened, so nothing was sent.`,
      ],
      facts: {},
    },
  ]
}
