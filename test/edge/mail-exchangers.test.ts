import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { nextHopsOfDomain } from '../../src/edge/next-hops.ts'
import { makeSmtpEdge } from '../../src/edge/smtp-edge.ts'
import { startNeighbour, type Neighbour } from '../neighbours/neighbour.ts'
import { scriptedSmtp, type ScriptedSmtp } from './scripted-smtp.ts'

let dns: Neighbour
let servers: string[]
let mail: ScriptedSmtp
let refuses = false

const mx = (name: string, preference: number, exchange: string) => ({
  type: 'MX',
  name,
  preference,
  exchange,
})
const a = (name: string, data: string) => ({ type: 'A', name, data })

beforeAll(async () => {
  dns = await startNeighbour('dns-server')
  servers = [`127.0.0.1:${dns.port}`]
  mail = await scriptedSmtp({ answer: ({ verb }) => (refuses && verb === 'CONNECT' ? '554 no' : undefined) })
  await dns.order('add', {
    records: [
      mx('many.example', 20, 'third.example'),
      mx('many.example', 10, 'first.example'),
      mx('many.example', 10, 'second.example'),
      a('first.example', '192.0.2.1'),
      a('second.example', '192.0.2.2'),
      a('third.example', '192.0.2.3'),
      a('third.example', '192.0.2.4'),
      a('bare.example', '192.0.2.9'),
      mx('none.example', 0, '.'),
      mx('inward.example', 10, 'loop.example'),
      mx('inward.example', 20, 'lan.example'),
      mx('inward.example', 30, 'first.example'),
      a('loop.example', '127.0.0.1'),
      a('lan.example', '10.1.2.3'),
      { type: 'AAAA', name: 'lan.example', data: '::ffff:10.1.2.3' },
      mx('only-inward.example', 10, 'loop.example'),
      mx('dangling.example', 10, 'nowhere.example'),
      { type: 'TXT', name: 'text-only.example', data: 'no mail here' },
      mx('two-hosts.example', 10, 'dead.example'),
      mx('two-hosts.example', 20, 'loop.example'),
      a('dead.example', '127.0.0.77'),
      mx('crowd.example', 10, 'crowd-host.example'),
      ...Array.from({ length: 40 }, (_, i) => a('crowd-host.example', `192.0.2.${i + 1}`)),
    ],
  })
  await dns.order('misbehave', { name: 'broken.example', how: 'servfail' })
})
beforeEach(() => {
  refuses = false
})
afterAll(async () => {
  await dns.stop()
  await mail.close()
})

const hosts = async (domain: string, more = {}) => {
  const reading = await nextHopsOfDomain(domain, { servers, ...more })
  return reading.found ? reading.hops.map(({ host, address }) => `${host} ${address}`) : reading
}

describe('mail exchangers of a domain', () => {
  test('come by preference, equal ones in the order of the answer, with every address', async () => {
    expect(await hosts('many.example')).toEqual([
      'first.example 192.0.2.1',
      'second.example 192.0.2.2',
      'third.example 192.0.2.3',
      'third.example 192.0.2.4',
    ])
  })

  test('fall back to the domain’s own address where there is no MX', async () => {
    expect(await hosts('bare.example')).toEqual(['bare.example 192.0.2.9'])
  })

  test.each([
    ['none.example', 556, 'null MX'],
    ['no-such-domain.example', 550, 'does not exist'],
    ['dangling.example', 550, 'no mail exchanger'],
    ['text-only.example', 550, 'no mail exchanger'],
  ])('do not exist for %s, for good', async (domain, code, words) => {
    expect(await hosts(domain)).toEqual({ found: false, code, reply: expect.stringContaining(words) })
  })

  test('are unknown for now where DNS fails', async () => {
    expect(await hosts('broken.example')).toEqual({
      found: undefined,
      because: expect.stringContaining('ESERVFAIL'),
    })
  })

  test('never lead inward, unless that is allowed', async () => {
    expect(await hosts('inward.example')).toEqual(['first.example 192.0.2.1'])
    expect(await hosts('only-inward.example')).toMatchObject({ found: undefined })
    expect(await hosts('only-inward.example', { allowPrivateAddresses: true })).toEqual([
      'loop.example 127.0.0.1',
    ])
  })

  test('are few, however many are published', async () => {
    expect(await hosts('crowd.example')).toHaveLength(8)
  })
})

describe('a mail without a configured route', () => {
  const send = async (address: string) => {
    const edge = makeSmtpEdge({
      type: 'sta',
      name: 'direct.ashby.example',
      mx: { servers, port: mail.port, allowPrivateAddresses: true, starttls: 'none' },
      patience: { setupMsMax: 2_000 },
    })
    const { recipients } = await edge.submit({
      envelope: { from: 'transmit@direct.ashby.example', to: [address] },
      bytes: 5,
      async *open() {
        yield Buffer.from('Hi.\r\n')
      },
      beforeData: async () => ({ permitted: true }),
    })
    await edge.close()
    return recipients[0]!
  }

  test('goes to the next mail exchanger when the first is down', async () => {
    expect(await send('ellen@two-hosts.example')).toMatchObject({
      outcome: 'accepted',
      nextHop: `loop.example:${mail.port}`,
    })
    expect(mail.mails.at(-1)!.toString()).toBe('Hi.\r\n')
  })

  test('is not refused for good while one mail exchanger is merely down', async () => {
    refuses = true
    expect(await send('ellen@two-hosts.example')).toMatchObject({ outcome: 'unreachable' })
    expect(await send('ellen@only-inward.example')).toMatchObject({ outcome: 'refused', code: 554 })
  })

  test('is refused where the domain says it takes none', async () => {
    expect(await send('ellen@none.example')).toMatchObject({ outcome: 'refused', code: 556 })
  })

  test('is unreachable while DNS does not answer', async () => {
    expect(await send('ellen@broken.example')).toMatchObject({ outcome: 'unreachable' })
  })
})
