import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { followTrust } from '../../src/engine/followed-trust.ts'
import { makeStops, type Stops } from '../../src/engine/stops.ts'
import { startWorker, type Work } from '../../src/jobs/worker.ts'
import { silentLog } from '../../src/lib/log.ts'
import { Metrics } from '../../src/lib/metrics.ts'
import { readPartners } from '../../src/partners.ts'
import { parseSettings, type Settings } from '../../src/settings.ts'
import { poolOf } from '../../src/store/data-source.ts'
import { makeBundle } from '../pki/bundle.ts'
import { anEcRoot } from '../pki/chains/chain-case.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'

const ours = 'direct.ashby.example'
const [file, first, second] = [anEcRoot(), anEcRoot(), anEcRoot()]

let database: TestDatabase
let folder: string
let settings: Settings
let stops: Stops
beforeAll(async () => {
  database = await freshDatabase()
  stops = makeStops(silentLog)
  folder = mkdtempSync(join(tmpdir(), 'followed-'))
  writeFileSync(join(folder, 'file.pem'), file.certificatePem)
  writeFileSync(join(folder, 'patient.p7b'), makeBundle([first.certificate]))
  const reading = parseSettings(
    `trust:
  anchors: [ file.pem ]
  bundles: [ { name: patient, file: patient.p7b, direction: outgoing, domain: ${ours}, policies: [ "1.2.3" ] } ]
`,
    join(folder, 'bluepost.yaml'),
    {},
  )
  if (!reading.valid) throw new Error(JSON.stringify(reading.problems))
  settings = reading.settings
})
afterAll(async () => {
  await stops.stopAll()
  await database.close()
  rmSync(folder, { recursive: true, force: true })
})

/** What one process of an installation knows. */
async function aProcess() {
  const metrics = new Metrics()
  const partners = readPartners(settings, new Date())
  const trust = await followTrust(settings, partners, database.dataSource, { log: silentLog, metrics, stops })
  const anchors = (direction: 'incoming' | 'outgoing', domain = ours) =>
    partners.anchorSet.anchorsFor(direction, domain).map(({ certificate }) => certificate.der)
  return { trust, metrics, anchors, anchorSet: partners.anchorSet }
}

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setTimeout(resolve, 20))
}

test('a due bundle is refreshed by the worker, and each process has its anchors within seconds', async () => {
  const one = await aProcess()
  const other = await aProcess()
  expect(one.anchors('outgoing')).toEqual([file.certificate])
  const nothing = async () => {}
  const work: Work = {
    step: nothing,
    openMail: nothing,
    answer: nothing,
    daily: nothing,
    minutely: () => one.trust.scheduleDue(),
    refreshBundle: (bundle) => one.trust.refresh(bundle),
    releaseQuarantine: nothing,
  }
  const worker = await startWorker(poolOf(database.dataSource), work, silentLog, 2)
  try {
    await one.trust.scheduleDue()
    await until(() => other.anchors('outgoing').length === 2 && one.anchors('outgoing').length === 2)
  } finally {
    await worker.stop()
  }
  expect(other.anchors('outgoing')).toEqual([file.certificate, first.certificate])
  // For one direction and one domain, under its policies.
  expect(other.anchors('incoming')).toEqual([file.certificate])
  expect(other.anchors('outgoing', 'direct.other.example')).toEqual([file.certificate])
  expect(other.anchorSet.anchorsFor('outgoing', ours)[1]).toMatchObject({
    source: 'patient',
    policies: ['1.2.3'],
  })

  writeFileSync(join(folder, 'patient.p7b'), makeBundle([first.certificate, second.certificate]))
  await one.trust.refresh('patient')
  await until(() => other.anchors('outgoing').length === 3)
  expect((await other.trust.view()).bundles).toMatchObject([{ name: 'patient', anchors: 2, alarms: [] }])
  expect(await other.metrics.registry.metrics()).toMatch(
    /bluepost_trust_bundle_anchors\{bundle="patient"\} 2/,
  )
})
