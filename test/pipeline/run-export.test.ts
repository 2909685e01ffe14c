import { afterEach, beforeEach, expect, test } from '@jest/globals'
import { generateKeyPairSync } from 'node:crypto'
import { shipped, aClaim, aPayer } from './a-payer.ts'

const day = 86_400_000
let town: Awaited<ReturnType<typeof aPayer>>

beforeEach(async () => {
  town = await aPayer()
})
afterEach(() => town.close())

/** The channel was seen, and a day has passed: an export is due. */
async function due(): Promise<Date> {
  expect(await town.run()).toEqual({ outcome: 'begun' })
  const seenAt = town.now()
  town.later(day)
  return seenAt
}

test('the first time nothing is asked; a day later the export holds what changed since then', async () => {
  const member = await town.aMember()
  town.claims(1, { patient: member.id, at: new Date(town.now().getTime() - 1000) })
  const seenAt = await due()
  expect(town.payer.asked).toEqual([])
  expect(await town.complete()).toMatchObject({ outcome: 'complete', resources: 0 })
  const [kickOff] = town.payer.asked
  const asked = new URL(kickOff!.path, town.payer.base)
  expect(asked.pathname).toBe('/fhir/$export')
  expect(Object.fromEntries(asked.searchParams)).toEqual({
    _since: seenAt.toISOString(),
    _type: 'ExplanationOfBenefit,Patient',
  })
  expect(kickOff!.headers).toMatchObject({
    prefer: 'respond-async',
    accept: expect.stringContaining('application/fhir+json'),
  })
})

test.each([
  ['patient', {}, '/fhir/Patient/$export'],
  ['group', { group: 'G-1' }, '/fhir/Group/G-1/$export'],
] as const)('an export of the level %s, with since and filters', async (level, more, path) => {
  const plan = town.plan({
    level,
    ...more,
    since: '2026-01-01T00:00:00Z',
    typeFilters: ['ExplanationOfBenefit?status=active,cancelled'],
  })
  await town.complete(plan)
  const asked = new URL(town.payer.asked[0]!.path, town.payer.base)
  expect(asked.pathname).toBe(path)
  expect(asked.searchParams.get('_since')).toBe('2026-01-01T00:00:00Z')
  expect(asked.searchParams.getAll('_typeFilter')).toEqual(['ExplanationOfBenefit?status=active,cancelled'])
})

test('a claim is kept with the patient of the export and becomes a transmission; the export is removed', async () => {
  const seenAt = await due()
  const member = await town.aMember()
  town.claims(1, { patient: member.id, at: town.now() })
  expect(await town.complete()).toEqual({ outcome: 'complete', resources: 1, fresh: 1, deletions: 0 })
  await town.decideAll()
  expect(await member.transmissions()).toMatchObject([{ state: 'waiting' }])
  expect(town.asked('/Patient/')).toEqual([])
  expect(town.payer.jobs.size).toBe(0)
  expect(await town.query('SELECT 1 FROM export_patient')).toEqual([])
  const cursor = (await town.cursor())!
  expect(Date.parse(cursor)).toBeGreaterThan(seenAt.getTime())
  town.later(day)
  expect(await town.complete()).toMatchObject({ resources: 0 })
  expect(decodeURIComponent(town.asked('$export')[1]!.path)).toContain(`_since=${cursor}`)
})

test('a patient that is not in the export is asked for on the server', async () => {
  const member = await town.aMember()
  await due()
  town.claims(3, { patient: member.id, at: town.now() })
  await town.complete()
  expect(town.asked('/fhir/Patient/')).toHaveLength(1)
  await town.decideAll()
  expect(await member.transmissions()).toMatchObject([{ state: 'waiting' }])
})

