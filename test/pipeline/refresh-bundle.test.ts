import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals'
import { makeGuardedFetch, type GuardedFetch } from '../../src/lib/guarded-fetch.ts'
import {
  acceptPending,
  importBundle,
  refreshBundle,
  type BundleOutcome,
  type BundlePorts,
} from '../../src/pipeline/refresh-bundle.ts'
import { groupsOf, readBundlesOf, trustView, type BundleOrder } from '../../src/pipeline/trust-standing.ts'
import { queryOf, type Query } from '../../src/store/query.ts'
import { claimDueBundles } from '../../src/store/trust-bundles.ts'
import { serveBundle, type BundleServer } from '../neighbours/bundle-server.ts'
import { makeBundle, signBundle } from '../pki/bundle.ts'
import { anEcRoot, daysFromNow } from '../pki/chains/chain-case.ts'
import type { Issued } from '../pki/pki.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'

const roots = Array.from({ length: 10 }, () => anEcRoot())
const bundleOf = (...some: readonly Issued[]) => makeBundle(some.map(({ certificate }) => certificate))
const nine = roots.slice(0, 9)
const signer = anEcRoot()
const dayMs = 86_400_000

let database: TestDatabase
let query: Query
let server: BundleServer
let folder: string
let fetch: GuardedFetch
let count = 0
beforeAll(async () => {
  database = await freshDatabase()
  query = queryOf(database.dataSource)
  server = await serveBundle(bundleOf(...nine))
  folder = mkdtempSync(join(tmpdir(), 'bundles-'))
  writeFileSync(join(folder, 'signer.pem'), signer.certificatePem)
  fetch = makeGuardedFetch({ allowPrivateAddresses: true, protocols: ['https:'], ca: [server.authority] })
})
afterEach(() => {
  server.misbehave(undefined)
  server.publish(bundleOf(...nine))
})
afterAll(async () => {
  await server.close()
  await database.close()
  rmSync(folder, { recursive: true, force: true })
})

/** A bundle of the settings, its clock, and what may be asked about it. */
function aBundle(changes: Partial<BundleOrder> = {}) {
  const order: BundleOrder = {
    name: `bundle-${++count}`,
    url: server.url,
    refreshEveryMs: dayMs,
    removalPercentMax: 20,
    alarmAfterMs: 7 * dayMs,
    direction: 'both',
    policies: [],
    ...changes,
  }
  let at = new Date()
  const ports: BundlePorts = { dataSource: database.dataSource, fetch, now: () => at, jitter: () => 0.5 }
  return {
    order,
    ports,
    later: (ms: number) => void (at = new Date(at.getTime() + ms)),
    refresh: (acceptRemoval = false, over: Partial<BundlePorts> = {}) =>
      refreshBundle({ ...ports, ...over }, order, { actor: 'cli:opal', acceptRemoval }),
    anchors: async (as = order) =>
      groupsOf(await readBundlesOf(query, [as])).flatMap(({ anchors }) =>
        anchors.map(({ certificate }) => certificate.fingerprint),
      ),
    view: async (as = order) => trustView([], await readBundlesOf(query, [as]), at).bundles[0]!,
    audit: () =>
      query<{ actor: string; action: string; detail: { added: string[]; removed: string[] } }>(
        'SELECT actor, action, detail FROM audit WHERE subject = $1 ORDER BY id',
        [`trust-bundle:${order.name}`],
      ),
  }
}

const codeOf = (outcome: BundleOutcome) => (outcome.outcome === 'failed' ? outcome.code : outcome.outcome)

test('a bundle is fetched, and asked for again with its ETag; every change stands in the audit', async () => {
  const bundle = aBundle()
  expect(await bundle.refresh()).toMatchObject({ outcome: 'changed', anchors: 9, removed: [], dropped: [] })
  expect(await bundle.anchors()).toHaveLength(9)
  const asked = server.answered.length
  bundle.later(dayMs)
  expect(await bundle.refresh()).toEqual({ outcome: 'unchanged' })
  expect(server.answered.slice(asked)).toEqual([304])
  expect((await bundle.view()).checkedAt).toEqual(bundle.ports.now())

  server.publish(bundleOf(...roots.slice(1)))
  const before = await bundle.anchors()
  const changed = await bundle.refresh()
  const after = await bundle.anchors()
  const added = after.filter((one) => !before.includes(one))
  const removed = before.filter((one) => !after.includes(one))
  expect([added.length, removed.length]).toEqual([1, 1])
  expect(changed).toMatchObject({ outcome: 'changed', added, removed })
  expect(await bundle.audit()).toMatchObject([
    { actor: 'cli:opal', action: 'trust-bundle-changed', detail: { added: before, removed: [] } },
    { actor: 'cli:opal', action: 'trust-bundle-changed', detail: { added, removed } },
  ])
  expect((await bundle.view()).alarms).toEqual([])
})

