import nodemailer from 'nodemailer'
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import pg from 'pg'
import { silentLog } from '../src/lib/log.ts'
import { openDatabase } from '../src/store/embedded-postgres.ts'
import type { Person } from '../test/neighbours/ccd.ts'
import type { Town } from '../test/neighbours/neighbourhood.ts'
import { ellen, ellensPhr, transmitAddress } from '../test/neighbours/people.ts'
import { aTown } from '../test/neighbours/town.ts'

const documentBytes = 60_000
const rates = [10, 20, 30, 40, 60, 80, 120]
const floorRounds = 100
const drainMsMax = 20_000
const pollMs = 50

interface Plan {
  readonly patients: number
  readonly paceSeconds: number
  readonly stepSeconds: number
}

/**
 * The whole line on one machine: discharge in by MLLP → accepted by the next hop’s SMTP, over real sockets, with the
 * neighbours in processes of their own. The recipient takes messages unopened, so that its openssl is not measured.
 *
 * The floor is what the neighbours’ answers alone cost one after the other: the same FHIR requests, and the submission of
 * as many bytes over a connection that is open already.
 */
export async function benchLine(plan: Plan, print: (line: string) => void): Promise<void> {
  const town = await aTown({ settings: { limits: { holdMax: '0s' } } })
  try {
    await town.phr.process.order('settings', { settings: { opens: false } })
    // Made anew for each event, as on-demand servers do: the same document would not be sent twice.
    await town.clinic.set({ docref: 'generates', generatedBytes: documentBytes })
    const people = await peopleOf(town, plan.patients)
    const embedded = await openDatabase({
      dataDirectory: join(town.directory, 'var'),
      role: 'visitor',
      log: silentLog,
    })
    const client = new pg.Client({ connectionString: embedded.url })
    await client.connect()
    try {
      await measure(town, people, client, plan, print)
    } finally {
      await client.end()
      await embedded.stop()
    }
  } finally {
    await town.close()
  }
}

async function measure(
  town: Town,
  people: readonly Person[],
  client: pg.Client,
  plan: Plan,
  print: (line: string) => void,
): Promise<void> {
  const open = async () =>
    Number(
      (
        await client.query<{ open: string }>(
          `SELECT (SELECT count(*) FROM message WHERE state = 'received')
                + (SELECT count(*) FROM transmission WHERE state IN ('waiting', 'preparing', 'sealed')) AS open`,
        )
      ).rows[0]?.open,
    )
  const drain = async () => {
    for (const late = performance.now() + drainMsMax; (await open()) > 0 && performance.now() < late;)
      await pause(pollMs)
  }
  const send = (perSecond: number, seconds: number) =>
    town.hospital.sendsLoad(people, Math.ceil(perSecond * seconds), { perSecond, connections: 8 })

  // The first ones find cold code and empty pools.
  await send(10, 2)
  await drain()
  const since = new Date()
  await send(10, plan.paceSeconds)
  await drain()
  const { rows } = await client.query<{ ms: number }>(
    `SELECT 1000 * extract(epoch FROM t.submitted_at - m.received_at)::float8 AS ms
     FROM transmission t JOIN trigger_event e ON e.id = t.event_id JOIN message m ON m.id = e.message_id
     WHERE m.received_at >= $1 AND t.submitted_at IS NOT NULL ORDER BY 1`,
    [since],
  )
  const times = rows.map(({ ms }) => ms)
  const floor = await floorOf(town)
  print(`line, discharge in → SMTP accepted, C-CDA of ${documentBytes} bytes`)
  print(`at 10/s        p50 ${of(times, 0.5)} ms   p99 ${of(times, 0.99)} ms   (${times.length} messages)`)
  print(`floor          p50 ${of(floor, 0.5)} ms   p99 ${of(floor, 0.99)} ms   (neighbours’ answers alone)`)

  const { rows: stages } = await client.query<{ what: string; ms: number }>(
    `SELECT what, percentile_cont(0.5) WITHIN GROUP (ORDER BY ms)::float8 AS ms FROM (
       SELECT o.what, 1000 * extract(epoch FROM o.at - m.received_at)::float8 AS ms
       FROM occurrence o JOIN transmission t ON t.id = o.transmission_id
       JOIN trigger_event e ON e.id = t.event_id JOIN message m ON m.id = e.message_id WHERE m.received_at >= $1
       UNION ALL
       SELECT 'decided', 1000 * extract(epoch FROM decided_at - received_at)::float8 FROM message WHERE received_at >= $1
       UNION ALL
       SELECT 'document', 1000 * extract(epoch FROM d.fetched_at - m.received_at)::float8
       FROM document d JOIN transmission t ON t.id = d.transmission_id
       JOIN trigger_event e ON e.id = t.event_id JOIN message m ON m.id = e.message_id WHERE m.received_at >= $1
     ) AS moment WHERE ms IS NOT NULL GROUP BY what ORDER BY 2`,
    [since],
  )
  print(`median moments ${stages.map(({ what, ms }) => `${what} ${ms.toFixed(0)}`).join(', ')} ms`)

  let sustained = 0
  for (const rate of rates) {
    const sending = send(rate, plan.stepSeconds)
    await pause(plan.stepSeconds * 500)
    const halfway = await open()
    const { perSecond } = await sending
    const atEnd = await open()
    // A queue that grows gains messages in the second half; one that only breathes does not.
    const isGrowing = atEnd > halfway + rate * 0.2 && atEnd > rate * 0.5
    print(
      `${String(rate).padStart(4)}/s  sent ${perSecond.toFixed(1)}/s, open halfway ${halfway}, at the end ${atEnd}${isGrowing ? ': grows' : ''}`,
    )
    await drain()
    if (isGrowing || perSecond < rate * 0.9) break
    sustained = rate
  }
  print(`sustained without a growing queue: ${sustained}/s`)
}