test('the pace is the server’s; without a word of it the pauses grow', async () => {
  await due()
  Object.assign(town.payer.behaves, { pending: 9, retryAfter: '120', progress: '50% of Ellen Ross' })
  expect(await town.run()).toEqual({ outcome: 'waiting' })
  const pauses: number[] = []
  const poll = async () => {
    town.later((await town.job())!.nextAt.getTime() - town.now().getTime())
    const at = town.now().getTime()
    const exported = await town.run()
    pauses.push((await town.job())!.nextAt.getTime() - at)
    return exported
  }
  await poll()
  expect(await town.job()).toMatchObject({ state: 'running', progress: '50 %' })
  // Not before its time.
  const polls = town.asked('GET /jobs/').length
  await town.run()
  expect(town.asked('GET /jobs/')).toHaveLength(polls)
  town.payer.behaves.retryAfter = undefined
  await poll()
  await poll()
  town.payer.behaves.answer = () => ({ status: 429, headers: { 'retry-after': '600' } })
  expect(await poll()).toMatchObject({ outcome: 'failed', because: 'payer-r4 answered 429' })
  expect(pauses).toEqual([120_000, 10_000, 20_000, 600_000])
  town.payer.behaves.answer = () => undefined
  expect(await town.complete()).toMatchObject({ outcome: 'complete' })
  expect(town.asked('$export')).toHaveLength(1)
})

test('whoever comes after a restart asks for the same export and begins no other', async () => {
  await due()
  const member = await town.aMember()
  town.claims(2, { patient: member.id, at: town.now() })
  town.payer.behaves.pending = 3
  await town.run()
  const { statusUrl } = (await town.job())!
  // Each run has ports of its own, as a process that was just started.
  expect(await town.complete()).toMatchObject({ fresh: 2 })
  expect(town.asked('$export')).toHaveLength(1)
  expect(new Set(town.asked('/jobs/').map(({ path }) => path))).toEqual(
    new Set([new URL(statusUrl!).pathname]),
  )
})

test.each([
  ['none', 'reset'],
  ['none', 'end'],
  ['header', 'reset'],
  ['header', 'end'],
  ['bare', 'end'],
] as const)(
  'a file that breaks off is read on (gzip: %s, %s): nothing lost, nothing twice',
  async (gzip, how) => {
    await due()
    const member = await town.aMember()
    town.claims(900, { patient: member.id, at: town.now() })
    Object.assign(town.payer.behaves, { gzip, linesPerFile: 400 })
    let cuts = 2
    town.payer.behaves.cut = (path) =>
      path.endsWith('/1') && cuts-- > 0 ? { bytes: gzip === 'none' ? 80_000 : 1_000, how } : undefined
    expect(await town.complete()).toEqual({ outcome: 'complete', resources: 900, fresh: 900, deletions: 0 })
    const kept = await town.kept()
    expect(kept).toHaveLength(900)
    expect(new Set(kept).size).toBe(900)
    expect(town.asked('$export')).toHaveLength(1)
    expect(cuts).toBeLessThan(0)
  },
)

test('a file that ends between two lines is missed by its count, and given up where it stays so', async () => {
  await due()
  const member = await town.aMember()
  town.claims(10, { patient: member.id, at: town.now() })
  const cursor = await town.cursor()
  const whole = JSON.stringify(town.payer.has.resources[0]).length + 1
  town.payer.behaves.cut = (path) => (path.endsWith('/0') ? { bytes: whole, how: 'end' } : undefined)
  let exported = await town.run()
  for (let turn = 0; turn < 10 && !String((await town.job())!.because).includes('another'); turn++) {
    town.later(3_600_000)
    exported = await town.run()
  }
  expect(exported).toMatchObject({
    outcome: 'failed',
    because: expect.stringContaining(
      'holds 1 lines and should hold 10: it was cut off: another export is asked for',
    ),
  })
  expect(await town.cursor()).toBe(cursor)
  town.payer.behaves.cut = () => undefined
  expect(await town.complete()).toMatchObject({ resources: 10, fresh: 9 })
  expect(await town.kept()).toHaveLength(10)
  const [first, second] = town.asked('$export').map(({ path }) => path)
  expect(second).toBe(first)
  expect(town.asked('DELETE /jobs/1')).toHaveLength(1)
})

test('addresses that have run out are asked for anew, and the reading goes on', async () => {
  await due()
  const member = await town.aMember()
  town.claims(50, { patient: member.id, at: town.now() })
  town.payer.behaves.linesPerFile = 20
  town.payer.behaves.answer = ({ path }) => {
    // While the second file is asked for, the first addresses run out.
    if (path.includes('/files/1/1?')) town.payer.expireFiles()
    town.payer.behaves.answer = path.includes('/files/1/1?') ? () => undefined : town.payer.behaves.answer
    return undefined
  }
  expect(await town.complete()).toMatchObject({ resources: 50, fresh: 50 })
  expect(town.asked('GET /files/1/0?')).toHaveLength(1)
  expect(town.asked('$export')).toHaveLength(1)
})

