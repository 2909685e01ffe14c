import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { anApi } from './an-api.ts'

let api: Awaited<ReturnType<typeof anApi>>
beforeAll(async () => {
  api = await anApi()
}, 60_000)
afterAll(() => api.close())

test('FHIR servers read our public keys without a login, and may keep them for a while', async () => {
  const answer = await fetch(`${api.url}/.well-known/jwks.json`)
  expect(answer.status).toBe(200)
  expect(answer.headers.get('cache-control')).toBe('public, max-age=300')
  expect(answer.headers.get('content-type')).toContain('application/json')
  expect(await answer.json()).toEqual({ keys: [{ kty: 'EC', kid: 'k1' }] })
})
