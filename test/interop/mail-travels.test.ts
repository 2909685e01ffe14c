import { readFileSync, writeFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { parse, stringify } from 'yaml'
import '../neighbours/expectations.ts'
import { freePorts } from '../neighbours/engine.ts'
import { dischargeOf } from '../neighbours/hl7-messages.ts'
import type { Town } from '../neighbours/neighbourhood.ts'
import { ellen, ellensPhr, transmitAddress } from '../neighbours/people.ts'
import { aTown } from '../neighbours/town.ts'
import { letter } from '../pipeline/a-mailbox.ts'
import { makeRoot, serverAuth } from '../pki/pki.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { lineThatBreaks } from './line-that-breaks.ts'
import { policyService, type PolicyQuestion } from './postfix-policy.ts'
import { startPostfix, type Postfix } from './postfix-server.ts'

// The engine hands over to the Postfix of its house; that one to the Postfix that is MX for Ellen’s domain; that one to the
// HISP of her PHR. Answers come back the same way, the last step by LMTP.

const startMsMax = 120_000
const storyMsMax = 90_000
const accept = () => 'DUNNO'

let database: TestDatabase
let town: Town
let ours: Postfix
let theirs: Postfix
let line: Awaited<ReturnType<typeof lineThatBreaks>>
const stops: (() => unknown)[] = []
let versions = 0

/** What our own Postfix, and theirs, say to each recipient and each whole message. */
let atOurs: (question: PolicyQuestion) => string = accept
let atTheirs = atOurs

beforeAll(async () => {
  database = await freshDatabase()
  stops.push(() => database.close())
  town = await aTown({ database: database.url, starts: false })
  stops.push(() => town.close())
  const authority = makeRoot({ keyType: 'ec256', name: 'Mail Root' })
  const server = authority.issue({ keyType: 'ec256', domains: ['localhost'], extendedKeyUsage: [serverAuth] })
  const files = { 'server.pem': server.privateKeyPem + server.certificatePem }
  const tls = {
    smtpd_tls_security_level: 'encrypt',
    smtpd_tls_chain_files: '$folder/server.pem',
    smtp_tls_security_level: 'encrypt',
  }
  const [lmtp] = (await freePorts(1)) as [number]
  const policies = {
    ours: await policyService((question) => atOurs(question)),
    theirs: await policyService((question) => atTheirs(question)),
  }
  for (const policy of Object.values(policies)) stops.push(() => policy.close())
  const asking = (port: number) => ({
    smtpd_recipient_restrictions: `check_policy_service inet:127.0.0.1:${port}, reject_unauth_destination`,
    smtpd_end_of_data_restrictions: `check_policy_service inet:127.0.0.1:${port}`,
  })
  const domains = {
    relay_domains: 'direct.somephr.example, direct.ashby.example',
    transport_maps: 'texthash:$folder/transport',
  }
  theirs = await startPostfix({
    files: { ...files, transport: `direct.somephr.example smtp:[127.0.0.1]:${town.phr.process.port}\n` },
    main: { ...tls, ...domains, ...asking(policies.theirs.port), myhostname: 'mx.somephr.example' },
    ports: [{}],
  })
  stops.push(() => theirs.stop())
  ours = await startPostfix({
    files: {
      ...files,
      transport: `direct.somephr.example smtp:[127.0.0.1]:${theirs.ports[0]}\ndirect.ashby.example lmtp:inet:127.0.0.1:${lmtp}\n`,
    },
    main: { ...tls, ...domains, ...asking(policies.ours.port), lmtp_tls_security_level: 'none' },
    ports: [{}],
  })
  stops.push(() => ours.stop())
  line = await lineThatBreaks(ours.ports[0]!)
  stops.push(() => line.close())
  await town.phr.process.order('settings', {
    settings: { replyTo: { host: '127.0.0.1', port: ours.ports[0] } },
  })

  const settings = parse(readFileSync(town.config, 'utf8')) as {
    listen: Record<string, string>
    edge: { routes: Record<string, object> }
    tracking?: object
  }
  delete settings.listen['smtp']
  settings.listen['lmtp'] = `127.0.0.1:${lmtp}`
  settings.edge.routes = {
    '*': { url: `smtp://localhost:${line.port}`, ca: `${town.directory}/mail-root.pem` },
  }
  settings.tracking = { relays: ['127.0.0.1'] }
  writeFileSync(`${town.directory}/mail-root.pem`, authority.certificatePem)
  writeFileSync(town.config, stringify(settings))
  await town.engine.start()
  await town.authorize({ triggers: ['discharge'] })
}, startMsMax)
afterAll(async () => {
  for (const stop of stops.reverse()) await stop()
}, startMsMax)

/** Ellen goes home; what becomes of the transmission once it has ended. */
async function ellenGoesHome(controlId: string) {
  const known = new Set((await town.transmissions()).map(({ id }) => id))
  // The same document is not sent twice in a row.
  if (versions++ > 0) await town.clinic.publishes(ellen, { version: versions })
  await town.hospital.sends(dischargeOf(ellen, { controlId }))
  let id = ''
  await town.until(
    'the transmission has ended',
    async () => {
      const mine = (await town.transmissions()).find((one) => !known.has(one.id))
      id = mine?.id ?? ''
      return mine !== undefined && ['delivered', 'failed', 'held'].includes(mine.state)
    },
    storyMsMax,
  )
  const [row] = await database.dataSource.query<
    {
      id: string
      state: string
      code: string
      because: string
      attempts: number
      messageId: string
    }[]
  >(`SELECT id, state, code, because, attempts, message_id AS "messageId" FROM transmission WHERE id = $1`, [
    id,
  ])
  return row!
}

const arrivedAs = (messageId: string) => town.phr.inbox.filter((one) => one.messageId === messageId)

test(
  'a discharge goes through both Postfixes, opens at the PHR, and its MDNs come back by LMTP',
  async () => {
    const sent = await ellenGoesHome('BY-POST')
    expect(sent).toMatchObject({ state: 'delivered', attempts: 1 })
    expect(town.phr.refused).toEqual([])
    expect(arrivedAs(sent.messageId)).toMatchObject([
      { arrivals: 1, envelope: { from: transmitAddress, to: [ellensPhr] } },
    ])
    expect(town.phr.inbox).toContainDocument(town.ellensCcd)
    await theirs.logged(/postfix\/smtpd.*client=/)
  },
  storyMsMax,
)

test(
  'a letter from Ellen comes by LMTP into the inbox, and its processed MDN leaves by our Postfix',
  async () => {
    const { messageId, bytes } = letter()
    expect(await town.phr.writes({ from: ellensPhr, to: transmitAddress, text: bytes.toString() })).toMatch(
      /^250/,
    )
    await town.until('she has the answer', async () =>
      town.phr.inbox.some(({ inReplyTo, isNotification }) => inReplyTo === messageId && isNotification),
    )
    const { items } = await town.engine.api<{ items: { messageId: string }[] }>('GET', 'inbox')
    expect(items.map((one) => one.messageId)).toContain(messageId)
    expect(town.phr.refused).toEqual([])
  },
  storyMsMax,
)

test(
  'greylisted, it is offered again and delivered once',
  async () => {
    let refusals = 2
    atOurs = (question) =>
      question.get('protocol_state') === 'RCPT' && question.get('recipient') === ellensPhr && refusals-- > 0
        ? '451 4.7.1 greylisted, come again'
        : 'DUNNO'
    const sent = await ellenGoesHome('GREYLISTED')
    atOurs = accept
    expect(sent).toMatchObject({ state: 'delivered', attempts: 3 })
    expect(arrivedAs(sent.messageId)).toMatchObject([{ arrivals: 1 }])
  },
  storyMsMax,
)

test(
  'refused after all of it was said, it has failed with the words of the relay and is not offered again',
  async () => {
    let refusals = 0
    atOurs = (question) => {
      if (question.get('protocol_state') !== 'END-OF-MESSAGE') return 'DUNNO'
      refusals++
      return '554 5.7.1 content is not welcome here'
    }
    const sent = await ellenGoesHome('UNWELCOME')
    atOurs = accept
    expect(sent).toMatchObject({ state: 'failed', attempts: 1 })
    expect(sent.because).toContain('content is not welcome here')
    expect(refusals).toBe(1)
    expect(arrivedAs(sent.messageId)).toEqual([])
  },
  storyMsMax,
)

test(
  'where the answer to the final dot is lost, it follows under the same Message-ID and is marked as sent again',
  async () => {
    line.losesAnswers = 1
    // What has come is answered: where the answer overtakes the second attempt there is none, and rightly so.
    await town.phr.answers({ delayMs: 5000 })
    const sent = await ellenGoesHome('CUT')
    await town.phr.answers(null)
    expect(line).toMatchObject({ losesAnswers: 0, lost: 1 })
    expect(sent).toMatchObject({ state: 'delivered', attempts: 2 })
    expect(
      await database.dataSource.query(
        'SELECT outcome, resend FROM attempt WHERE transmission_id = $1 ORDER BY ordinal',
        [sent.id],
      ),
    ).toEqual([
      { outcome: 'ambiguous', resend: false },
      { outcome: 'submitted', resend: true },
    ])
    await town.until('both have come', async () => arrivedAs(sent.messageId)[0]?.arrivals === 2)
  },
  storyMsMax,
)

test(
  'what their Postfix refuses later comes back as a bounce of ours, and the transmission has failed',
  async () => {
    atTheirs = (question) =>
      question.get('protocol_state') === 'RCPT' ? '550 5.1.1 no such mailbox' : 'DUNNO'
    const sent = await ellenGoesHome('BOUNCED')
    atTheirs = accept
    expect(sent).toMatchObject({ state: 'failed', attempts: 1 })
    expect(sent.because).toContain('no such mailbox')
    expect(arrivedAs(sent.messageId)).toEqual([])
    const explained = await town.engine.command('explain', sent.id)
    expect(explained.stdout).toContain('no such mailbox')
  },
  storyMsMax,
)