test('what was deleted takes back unsent work of that resource, and of no other', async () => {
  await due()
  const [gone, other, doubtful] = [await town.aMember(), await town.aMember(), await town.aMember()]
  const same = { identifier: [{ type: { coding: [{ code: 'uc' }] }, value: 'CLM-1' }] }
  town.payer.has.resources.push(
    aClaim('gone', { patient: gone.id, at: town.now() }),
    // Two resources about one claim: one is deleted, the other stands.
    aClaim('old', { patient: other.id, at: town.now(), ...same }),
    aClaim('new', { patient: other.id, at: town.now(), ...same }),
    aClaim('sensitive', {
      patient: doubtful.id,
      at: town.now(),
      meta: { versionId: '1', lastUpdated: town.now().toISOString(), security: [{ code: 'ETH' }] },
    }),
  )
  await town.complete()
  await town.decideAll()
  expect(await gone.transmissions()).toMatchObject([{ state: 'waiting' }])
  town.later(day)
  town.payer.has.resources = []
  town.payer.has.deleted = [
    'ExplanationOfBenefit/gone',
    `${town.payer.base}/ExplanationOfBenefit/old`,
    'ExplanationOfBenefit/sensitive',
    'ExplanationOfBenefit/never-heard-of',
    'Patient?identifier=x',
  ]
  expect(await town.complete()).toMatchObject({ resources: 0, deletions: 4, fresh: 3 })
  await town.decideAll()
  expect(await gone.transmissions()).toMatchObject([{ state: 'withdrawn' }])
  expect(await other.transmissions()).toMatchObject([{ state: 'waiting' }])
  const waiting = await town.query(
    `SELECT m.code, m.because, c.content FROM message m LEFT JOIN message_content c ON c.message_id = m.id
     WHERE m.control_id LIKE 'ExplanationOfBenefit/sensitive/_history/%'`,
  )
  expect(waiting).toEqual([{ code: 'deleted', because: 'the source deleted the resource', content: null }])
  const audit = await town.query<{ detail: { because: string } }>(
    `SELECT detail FROM audit WHERE action = 'transmission-withdrawn'`,
  )
  expect(audit).toEqual([{ detail: { because: 'the source deleted the resource' } }])
  // One that comes back is a new resource, told anew.
  town.later(day)
  town.payer.has.deleted = []
  town.payer.has.resources = [aClaim('gone', { patient: gone.id, at: town.now() })]
  await town.complete()
  await town.decideAll()
  expect(await gone.transmissions()).toMatchObject([{ state: 'withdrawn' }, { state: 'waiting' }])
})

test('a deletion waits its turn behind the messages of its resource', async () => {
  await due()
  const member = await town.aMember()
  town.claims(1, { patient: member.id, at: town.now() })
  await town.complete()
  town.later(day)
  town.payer.has.resources = []
  town.payer.has.deleted = ['ExplanationOfBenefit/c-0']
  await town.complete()
  await town.decideAll()
  expect(await member.transmissions()).toMatchObject([{ state: 'withdrawn' }])
})

test('what the server could not export is told and audited in fixed words', async () => {
  await due()
  const issue = (severity: string, code: string) => ({
    resourceType: 'OperationOutcome',
    issue: [{ severity, code, diagnostics: 'Ellen Ross, born 1956-08-14' }],
  })
  town.payer.has.errors = [
    issue('error', 'not-found'),
    issue('error', 'not-found'),
    issue('warning', 'Ellen Ross'),
  ]
  const exported = await town.complete()
  expect(exported).toMatchObject({
    outcome: 'complete',
    because: expect.stringContaining('the last export is not whole (2 × error not-found)'),
  })
  const [entry] = await town.query<{ subject: string; detail: object }>(
    `SELECT subject, detail FROM audit WHERE action = 'export-completed'`,
  )
  expect(entry).toMatchObject({
    subject: 'channel:eob-export',
    detail: { errors: { 'error not-found': 2, 'warning unknown': 1 } },
  })
  expect(JSON.stringify([entry, exported])).not.toMatch(/Ellen/)
  town.later(day)
  town.payer.has.errors = []
  expect(await town.complete()).toEqual({ outcome: 'complete', resources: 0, fresh: 0, deletions: 0 })
})

