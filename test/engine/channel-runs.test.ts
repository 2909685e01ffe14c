import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { loadChannels } from '../../src/channels/load.ts'
import type { ChannelPlan } from '../../src/domain/channel.ts'
import type { ChannelRun } from '../../src/engine/channel-run.ts'
import { runChannels } from '../../src/engine/channel-runs.ts'

const { plans } = loadChannels({
  channelsDirectory: 'channels',
  mappingsDirectory: 'mappings',
  environment: {},
})
const shipped = plans.find(({ name }) => name === 'adt-discharge')!

/** A plan at an address; the revision tells files apart. */
function planAt(port: number, revision: string): ChannelPlan {
  if (shipped.source.type !== 'mllp') throw new Error('adt-discharge listens')
  return { ...shipped, revision, source: { ...shipped.source, listen: { host: '127.0.0.1', port } } }
}

const portOf = ({ source }: ChannelPlan) => (source.type === 'mllp' ? source.listen.port : 0)

/** Addresses of a machine on which others may have some, with a diary of what was done. */
function machine(taken: ReadonlySet<number> = new Set()) {
  const open = new Map<number, string>()
  const diary: string[] = []
  let openMin = Infinity
  const start = async (plan: ChannelPlan): Promise<ChannelRun> => {
    const port = portOf(plan)
    await Promise.resolve()
    if (taken.has(port) || open.has(port)) throw new Error(`${port} is taken`)
    open.set(port, plan.revision)
    diary.push(`open ${port} ${plan.revision}`)
    return {
      listens: [],
      place: String(port),
      take(fresh) {
        if (portOf(fresh) !== port || fresh.revision.startsWith('tls') !== plan.revision.startsWith('tls'))
          return false
        open.set(port, fresh.revision)
        return true
      },
      isBeside: (fresh) => portOf(fresh) !== port,
      async stop() {
        await Promise.resolve()
        open.delete(port)
        diary.push(`close ${port}`)
        openMin = Math.min(openMin, open.size)
      },
    }
  }
  return { start, open, diary, openMin: () => openMin }
}

const wanted = (plan: ChannelPlan | undefined) => new Map(plan === undefined ? [] : [[plan.name, plan]])

test('other files are taken without closing; another port is opened before the old one closes', async () => {
  const { start, diary, open, openMin } = machine()
  const runs = runChannels(start)
  await runs.settle(wanted(planAt(6661, 'a')))
  await runs.settle(wanted(planAt(6661, 'b')))
  expect([...open]).toEqual([[6661, 'b']])
  await runs.settle(wanted(planAt(6662, 'c')))
  expect(diary).toEqual(['open 6661 a', 'open 6662 c', 'close 6661'])
  expect(openMin()).toBe(1)
  await runs.settle(wanted(undefined))
  expect(runs.standing('adt-discharge')).toMatchObject({ state: 'stopped', listen: null, because: null })
  await runs.close()
})

test('where the new place cannot be had the old one stays, with the reason; it is tried again', async () => {
  const taken = new Set([6662])
  const { start, open } = machine(taken)
  const runs = runChannels(start)
  await runs.settle(wanted(planAt(6661, 'a')))
  await runs.settle(wanted(planAt(6662, 'b')))
  expect(runs.standing('adt-discharge')).toMatchObject({
    state: 'running',
    listen: '6661',
    because: '6662 is taken; it goes on as it was',
  })
  expect(runs.problems()).toHaveLength(1)
  taken.clear()
  await runs.retry()
  expect(runs.standing('adt-discharge')).toMatchObject({ state: 'running', listen: '6662', because: null })
  expect([...open]).toEqual([[6662, 'b']])
})

test('what needs the same place is closed first, and comes back where the new files do not work there', async () => {
  const { start, diary } = machine()
  let isRefusing = false
  const runs = runChannels(async (plan) => {
    if (isRefusing && plan.revision.startsWith('tls')) throw new Error('no certificate')
    return start(plan)
  })
  await runs.settle(wanted(planAt(6661, 'a')))
  await runs.settle(wanted(planAt(6661, 'tls-b')))
  expect(diary).toEqual(['open 6661 a', 'close 6661', 'open 6661 tls-b'])
  await runs.settle(wanted(planAt(6661, 'c')))
  isRefusing = true
  await runs.settle(wanted(planAt(6661, 'tls-d')))
  expect(runs.standing('adt-discharge')).toMatchObject({
    state: 'running',
    because: 'no certificate; it goes on as it was',
  })
})

test('a start that fails is told and tried again; after close nothing starts', async () => {
  const taken = new Set([6661])
  const { start, open } = machine(taken)
  const runs = runChannels(start)
  await runs.settle(wanted(planAt(6661, 'a')))
  expect(runs.standing('adt-discharge')).toMatchObject({ state: 'failed', because: '6661 is taken' })
  taken.clear()
  await runs.retry()
  expect(runs.standing('adt-discharge').state).toBe('running')
  await runs.close()
  await runs.settle(wanted(planAt(6661, 'a')))
  expect(open.size).toBe(0)
})

test('property: whatever is wanted in whatever rush, in the end the last wish stands and nothing else is open', async () => {
  const wish = fc.option(
    fc.record({
      port: fc.integer({ min: 1, max: 3 }),
      revision: fc.constantFrom('a', 'b', 'tls-a', 'tls-b'),
    }),
    { nil: undefined },
  )
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(wish, fc.boolean()), { minLength: 1, maxLength: 12 }),
      async (wishes) => {
        const { start, open } = machine()
        const runs = runChannels(start)
        let last: Promise<void> = Promise.resolve()
        for (const [one, isAwaited] of wishes) {
          last = runs.settle(wanted(one && planAt(one.port, one.revision)))
          if (isAwaited) await last
        }
        await last
        const final = wishes.at(-1)![0]
        expect([...open]).toEqual(final === undefined ? [] : [[final.port, final.revision]])
        expect(runs.standing('adt-discharge')).toMatchObject({
          state: final === undefined ? 'stopped' : 'running',
          because: null,
        })
      },
    ),
    { numRuns: 300 },
  )
})
