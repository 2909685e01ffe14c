import { cpSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { freePorts } from '../neighbours/engine.ts'
import { dischargeOf } from '../neighbours/hl7-messages.ts'
import type { Town } from '../neighbours/neighbourhood.ts'
import { ellen, isaac } from '../neighbours/people.ts'
import { aTown } from '../neighbours/town.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'

const startMsMax = 120_000
const storyMsMax = 120_000
const root = join(import.meta.dirname, '../..')

interface Channel {
  name: string
  state: string
  because: string | null
  listen: string | null
  revision: string
  isUpToDate: boolean
  waiting: number
}

let database: TestDatabase
let town: Town
let folder: string
const file = () => join(folder, 'channels/adt-discharge.yaml')
const good = () => readFileSync(join(root, 'channels/adt-discharge.yaml'), 'utf8')
/** As an editor or a deployment writes: whole, under another name, then moved. */
const put = (text: string) => {
  writeFileSync(`${file()}.new`, text)
  renameSync(`${file()}.new`, file())
}
const channel = async () => {
  const { items } = await town.engine.api<{ items: Channel[] }>('GET', 'channels')
  return items.find(({ name }) => name === 'adt-discharge')!
}
const count = async (where: string) => {
  const [row] = await database.dataSource.query<{ count: number }[]>(
    `SELECT count(*)::int AS count FROM message WHERE ${where}`,
  )
  return row!.count
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'bluepost-reload-'))
  for (const part of ['channels', 'mappings'])
    cpSync(join(root, part), join(folder, part), { recursive: true })
  database = await freshDatabase()
  town = await aTown({
    database: database.url,
    authorization: false,
    settings: { channelsDirectory: join(folder, 'channels'), mappingsDirectory: join(folder, 'mappings') },
  })
}, startMsMax)
afterAll(async () => {
  await town?.close()
  await database?.close()
  rmSync(folder, { recursive: true, force: true })
}, startMsMax)

test(
  'files that change under load: nothing is lost, doubled or out of order, and each message says what decided it',
  async () => {
    const first = await channel()
    const people = Array.from({ length: 40 }, (_, nth) => ({
      ...(nth % 2 === 0 ? ellen : isaac),
      id: `patient-${nth}`,
      identifiers: [{ system: 'urn:oid:2.16.840.1.113883.19.5.1', value: `L${nth}`, type: 'MR' }],
    }))
    const total = 1500
    const load = town.hospital.sendsLoad(people, total, { connections: 6, perSecond: 150 })

    put(good().replace(/^hold:.*\n(?: .*\n)*/m, 'hold: { for: 7m, cancelWhen: cancels }\n'))
    await town.until('the channel has other files', async () => (await channel()).revision !== first.revision)
    const second = await channel()

    put(good().replace('kind: discharge', 'kind: transition'))
    await town.until('the files are refused', async () => !(await channel()).isUpToDate)
    expect(await channel()).toMatchObject({
      state: 'running',
      revision: second.revision,
      because: expect.stringMatching(/what ran before goes on: .*fails its own test/),
    })
    const metrics = await (await fetch(new URL('/metrics', town.engine.url))).text()
    expect(metrics).toContain('bluepost_channel_files_refused{channel="adt-discharge"} 1')

    await town.engine.api('POST', 'channels/adt-discharge/pause', { because: 'a look at the table' })
    expect(await channel()).toMatchObject({
      state: 'paused',
      because: expect.stringContaining('a look at the table'),
    })
    await town.until('messages wait', async () => (await channel()).waiting > 50)
    put(good())
    await town.until('the first files are back', async () => (await channel()).revision === first.revision)
    await town.engine.api('POST', 'channels/adt-discharge/resume')

    const result = await load
    expect(result).toMatchObject({ sent: total, acknowledged: total, notAccepted: 0 })
    await town.settles()
    expect(await count('true')).toBe(total)
    expect(await count(`state = 'received'`)).toBe(0)
    expect(
      await count(`revision NOT IN ('${first.revision}', '${second.revision}') OR revision IS NULL`),
    ).toBe(0)
    expect(await count(`revision = '${second.revision}'`)).toBeGreaterThan(0)
    const outOfOrder = await database.dataSource.query(
      `SELECT id FROM (SELECT id, decided_at < lag(decided_at) OVER (PARTITION BY lane ORDER BY id) AS early FROM message) AS one
       WHERE early`,
    )
    expect(outOfOrder).toEqual([])
  },
  storyMsMax,
)

test(
  'another port and back under load: senders find the port again, and every message is acknowledged and stored once',
  async () => {
    const before = await count('true')
    const [port] = (await freePorts(1)) as [number]
    const load = town.hospital.sendsLoad([ellen, isaac], 300, { connections: 4, perSecond: 100 })
    put(good().replace(/port: '[^']*'/, `port: ${port}`))
    await town.until('it listens there', async () => (await channel()).listen === `127.0.0.1:${port}`)
    put(good())
    expect(await load).toMatchObject({ sent: 300, notAccepted: 0 })
    expect(await count('true')).toBe(before + 300)
  },
  storyMsMax,
)

test(
  'stopped, it receives nothing and says who stopped it, also after a restart; a file that is gone ends it, one that comes starts it',
  async () => {
    const stopped = await town.engine.command(
      'channels',
      'stop',
      'adt-discharge',
      '--because',
      'moving house',
    )
    expect(stopped).toMatchObject({ code: 0, stdout: expect.stringContaining('Done') })
    await town.until('it has stopped', async () => (await channel()).state === 'stopped')
    expect(await channel()).toMatchObject({
      listen: null,
      because: expect.stringMatching(/^stopped by cli:.*\(moving house\)/),
    })
    await town.engine.restart()
    expect((await channel()).state).toBe('stopped')
    expect(await town.engine.command('channels')).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/adt-discharge .*stopped by cli:.* \(moving house\)/),
    })
    expect(await town.engine.command('channels', 'stop', 'adt-discharge')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('it is stopped already'),
    })
    expect(await town.engine.command('channels', 'start', 'adt-discharge')).toMatchObject({ code: 0 })
    await town.until('it runs', async () => (await channel()).state === 'running')

    rmSync(file())
    await town.until('it is gone', async () => (await channel()) === undefined)
    put(good())
    await town.until('it is back', async () => (await channel())?.state === 'running')
    expect(await town.hospital.sends(dischargeOf(ellen))).toMatchObject([{ ack: 'AA' }])
  },
  storyMsMax,
)

test(
  'SIGHUP and POST reload read the files at once, and the audit names both',
  async () => {
    const { items } = await town.engine.api<{ items: { channel: string; outcome: string }[] }>(
      'POST',
      'channels/reload',
    )
    expect(items.find(({ channel }) => channel === 'adt-discharge')).toMatchObject({ outcome: 'same' })
    process.kill(town.engine.pid!, 'SIGHUP')
    await town.until('it has heard', () =>
      town.engine.log.some(({ msg }) => String(msg).startsWith('SIGHUP: the channel files were read again')),
    )
    const rows = await database.dataSource.query<{ action: string }[]>(
      `SELECT DISTINCT action FROM audit WHERE action LIKE 'channel%' ORDER BY action`,
    )
    expect(rows.map(({ action }) => action)).toEqual([
      'channel-paused',
      'channel-resumed',
      'channel-started',
      'channel-stopped',
      'channels-reloaded',
    ])
  },
  storyMsMax,
)