test('reasons that cannot be fetched do not hold up what could be', async () => {
  await due()
  const member = await town.aMember()
  town.claims(1, { patient: member.id, at: town.now() })
  town.payer.has.errors = [{ resourceType: 'OperationOutcome', issue: [{ severity: 'error', code: 'x' }] }]
  town.payer.behaves.answer = ({ path }) => (path.includes('/files/1/2') ? { status: 500 } : undefined)
  expect(await town.complete()).toMatchObject({
    fresh: 1,
    because: expect.stringContaining('1 that cannot be read'),
  })
})

test('files of another host are fetched where the channel lists it, and the token goes only where it is needed', async () => {
  await due()
  const member = await town.aMember()
  town.claims(2, { patient: member.id, at: town.now() })
  const elsewhere = town.payer.origin.replace('127.0.0.1', 'localhost')
  Object.assign(town.payer.behaves, { filesAt: elsewhere, token: 'T', requiresAccessToken: false })
  const setting = { auth: { type: 'bearer' as const, token: 'T' } }
  await town.run(shipped, setting)
  town.later(60_000)
  expect(await town.run(shipped, setting)).toMatchObject({
    outcome: 'failed',
    because: expect.stringContaining('under fileOrigins of the channel'),
  })
  expect(town.asked('/files/')).toEqual([])
  const plan = town.plan({ fileOrigins: [elsewhere] })
  expect(await town.complete(plan, setting)).toMatchObject({ fresh: 2 })
  expect(town.asked('/files/').map(({ headers }) => headers.authorization)).toEqual([undefined, undefined])
  town.later(day)
  town.payer.behaves.requiresAccessToken = true
  town.claims(1, { patient: member.id, at: town.now() })
  expect(await town.complete(plan, setting)).toMatchObject({ fresh: 1 })
  expect(town.asked('/files/').at(-1)!.headers.authorization).toBe('Bearer T')
})

test('a file that has moved to another host is fetched there without our credentials, where the channel lists it', async () => {
  await due()
  const member = await town.aMember()
  town.claims(2, { patient: member.id, at: town.now() })
  const elsewhere = town.payer.origin.replace('127.0.0.1', 'localhost')
  const setting = { auth: { type: 'bearer' as const, token: 'T' } }
  const here = new URL(town.payer.origin).host
  town.payer.behaves.answer = ({ path, headers }) =>
    path.includes('/files/') && headers.host === here
      ? { status: 307, headers: { location: `${elsewhere}${path}` } }
      : undefined
  await town.run(shipped, setting)
  town.later(60_000)
  expect(await town.run(shipped, setting)).toMatchObject({
    outcome: 'failed',
    because: expect.stringContaining('redirects to another host'),
  })
  const plan = town.plan({ fileOrigins: [elsewhere] })
  expect(await town.complete(plan, setting)).toMatchObject({ fresh: 2 })
  const moved = town.payer.asked.filter(({ headers }) => headers.host !== here)
  expect(moved.map(({ headers }) => headers.authorization)).toEqual([undefined, undefined])
})

test('one access token serves the whole export', async () => {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-384' })
  const key = privateKey.export({ type: 'pkcs8', format: 'pem' }) as string
  const member = await town.aMember()
  const plan = town.plan({ since: '2020-01-01T00:00:00Z', types: ['ExplanationOfBenefit'] })
  town.claims(3, { patient: member.id, at: town.now() })
  town.payer.behaves.answer = ({ path }) =>
    path === '/token'
      ? { status: 200, body: JSON.stringify({ access_token: 'T', expires_in: 300, token_type: 'bearer' }) }
      : undefined
  town.payer.behaves.token = 'T'
  town.payer.behaves.pending = 0
  const tokenUrl = `${town.payer.origin}/token`
  const ports = town.portsFor(plan.source, {
    auth: { type: 'smart-backend', clientId: 'bluepost', key, tokenUrl, scope: 'system/*.rs' },
  })
  const { runExport } = await import('../../src/pipeline/run-export.ts')
  await runExport(ports, plan)
  town.later(10_000)
  expect(await runExport(ports, plan)).toMatchObject({ outcome: 'complete', fresh: 3 })
  expect(town.asked('/token')).toHaveLength(1)
  expect(town.asked('/fhir/Patient/')).toHaveLength(1)
})