test('without ETag the bytes tell that nothing is new', async () => {
  server.publish(bundleOf(...nine), { isPlain: true })
  const bundle = aBundle()
  await bundle.refresh()
  expect(await bundle.refresh()).toEqual({ outcome: 'unchanged' })
  expect(await bundle.audit()).toHaveLength(1)
})

test.each([
  ['404', { how: 'status', status: 404 }, 'not-found'],
  ['500', { how: 'status', status: 500 }, 'http-status'],
  ['a 304 to nothing', { how: 'status', status: 304 }, 'http-status'],
  ['an answer cut off', { how: 'cut-off' }, 'failed'],
  ['a page for people', { how: 'wrong-type' }, 'unreadable'],
  ['a redirect to plain http', { how: 'redirect', to: 'http://localhost:1/patient.p7b' }, 'refused'],
  ['octets without end', { how: 'huge' }, 'refused'],
] as const)('%s leaves the last good anchors in use', async (_, fault, code) => {
  const bundle = aBundle()
  const first = aBundle()
  await bundle.refresh()
  server.misbehave(fault)
  if (code === 'http-status' && fault.status === 304) {
    expect(codeOf(await first.refresh())).toBe(code)
    return
  }
  bundle.later(dayMs)
  expect(codeOf(await bundle.refresh())).toBe(code)
  expect(await bundle.anchors()).toHaveLength(9)
  expect((await bundle.view()).alarms).toEqual([expect.stringMatching(`the last check failed \\(${code}\\)`)])
  server.misbehave(undefined)
  expect(codeOf(await bundle.refresh())).toBe('unchanged')
  expect((await bundle.view()).alarms).toEqual([])
})

test('a server that never answers, one that is not there, and one that nobody vouches for are failures', async () => {
  server.misbehave({ how: 'silence' })
  const bundle = aBundle()
  const impatient: GuardedFetch = (url, order) => fetch(url, { ...order, timeoutMs: 300 })
  expect(await bundle.refresh(false, { fetch: impatient })).toMatchObject({ because: /no answer within/ })
  server.misbehave(undefined)
  const strangers = makeGuardedFetch({ allowPrivateAddresses: true })
  expect(await bundle.refresh(false, { fetch: strangers })).toMatchObject({ code: 'failed' })
  expect(codeOf(await aBundle({ url: 'https://localhost:1/' }).refresh())).toBe('failed')
  const careful = makeGuardedFetch({ allowPrivateAddresses: false, ca: [server.authority] })
  expect(codeOf(await bundle.refresh(false, { fetch: careful }))).toBe('refused')
  expect(codeOf(await aBundle({ url: server.url.replace('https', 'http') }).refresh())).toBe('refused')
  expect(await bundle.anchors()).toEqual([])
})

test('failures are tried again soon, then later; what is checked daily is due a day later', async () => {
  const bundle = aBundle()
  const dueInMinutes = async () =>
    ((await bundle.view()).nextCheckAt!.getTime() - bundle.ports.now().getTime()) / 60_000
  server.misbehave({ how: 'status', status: 503 })
  const waits: number[] = []
  for (let round = 0; round < 9; round++) {
    await bundle.refresh()
    waits.push(await dueInMinutes())
  }
  expect(waits).toEqual([10, 20, 40, 80, 160, 320, 640, 1280, 1440])
  server.misbehave(undefined)
  await bundle.refresh()
  expect(await dueInMinutes()).toBe(1440)
  const { name } = bundle.order
  bundle.later(dayMs - 1)
  expect(await claimDueBundles(query, [name], bundle.ports.now(), daysFromNow(9))).toEqual([])
  bundle.later(1)
  expect(await claimDueBundles(query, [name], bundle.ports.now(), daysFromNow(9))).toEqual([name])
  expect(await claimDueBundles(query, [name], bundle.ports.now(), daysFromNow(9))).toEqual([])
})

