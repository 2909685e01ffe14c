import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals'
import { serveBundle, type BundleServer } from '../neighbours/bundle-server.ts'
import { makeBundle } from '../pki/bundle.ts'
import { anEcRoot } from '../pki/chains/chain-case.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'

// Each call starts a process.
jest.setTimeout(60_000)

const roots = Array.from({ length: 5 }, (_, n) => anEcRoot({ name: `Anchor ${n}` }))
const bundleOf = (...numbers: readonly number[]) => makeBundle(numbers.map((n) => roots[n]!.certificate))

let database: TestDatabase
let server: BundleServer
let folder: string
beforeAll(async () => {
  database = await freshDatabase()
  server = await serveBundle(bundleOf(0, 1, 2, 3))
  folder = mkdtempSync(join(tmpdir(), 'bluepost-trust-'))
  writeFileSync(join(folder, 'ca.pem'), server.authority)
  writeFileSync(join(folder, 'own.pem'), anEcRoot({ name: 'Our Own' }).certificatePem)
  writeFileSync(
    join(folder, 'bluepost.yaml'),
    `database: ${database.url}
trust:
  anchors: [ { files: own.pem, direction: incoming, domain: direct.ashby.example, policies: [ "1.2.3" ] } ]
  bundles:
    - { name: patient, url: "${server.url}" }
    - { name: by-hand }
discovery: { allowPrivateAddresses: true }
`,
  )
})
afterAll(async () => {
  await server.close()
  await database.close()
  rmSync(folder, { recursive: true })
})

function bluepost(...words: string[]): Promise<{ exit: number; out: string; err: string }> {
  const cli = new URL('../../src/cli.ts', import.meta.url).pathname
  const env = { ...process.env, NODE_OPTIONS: '', NODE_EXTRA_CA_CERTS: join(folder, 'ca.pem') }
  return new Promise((resolve) => {
    execFile(process.execPath, [cli, 'trust', ...words], { cwd: folder, env }, (error, out, err) =>
      resolve({ exit: typeof error?.code === 'number' ? error.code : error ? -1 : 0, out, err }),
    )
  })
}

test('bundles are fetched, imported, held and accepted, and the list tells what stands', async () => {
  expect(await bluepost('list')).toMatchObject({
    exit: 1,
    out: expect.stringMatching(/it has not been fetched yet/),
  })
  expect(await bluepost('refresh', 'patient')).toMatchObject({
    exit: 0,
    out: expect.stringMatching(/^patient: 4 anchors are in use\n( {2}\+ [0-9a-f]{64}\n){4}$/),
  })
  expect(await bluepost('refresh')).toMatchObject({
    exit: 1,
    out: 'patient: nothing new\nby-hand: it has neither url nor file: bluepost trust import FILE --bundle by-hand\n',
  })
  writeFileSync(join(folder, 'stick.p7b'), bundleOf(4))
  expect((await bluepost('import', 'stick.p7b', '--bundle', 'by-hand')).exit).toBe(0)

  const list = await bluepost('list', '--json')
  expect(list.exit).toBe(0)
  const view = JSON.parse(list.out) as {
    anchors: Record<string, unknown>[]
    bundles: Record<string, unknown>[]
  }
  expect(view.anchors).toHaveLength(6)
  expect(view.anchors[0]).toMatchObject({
    subject: expect.stringMatching(/^CN=Our Own\b/),
    source: 'own.pem',
    state: 'valid',
    direction: 'incoming',
    domain: 'direct.ashby.example',
    policies: ['1.2.3'],
  })
  expect(view.bundles).toMatchObject([
    { name: 'patient', from: server.url, anchors: 4, alarms: [] },
    { name: 'by-hand', from: null, anchors: 1, alarms: [] },
  ])

  server.publish(bundleOf(0, 1))
  const held = await bluepost('refresh', 'patient')
  expect(held).toMatchObject({
    exit: 1,
    out: expect.stringMatching(/waits for a person: it takes away 2 of 4/),
  })
  expect((await bluepost('list')).out).toMatch(/bluepost trust accept patient/)
  expect(await bluepost('accept', 'patient')).toMatchObject({
    exit: 0,
    out: expect.stringMatching(/2 anchors are in use/),
  })
  expect(await bluepost('accept', 'patient')).toMatchObject({
    exit: 1,
    err: expect.stringMatching(/nothing waits/),
  })
  const audit = await database.dataSource.query<{ actor: string; action: string }[]>(
    `SELECT actor, action FROM audit WHERE subject = 'trust-bundle:patient' ORDER BY id`,
  )
  expect(audit.map(({ action }) => action)).toEqual([
    'trust-bundle-changed',
    'trust-bundle-held',
    'trust-bundle-changed',
  ])
  expect(audit.every(({ actor }) => actor.startsWith('cli:'))).toBe(true)
})

test('what cannot be done says why, and how it is called', async () => {
  expect(await bluepost()).toMatchObject({ exit: 2, err: expect.stringMatching(/say which/) })
  expect(await bluepost('constructor')).toMatchObject({ exit: 2 })
  expect(await bluepost('refresh', 'nobody')).toMatchObject({
    exit: 2,
    err: expect.stringMatching(/has patient, by-hand/),
  })
  expect(await bluepost('refresh', '--accept-removal')).toMatchObject({ exit: 2 })
  expect(await bluepost('import', 'stick.p7b')).toMatchObject({
    exit: 2,
    err: expect.stringMatching(/--bundle patient \| by-hand/),
  })
  expect(await bluepost('import', 'gone.p7b', '--bundle', 'by-hand')).toMatchObject({
    exit: 1,
    err: expect.stringMatching(/ENOENT/),
  })
  expect(await bluepost('import', 'own.pem', '--bundle', 'by-hand')).toMatchObject({
    exit: 1,
    out: expect.stringMatching(/trust\.anchors instead/),
  })
  expect(await bluepost('--help')).toMatchObject({ exit: 0, out: expect.stringMatching(/trust accept NAME/) })
})