test.each([400, 401, 403, 404, 422, 429, 500, 503])(
  'a kick-off answered %s is tried again later, from the same moment',
  async (status) => {
    await due()
    const cursor = await town.cursor()
    town.payer.behaves.answer = () => ({ status, headers: { 'retry-after': '7200' } })
    expect(await town.run()).toMatchObject({
      outcome: 'failed',
      because: expect.stringContaining(String(status)),
    })
    expect(await town.run()).toMatchObject({
      outcome: 'waiting',
      because: expect.stringContaining(String(status)),
    })
    expect(town.payer.asked).toHaveLength(1)
    town.payer.behaves.answer = () => undefined
    expect(await town.complete()).toMatchObject({ outcome: 'complete' })
    const [first, second] = town.asked('$export').map(({ path }) => path)
    expect(second).toBe(first)
    expect(await town.cursor()).not.toBe(cursor)
  },
)

test.each([
  [500, 5],
  [400, 5],
  [404, 1],
  [410, 1],
])(
  'an export whose status is %s is given up after %s such answers, and another one begins',
  async (status, times) => {
    await due()
    const member = await town.aMember()
    town.claims(2, { patient: member.id, at: town.now() })
    await town.run()
    let left = times
    town.payer.behaves.answer = ({ path }) => (path === '/jobs/1' && left-- > 0 ? { status } : undefined)
    expect(await town.complete()).toMatchObject({ fresh: 2 })
    const [first, second] = town.asked('$export').map(({ path }) => path)
    expect(second).toBe(first)
    expect(town.asked('DELETE /jobs/1')).toHaveLength(1)
  },
)

test('a server that is away for most of a day is asked for the same export when it is back', async () => {
  await due()
  await town.run()
  town.payer.behaves.answer = () => ({ status: 503 })
  for (let hour = 0; hour < 20; hour++) {
    town.later(3_600_000)
    expect(await town.run()).toMatchObject({ outcome: 'failed' })
  }
  town.payer.behaves.answer = () => undefined
  town.later(3_600_000)
  expect(await town.run()).toMatchObject({ outcome: 'complete' })
  expect(town.asked('$export')).toHaveLength(1)
})

test('an export that is never ready is given up after a week', async () => {
  await due()
  town.payer.behaves.pending = Infinity
  await town.run()
  town.later(8 * day)
  town.payer.behaves.pending = 0
  town.payer.behaves.answer = ({ path, method }) =>
    path === '/jobs/1' && method === 'GET' ? { status: 202 } : undefined
  await town.run()
  expect(await town.complete()).toMatchObject({ outcome: 'complete' })
  expect(town.asked('$export')).toHaveLength(2)
})

test.each([
  [{}, 'no transactionTime'],
  [{ transactionTime: '2099-01-01T00:00:00Z', output: [] }, 'in the future'],
  [{ transactionTime: '2026-01-01T00:00:00Z' }, 'no output'],
  [
    {
      transactionTime: '2026-01-01T00:00:00Z',
      output: [{ type: 'ExplanationOfBenefit', url: 'file:///etc/passwd' }],
    },
    'no address',
  ],
  [
    { transactionTime: '2026-01-01T00:00:00Z', output: [], link: [{ relation: 'next', url: 'x' }] },
    'goes on in another',
  ],
])('a manifest that cannot be trusted moves nothing (%#)', async (manifest, words) => {
  await due()
  const cursor = await town.cursor()
  await town.run()
  town.later(10_000)
  town.payer.behaves.answer = () => ({ status: 200, body: JSON.stringify(manifest) })
  expect(await town.run()).toMatchObject({ outcome: 'failed', because: expect.stringContaining(words) })
  expect(await town.cursor()).toBe(cursor)
})

