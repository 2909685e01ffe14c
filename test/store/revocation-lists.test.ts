import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { revocationCheck } from '../../src/revocation-check.ts'
import { queryOf, type Query } from '../../src/store/query.ts'
import { loadRevocationList, saveRevocationList } from '../../src/store/revocation-lists.ts'
import { makeCrl, serialOf } from '../pki/crl.ts'
import { makeRoot } from '../pki/pki.ts'
import { ahead, ago, at, crlUrl, dayMs, hourMs } from '../pki/revocations/crl-case.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { aWorld, certificateOf } from '../trust/revocation-checks.ts'

let database: TestDatabase
let query: Query
beforeAll(async () => {
  database = await freshDatabase()
  query = queryOf(database.dataSource)
})
afterAll(() => database.close())

test('a list of 8 MB comes back as it was put in', async () => {
  const der = Buffer.alloc(8 * 1024 * 1024, 'list')
  await saveRevocationList(query, 'large', { url: crlUrl, der, fetchedAt: at })
  const found = await loadRevocationList(query, 'large')
  expect(found?.der.equals(der)).toBe(true)
  expect(found?.fetchedAt).toEqual(at)
  expect(await loadRevocationList(query, 'nothing')).toBeUndefined()
})

test('of two processes the one that fetched last is right, whichever writes last', async () => {
  const list = (text: string, fetchedAt: Date) => ({ url: crlUrl, der: Buffer.from(text), fetchedAt })
  await saveRevocationList(query, 'two', list('early', ago(hourMs)))
  await saveRevocationList(query, 'two', list('late', at))
  await saveRevocationList(query, 'two', list('early again', ago(1000)))
  expect((await loadRevocationList(query, 'two'))?.der.toString()).toBe('late')
})

test('a list nobody has fetched for a quarter of a year goes', async () => {
  const list = (fetchedAt: Date) => ({ url: crlUrl, der: Buffer.from('x'), fetchedAt })
  await saveRevocationList(query, 'old', list(ago(91 * dayMs)))
  await saveRevocationList(query, 'young', list(ago(89 * dayMs)))
  await saveRevocationList(query, 'new', list(at))
  expect(await loadRevocationList(query, 'old')).toBeUndefined()
  expect(await loadRevocationList(query, 'young')).toBeDefined()
})

test('after a restart while the authority is down, its last list still revokes and still lets others pass', async () => {
  const issuer = makeRoot({ keyType: 'ec256' })
  const [kept, gone] = [1, 2].map(() => issuer.issue({ keyType: 'ec256', crlUrls: [crlUrl] }))
  const world = aWorld({ [crlUrl]: makeCrl(issuer, { revoked: [{ serial: serialOf(gone!.certificate) }] }) })
  const aProcess = () => {
    const check = revocationCheck(settings('hard-fail'), world.fetch, query)!
    return (issued: typeof kept, when: Date) => check(certificateOf(issued!), certificateOf(issuer), [], when)
  }
  expect(await aProcess()(kept, at)).toMatchObject({ status: 'good' })
  world.places[crlUrl] = 'silent'
  const restarted = aProcess()
  expect(await restarted(kept, ahead(30 * hourMs))).toMatchObject({ status: 'good', isStale: true })
  expect(await restarted(gone, ahead(30 * hourMs))).toMatchObject({ status: 'revoked' })
})

test('settings that say off leave no check, and soft-fail lets what is unknown pass', async () => {
  const world = aWorld({ [crlUrl]: 'silent' })
  expect(revocationCheck(settings('off'), world.fetch, query)).toBeUndefined()
  const issuer = makeRoot({ keyType: 'ec256' })
  const issued = issuer.issue({ keyType: 'ec256', crlUrls: [crlUrl] })
  const ask = (mode: 'hard-fail' | 'soft-fail') =>
    revocationCheck(settings(mode), world.fetch)!(certificateOf(issued), certificateOf(issuer), [], at)
  expect(await ask('hard-fail')).not.toHaveProperty('isTolerated')
  expect(await ask('soft-fail')).toMatchObject({ status: 'unknown', isTolerated: true })
})

function settings(mode: 'hard-fail' | 'soft-fail' | 'off') {
  return { anchors: [], bundles: [], revocation: { mode, graceMs: dayMs } }
}