test('a bundle that takes many anchors away waits until a person accepts it', async () => {
  const bundle = aBundle()
  await bundle.refresh()
  server.publish(bundleOf(...nine.slice(2)))
  const held = await bundle.refresh()
  expect(held).toMatchObject({ outcome: 'held', because: 'it takes away 2 of 9 anchors, more than 20 %' })
  await bundle.refresh()
  expect(await bundle.anchors()).toHaveLength(9)
  expect((await bundle.view()).alarms).toEqual([
    expect.stringMatching(/waits for a person .* bluepost trust accept/),
  ])
  expect(await acceptPending(bundle.ports, bundle.order, 'cli:opal')).toMatchObject({
    outcome: 'changed',
    anchors: 7,
  })
  expect(await acceptPending(bundle.ports, bundle.order, 'cli:opal')).toBeUndefined()
  expect(await bundle.anchors()).toHaveLength(7)
  expect((await bundle.view()).alarms).toEqual([])
  expect((await bundle.audit()).map(({ action }) => action)).toEqual([
    'trust-bundle-changed',
    'trust-bundle-held',
    'trust-bundle-changed',
  ])
  expect((await bundle.audit()).at(-1)).toMatchObject({
    detail: { acceptRemoval: true, removed: [{}, {}].map(() => expect.any(String)) },
  })
})

test('what waits is gone when the source thinks better of it; --accept-removal does not wait', async () => {
  const bundle = aBundle()
  await bundle.refresh()
  server.publish(bundleOf(roots[0]!))
  expect(codeOf(await bundle.refresh())).toBe('held')
  server.publish(bundleOf(...nine))
  expect(codeOf(await bundle.refresh())).toBe('unchanged')
  expect((await bundle.view()).pending).toBeNull()
  server.publish(bundleOf(roots[0]!))
  expect(await bundle.refresh(true)).toMatchObject({ outcome: 'changed', anchors: 1 })
})

test('anchors that have expired are no loss, and are named until they are gone', async () => {
  const short = Array.from({ length: 8 }, () => anEcRoot({ notAfter: daysFromNow(3) }))
  server.publish(bundleOf(roots[0]!, ...short))
  const bundle = aBundle()
  await bundle.refresh()
  expect(await bundle.anchors()).toHaveLength(9)
  bundle.later(4 * dayMs)
  expect((await bundle.view()).alarms).toHaveLength(8)
  server.publish(bundleOf(roots[0]!, ...short), { isPlain: true })
  expect(await bundle.refresh()).toMatchObject({ outcome: 'changed', anchors: 1 })
  server.publish(bundleOf(roots[0]!, roots[1]!, ...short))
  expect(await bundle.refresh()).toMatchObject({ outcome: 'changed', anchors: 2 })
  expect((await bundle.view()).alarms).toEqual(
    Array.from({ length: 8 }, () => expect.stringMatching(/not used: .*expired/)),
  )
})

test('no anchors, or only expired ones, are refused', async () => {
  const bundle = aBundle()
  await bundle.refresh()
  server.publish(makeBundle([]))
  expect(codeOf(await bundle.refresh(true))).toBe('no-anchors')
  server.publish(bundleOf(anEcRoot({ notBefore: daysFromNow(-9), notAfter: daysFromNow(-1) })))
  expect(codeOf(await bundle.refresh(true))).toBe('no-anchors')
  expect(await bundle.anchors()).toHaveLength(9)
})