test('a version that was kept before is known, in whichever export it comes again', async () => {
  await due()
  const member = await town.aMember()
  const at = new Date(town.now().getTime() + 2 * day)
  town.claims(3, { patient: member.id, at })
  expect(await town.complete()).toMatchObject({ resources: 3, fresh: 3 })
  town.later(day)
  expect(await town.complete()).toMatchObject({ resources: 3, fresh: 0 })
  expect(await town.kept()).toHaveLength(3)
})

test('lines that are no resource wait for a person; types that were not asked for are left out', async () => {
  await due()
  const member = await town.aMember()
  const at = town.now()
  const long = 'x'.repeat(17 * 1024 * 1024)
  const lines = [
    aClaim('one', { patient: member.id, at }),
    '{"resourceType":"Explanation',
    '',
    { resourceType: 'Coverage', id: 'c', meta: { lastUpdated: at.toISOString() } },
    aClaim('long', { patient: member.id, at, text: long }),
    aClaim('nul', { patient: member.id, at, meta: { versionId: 'a\0b', lastUpdated: at.toISOString() } }),
    aClaim('two', { patient: member.id, at }),
  ]
  const body = lines.map((line) => (typeof line === 'string' ? line : JSON.stringify(line))).join('\n')
  town.payer.has.resources = [aClaim('any', { patient: member.id, at })]
  town.payer.behaves.counts = false
  town.payer.behaves.answer = ({ path }) => (path.includes('/files/1/0') ? { status: 200, body } : undefined)
  await town.complete()
  await town.decideAll()
  expect(
    await town.query(
      `SELECT split_part(control_id, '/', 2) AS id, state, code FROM message WHERE channel = 'eob-export' ORDER BY id`,
    ),
  ).toMatchObject([
    { id: '1', state: 'quarantined', code: 'fhir-unreadable' },
    { id: 'one', state: 'triggered' },
    { id: 'two', state: 'triggered' },
  ])
  const aside = await town.query<{ because: string }>('SELECT because FROM fragment ORDER BY id')
  expect(aside.map(({ because }) => because).sort()).toEqual([
    expect.stringContaining('is longer than 16777216 bytes'),
    expect.stringContaining('the database refused'),
  ])
})

test('a web page is no file', async () => {
  await due()
  const member = await town.aMember()
  town.claims(1, { patient: member.id, at: town.now() })
  await town.run()
  town.later(10_000)
  town.payer.behaves.answer = ({ path }) =>
    path.includes('/files/')
      ? { status: 200, headers: { 'content-type': 'text/html' }, body: '<html>Log in</html>' }
      : undefined
  expect(await town.run()).toMatchObject({
    outcome: 'failed',
    because: expect.stringContaining('a login page?'),
  })
  expect(await town.kept()).toEqual([])
})

test('a channel that asks for something else drops the export it had', async () => {
  await due()
  town.payer.behaves.pending = 5
  await town.run()
  const plan = town.plan({ level: 'group', group: 'G-2' })
  town.later(10_000)
  await town.run(plan)
  expect(town.asked('DELETE /jobs/1')).toHaveLength(1)
  expect(town.asked('$export').at(-1)!.path).toContain('/Group/G-2/')
})

test('an export that cannot be removed holds up nothing', async () => {
  await due()
  town.payer.behaves.answer = ({ method }) => (method === 'DELETE' ? { status: 500 } : undefined)
  expect(await town.complete()).toMatchObject({ outcome: 'complete' })
  town.later(day)
  expect(await town.complete()).toMatchObject({ outcome: 'complete' })
  expect(town.asked('$export')).toHaveLength(2)
})

test('two processes do not work at one export', async () => {
  await due()
  const gate = Promise.withResolvers<void>()
  const isAsked = Promise.withResolvers<void>()
  const plan = town.plan()
  const ports = town.portsFor(plan.source)
  const { start } = ports.server
  const { runExport } = await import('../../src/pipeline/run-export.ts')
  const waiting = {
    ...ports,
    server: {
      ...ports.server,
      start: async (question: Parameters<typeof start>[0]) => {
        isAsked.resolve()
        await gate.promise
        return start(question)
      },
    },
  }
  const first = runExport(waiting, plan)
  await isAsked.promise
  expect(await town.run()).toEqual({ outcome: 'busy' })
  gate.resolve()
  expect(await first).toMatchObject({ outcome: 'waiting' })
})
