import { once } from 'node:events'
import tls from 'node:tls'
import { expect, test } from '@jest/globals'
import { loadChannels } from '../../src/channels/load.ts'
import { startMllpChannel } from '../../src/engine/mllp-channel.ts'
import { silentLog } from '../../src/lib/log.ts'
import { Metrics } from '../../src/lib/metrics.ts'
import { adt, answer, framed } from '../intake/adt.ts'
import { issueFor, makeRoot } from '../pki/pki.ts'

const { plans } = loadChannels({
  channelsDirectory: 'channels',
  mappingsDirectory: 'mappings',
  environment: {},
})
const shipped = plans.find(({ name }) => name === 'adt-discharge')!

function aPlan() {
  if (shipped.source.type !== 'mllp') throw new Error('adt-discharge listens')
  const source = {
    ...shipped.source,
    listen: { host: '127.0.0.1', port: 0 },
    tls: { cert: { secret: 'cert' }, key: { secret: 'key' }, clientAuth: 'none' as const },
  }
  return { ...shipped, source }
}

const root = makeRoot({ name: 'Listener Root' })
const secretsOf = (host: string) => {
  const { certificatePem, privateKeyPem } = issueFor(root, host)
  return new Map([
    ['cert', certificatePem],
    ['key', privateKeyPem],
  ])
}

async function connected(port: number) {
  const socket = tls.connect({ host: '127.0.0.1', port, rejectUnauthorized: false })
  await once(socket, 'secureConnect')
  const name = socket.getPeerCertificate().subjectaltname
  const ask = async (controlId: string) => {
    socket.write(framed(adt(controlId)), 'latin1')
    const [reply] = (await once(socket, 'data')) as [Buffer]
    return answer(reply.toString('latin1').slice(1))
  }
  return { socket, name, ask }
}

test('a renewed certificate is shown to new connections, and the ones that are open stay', async () => {
  let secrets = secretsOf('first.example.org')
  const plan = aPlan()
  const kept: string[] = []
  const run = await startMllpChannel(plan, {
    store: {
      keep: async ({ controlId }) => {
        kept.push(controlId)
        return { fresh: true, messageId: '1', ack: undefined }
      },
      keepFragment: async () => {},
    },
    secrets: () => secrets,
    newControlId: () => 'A1',
    metrics: new Metrics(),
    log: silentLog,
    now: () => new Date(),
  })
  const port = Number(run.place!.split(':')[1])
  const before = await connected(port)
  expect(before.name).toContain('first.example.org')
  secrets = secretsOf('second.example.org')
  expect(run.take(plan)).toBe(true)
  const after = await connected(port)
  expect(after.name).toContain('second.example.org')
  expect(await before.ask('1')).toBe('AA 1')
  expect(await after.ask('2')).toBe('AA 2')
  // Half a renewal, a key that is not the certificate’s: what was good stays.
  secrets = new Map([...secrets, ['key', secretsOf('third.example.org').get('key')!]])
  expect(() => run.take(plan)).toThrow(/key values mismatch/i)
  const still = await connected(port)
  expect(still.name).toContain('second.example.org')
  expect(kept).toEqual(['1', '2'])
  for (const { socket } of [before, after, still]) socket.destroy()
  await run.stop()
})

test('another address, TLS or none, and other sizes take another listener; filters and order keys do not', async () => {
  const plan = { ...aPlan(), source: { ...aPlan().source, tls: undefined } } as never as ReturnType<
    typeof aPlan
  >
  const { tls: _, ...source } = plan.source
  const run = await startMllpChannel(
    { ...plan, source },
    {
      store: {} as never,
      secrets: () => secretsOf('first.example.org'),
      newControlId: () => 'A1',
      metrics: new Metrics(),
      log: silentLog,
      now: () => new Date(),
    },
  )
  const base = { ...plan, source }
  expect(run.take({ ...base, revision: 'other', filter: [] })).toBe(true)
  expect(run.take({ ...base, source: { ...source, maxMessageBytes: 9999 } })).toBe(false)
  expect(run.take({ ...base, source: aPlan().source })).toBe(false)
  expect(run.take({ ...base, source: { ...source, listen: { host: '127.0.0.1', port: 1 } } })).toBe(false)
  await run.stop()
})
