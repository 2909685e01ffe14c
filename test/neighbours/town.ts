import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { stringify } from 'yaml'
import { issueFor, makeRoot, type Issued } from '../pki/pki.ts'
import { Engine, freePorts } from './engine.ts'
import type { StoredDocument } from './fhir-resources.ts'
import type { InboxMessage, RefusedMessage } from './hisp-orders.ts'
import type { Clinic, SeenTransmission, Town, TownOptions } from './neighbourhood.ts'
import { startNeighbour, type Neighbour } from './neighbour.ts'
import { ellen, ellensPhr, isaac, transmitAddress } from './people.ts'

const settlesWithinMs = 60_000
const pollMs = 40
const project = fileURLToPath(new URL('../../', import.meta.url))

/**
 * A whole small world around a real engine, each neighbour a process of its own: a hospital, a FHIR server, DNS, and the
 * HISP of Ellen’s PHR. Nobody in it shares code with the engine.
 *
 * @example
 * const town = await aTown({ database: database.url, authorization: { triggers: ['discharge'] } })
 * await town.hospital.sends(dischargeOf(ellen))
 * await town.settles()
 * expect(town.phr.inbox).toContainDocument(town.ellensCcd)
 */
export async function aTown(options: TownOptions = {}): Promise<Town> {
  const directory = await mkdtemp(join(tmpdir(), 'bluepost-town-'))
  // Started as root, the embedded database runs under another account, which must be able to get here.
  await chmod(directory, 0o755)
  const closing: (() => Promise<unknown>)[] = [() => rm(directory, { recursive: true, force: true })]
  const close = async () => {
    for (const step of closing.splice(0).reverse()) await step()
  }
  try {
    return await build(options, directory, closing, close)
  } catch (error) {
    await close()
    throw error
  }
}