async function peopleOf(town: Town, count: number): Promise<Person[]> {
  const people = Array.from({ length: count }, (_, number): Person => ({
    ...ellen,
    id: `patient-${number}`,
    identifiers: [{ system: 'urn:oid:2.16.840.1.113883.19.5.1', value: `L${number}`, type: 'MR' }],
  }))
  for (const person of people) {
    await town.clinic.admits(person)
    await town.clinic.publishes(person, { bytes: documentBytes })
    await town.authorize({ person })
  }
  return people
}

/** Milliseconds, ascending. */
async function floorOf(town: Town): Promise<number[]> {
  const { happenings, port } = town.clinic.process
  const asked = happenings.filter(({ what }) => what === 'asked')
  const lastBinary = asked.findLastIndex(({ path }) => String(path).includes('/Binary/'))
  const before = asked.slice(0, lastBinary).findLastIndex(({ path }) => String(path).includes('/Patient'))
  const gets = asked
    .slice(before, lastBinary + 1)
    .filter(({ method }) => method === 'GET')
    .map(({ path }) => `http://127.0.0.1:${port}${String(path)}`)
  const taken = town.phr.process.happenings.findLast(({ what }) => what === 'taken')
  const raw = randomBytes(Math.ceil((Number(taken?.['bytes'] ?? 150_000) * 54) / 76))
    .toString('base64')
    .replace(/.{76}/g, '$&\r\n')
  const transport = nodemailer.createTransport({
    host: '127.0.0.1',
    port: town.phr.process.port,
    requireTLS: true,
    tls: { rejectUnauthorized: false },
    pool: true,
  })
  const times: number[] = []
  try {
    for (let round = 0; round < floorRounds; round++) {
      const began = performance.now()
      for (const url of gets) await (await fetch(url)).arrayBuffer()
      await transport.sendMail({ envelope: { from: transmitAddress, to: [ellensPhr] }, raw })
      times.push(performance.now() - began)
    }
  } finally {
    transport.close()
  }
  return times.sort((a, b) => a - b)
}

function of(ascending: readonly number[], share: number): string {
  const value = ascending[Math.min(ascending.length - 1, Math.floor(ascending.length * share))]
  return value === undefined ? '–' : value.toFixed(0)
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { quick: { type: 'boolean', default: false } } })
  const plan = values.quick
    ? { patients: 20, paceSeconds: 3, stepSeconds: 1 }
    : { patients: 100, paceSeconds: 20, stepSeconds: 5 }
  await benchLine(plan, (line) => process.stdout.write(`${line}\n`))
}