test('where a signer is required, nobody else brings anchors', async () => {
  const file = join(folder, 'signer.pem')
  const bundle = aBundle({ signer: file })
  expect(codeOf(await bundle.refresh())).toBe('unsigned')
  server.publish(signBundle(bundleOf(...nine), [signer]))
  expect(await bundle.refresh()).toMatchObject({ outcome: 'changed', anchors: 9 })
  expect(await bundle.view()).toMatchObject({ form: 'signed', isSignerRequired: true, alarms: [] })
  server.publish(signBundle(bundleOf(...roots), [anEcRoot()]))
  expect(codeOf(await bundle.refresh())).toBe('wrong-signer')
  server.publish(bundleOf(...roots))
  expect(codeOf(await bundle.refresh())).toBe('unsigned')
  expect(await bundle.anchors()).toHaveLength(9)
  const gone = aBundle({ signer: join(folder, 'gone.pem') })
  expect(await gone.refresh()).toMatchObject({ code: 'signer-missing', because: /gone\.pem.*ENOENT/ })
})

test('anchors that came unsigned do not count once a signer is required, and are fetched whole', async () => {
  const bundle = aBundle()
  await bundle.refresh()
  const strict = { ...bundle.order, signer: join(folder, 'signer.pem') }
  expect(await bundle.anchors(strict)).toEqual([])
  expect((await bundle.view(strict)).alarms).toEqual([expect.stringMatching(/came unsigned/)])
  const refresh = () => refreshBundle(bundle.ports, strict, { actor: 'engine' })
  expect(codeOf(await refresh())).toBe('unsigned')
  server.publish(signBundle(bundleOf(...nine), [signer]))
  expect(codeOf(await refresh())).toBe('changed')
  expect(await bundle.anchors(strict)).toHaveLength(9)
})

test('without confirmation for long a bundle is stale, and still in use', async () => {
  const bundle = aBundle()
  await bundle.refresh()
  server.misbehave({ how: 'status', status: 500 })
  bundle.later(8 * dayMs)
  await bundle.refresh()
  expect((await bundle.view()).alarms).toEqual([
    expect.stringMatching(/last check failed/),
    'it was last confirmed 8 days ago; what it held then is still in use',
  ])
  expect(await bundle.anchors()).toHaveLength(9)
})

test('a bundle from a file, and one brought by hand, go by the same rules', async () => {
  const file = join(folder, 'patient.p7b')
  writeFileSync(file, bundleOf(...nine))
  const { url: _, ...rest } = aBundle({ file }).order
  const bundle = aBundle({ ...rest })
  const order = rest
  const wish = { actor: 'cli:opal' }
  expect(await refreshBundle(bundle.ports, order, wish)).toMatchObject({ outcome: 'changed', anchors: 9 })
  expect(await refreshBundle(bundle.ports, order, wish)).toEqual({ outcome: 'unchanged' })
  rmSync(file)
  expect(await refreshBundle(bundle.ports, order, wish)).toMatchObject({ code: 'file', because: /ENOENT/ })
  const { file: __, ...byHand } = { ...rest, name: 'by-hand' }
  expect(await refreshBundle(bundle.ports, byHand, wish)).toEqual({ outcome: 'by-hand' })
  const take = (bytes: Buffer) => importBundle(bundle.ports, byHand, bytes, 'stick.p7b', wish)
  expect(await take(bundleOf(...nine))).toMatchObject({ outcome: 'changed' })
  expect(await take(Buffer.from('nonsense'))).toMatchObject({ code: 'unreadable' })
  expect(await take(bundleOf(roots[9]!))).toMatchObject({ outcome: 'held' })
  expect(await bundle.anchors(byHand)).toHaveLength(9)
})

test('a swap that breaks off in the middle leaves everything as it was; two at once leave one of them whole', async () => {
  const bundle = aBundle()
  await bundle.refresh()
  const before = await bundle.anchors()
  server.publish(bundleOf(...roots.slice(1)))
  // The last statement of the swap is the audit: it fails after anchors went and came.
  await query(`CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END $$`)
  await query('CREATE TRIGGER cut BEFORE INSERT ON audit FOR EACH ROW EXECUTE FUNCTION cut()')
  await expect(bundle.refresh()).rejects.toThrow()
  expect(await bundle.anchors()).toEqual(before)
  await query('DROP TRIGGER cut ON audit')
  const outcomes = await Promise.all([bundle.refresh(), bundle.refresh()])
  expect(outcomes.map(({ outcome }) => outcome).sort()).toEqual(['changed', 'unchanged'])
  expect(await bundle.anchors()).toHaveLength(9)
  expect(await bundle.anchors()).not.toEqual(before)
})