async function build(
  options: TownOptions,
  directory: string,
  closing: (() => Promise<unknown>)[],
  close: () => Promise<void>,
): Promise<Town> {
  const started = await Promise.allSettled(
    (['hospital', 'fhir-server', 'dns-server', 'hisp'] as const).map((name) => startNeighbour(name)),
  )
  for (const one of started) if (one.status === 'fulfilled') closing.push(() => one.value.stop())
  const [hospital, fhir, names, hisp] = started.map((one) => {
    if (one.status === 'rejected') throw one.reason
    return one.value
  }) as [Neighbour, Neighbour, Neighbour, Neighbour]

  const root = makeRoot({ name: 'Neighbourhood Root' })
  const sender = issueFor(root, 'direct.ashby.example')
  const recipient = issueFor(root, ellensPhr)
  const other = issueFor(root, 'direct.otherphr.example')
  const [http, smtp, mllp] = (await freePorts(3)) as [number, number, number]

  await names.order('add', {
    records: [
      {
        type: 'CERT',
        name: ellensPhr.replace('@', '.'),
        certificate: recipient.certificate.toString('base64'),
      },
      { type: 'CERT', name: 'direct.ashby.example', certificate: sender.certificate.toString('base64') },
      { type: 'MX', name: 'direct.somephr.example', preference: 10, exchange: 'mx.somephr.example' },
      { type: 'A', name: 'mx.somephr.example', data: '127.0.0.1' },
    ],
  })
  const { cms } = await hisp.order<{ cms: string }>('settings', {
    settings: {
      ...(options.cms === undefined ? {} : { cms: options.cms }),
      roots: [root.certificatePem],
      mailboxes: [{ name: ellensPhr, pair: pairOf(recipient) }],
      signers: { other: { from: 'postmaster@direct.otherphr.example', pair: pairOf(other) } },
      replyTo: { host: '127.0.0.1', port: smtp },
      dnsPort: names.port,
    },
  })
  await hospital.order('target', { target: { host: '127.0.0.1', port: mllp } })

  const clinic: Clinic = {
    process: fhir,
    admits: async (person) => void (await fhir.order('addPatient', { person })),
    publishes: (person, { code, effectiveTime, bytes, version, seed, confidentiality, ...about } = {}) =>
      fhir.order<StoredDocument>('putDocument', {
        ...about,
        patient: person.id,
        code,
        choices: { effectiveTime, bytes, version, seed, confidentiality },
      }),
    fails: async (fault) => void (await fhir.order('fault', { fault })),
    set: async (settings) => void (await fhir.order('set', settings)),
  }
  for (const person of [ellen, isaac]) await clinic.admits(person)
  const ellensCcd =
    options.document === false ? undefined : await clinic.publishes(ellen, { ...options.document })

  await writeFile(join(directory, 'ashby.pem'), sender.certificatePem)
  await writeFile(join(directory, 'root.pem'), root.certificatePem)
  const config = join(directory, 'bluepost.yaml')
  const settings = {
    dataHolder: { name: 'Ashby Medical Center', address: transmitAddress },
    database: options.database === undefined ? 'embedded' : '${DATABASE_URL}',
    dataDirectory: join(directory, 'var'),
    channelsDirectory: join(project, 'channels'),
    mappingsDirectory: join(project, 'mappings'),
    listen: { http: `127.0.0.1:${http}`, smtp: `127.0.0.1:${smtp}` },
    keys: [{ certificate: join(directory, 'ashby.pem'), privateKey: 'env:ASHBY_KEY' }],
    trust: { anchors: [join(directory, 'root.pem')] },
    discovery: { dns: { servers: [`127.0.0.1:${names.port}`] } },
    edge: {
      type: 'sta',
      routes: {
        'direct.somephr.example': {
          url: `smtp://127.0.0.1:${hisp.port}`,
          starttls: 'required',
          verify: false,
        },
      },
      retry: { first: '200ms', factor: 1.5, max: '1s', deadline: '5m' },
    },
    fhirServers: { 'clinic-r4': { baseUrl: `http://127.0.0.1:${fhir.port}/fhir`, auth: { type: 'none' } } },
    documents: { retry: { first: '200ms', factor: 1.5, max: '1s', deadline: '5m' } },
    authorities: [{ id: 'urn:oid:2.16.840.1.113883.19.5.1', aliases: ['ASHBY'] }],
    limits: { holdMax: '100ms' },
    ...options.settings,
  }
  await writeFile(config, stringify(settings))
  const engine = new Engine(
    config,
    `http://127.0.0.1:${http}`,
    {
      ASHBY_KEY: sender.privateKeyPem,
      ADT_PORT: String(mllp),
      ...(options.database === undefined ? {} : { DATABASE_URL: options.database }),
      ...options.environment,
    },
    options.onLog,
  )
  closing.push(() => engine.stop())

  const inbox: InboxMessage[] = []
  const refused: RefusedMessage[] = []
  hisp.listen((happening) => {
    if (happening.what === 'refused') refused.push(happening as unknown as RefusedMessage)
    if (happening.what !== 'arrived') return
    const message = happening['message'] as InboxMessage
    const earlier = inbox.findIndex(({ messageId }) => messageId === message.messageId)
    if (earlier >= 0) inbox[earlier] = message
    else inbox.push(message)
  })

  const authorizations = new Map<string, string[]>()
  const listed = async (query: string) =>
    (await engine.api<{ items: SeenTransmission[] }>('GET', `transmissions?limit=200&${query}`)).items
  const until: Town['until'] = async (what, condition, withinMs = settlesWithinMs) => {
    const late = performance.now() + withinMs
    while (!(await condition())) {
      if (performance.now() > late)
        throw new Error(`not within ${withinMs} ms: ${what}\nthe engine’s last words:\n${engine.lastWords()}`)
      await pause(pollMs)
    }
  }

  const town: Town = {
    directory,
    config,
    root,
    certificates: { sender, recipient },
    engine,
    names,
    clinic,
    ellensCcd,
    hospital: {
      process: hospital,
      sendsTo: mllp,
      sends: (messages, habits) =>
        hospital.order('send', {
          messages: typeof messages === 'string' ? [messages] : messages,
          ...(habits === undefined ? {} : { habits }),
        }),
      sendsLoad: (people, count, habits) => hospital.order('load', { people, count, habits }),
    },
    phr: {
      process: hisp,
      opensWith: cms,
      inbox,
      refused,
      answers: async (plan) => void (await hisp.order('answer', { plan })),
      door: async (fault) => void (await hisp.order('fault', { fault })),
      sendsMdn: async (disposition, { messageId, ...plan } = {}) => {
        const about = messageId ?? inbox.at(-1)?.messageId
        if (about === undefined) throw new Error('the inbox is empty')
        await hisp.order('notify', { messageId: about, disposition, plan })
      },
      writes: (letter) => hisp.order('send', { letter }),
      contentOf: async (sha256) =>
        Buffer.from((await hisp.order<string | null>('content', { sha256 })) ?? '', 'base64'),
    },
    async authorize(wishes = {}) {
      const { person = ellen, destination, destinations, frequency, triggers, validFrom, validUntil } = wishes
      const authorization = await engine.api<{ id: string }>('POST', 'authorizations', {
        patient: {
          identifiers: person.identifiers,
          family: person.family,
          given: person.given,
          birthDate: person.birthDate,
        },
        destinations: destinations ?? [destination ?? ellensPhr],
        frequency: frequency ?? 'continuous',
        ...(frequency !== undefined && frequency !== 'continuous' && triggers === undefined
          ? {}
          : { triggers: triggers ?? ['discharge'] }),
        ...(validFrom === undefined ? {} : { validFrom: validFrom.toISOString() }),
        ...(validUntil === undefined ? {} : { validUntil: validUntil.toISOString() }),
        identityAssurance: { method: 'in-person', verifiedBy: 'front desk' },
        evidence: 'signed request, folder 12',
      })
      authorizations.set(person.id, [...(authorizations.get(person.id) ?? []), authorization.id])
      return authorization
    },
    revoke: async (id, because) => {
      await engine.api('POST', `authorizations/${id}/revoke`, because === undefined ? {} : { because })
    },
    transmissions: (id) => listed(id === undefined ? '' : `authorization=${id}`),
    async fateOf(person) {
      const ids = authorizations.get(person.id) ?? []
      const found = (await Promise.all(ids.map((id) => listed(`authorization=${id}`)))).flat()
      return found[0]?.state ?? 'nothing'
    },
    until,
    async settles(withinMs = settlesWithinMs) {
      if (options.database === undefined)
        throw new Error('settles() looks into the database: give the town one of its own')
      const client = new pg.Client({ connectionString: options.database })
      await client.connect()
      const open = async (statement: string) =>
        Number(
          (await client.query<{ open: string }>(`SELECT count(*) AS open FROM ${statement}`)).rows[0]?.open,
        )
      try {
        await until(
          'everything is decided, sent, answered and opened',
          async () =>
            (await open(`message WHERE state = 'received'`)) === 0 &&
            (await open(`transmission WHERE state IN ('waiting', 'preparing', 'sealed')`)) === 0 &&
            // Our listener has heard what it told before it answers this.
            (await hisp.order<number>('answering')) === 0 &&
            (await open(`inbound_mail WHERE state = 'received'`)) === 0 &&
            (await open(`answer WHERE state IN ('waiting', 'sealed')`)) === 0,
          withinMs,
        )
      } finally {
        await client.end()
      }
    },
    close,
  }
  if (options.starts !== false) {
    await engine.start()
    if (options.authorization !== undefined && options.authorization !== false)
      await town.authorize(options.authorization)
  }
  return town
}

function pairOf(issued: Issued) {
  return { certificate: issued.certificatePem, privateKey: issued.privateKeyPem }
}
