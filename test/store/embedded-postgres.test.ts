import { describe, expect, test } from '@jest/globals'
import { spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import {
  aDirectory,
  aMadeDirectory,
  lastOpened,
  made,
  opens,
  query,
  isGone,
  runs,
  serverPid,
} from './opening.ts'

describe('one engine per directory', () => {
  test('a second engine is refused and told which process has it, since when, and what to do', async () => {
    const directory = aMadeDirectory()
    const first = opens('engine', directory)
    await first.hears('open')
    const second = await opens('engine', directory).hears('refused')
    expect(second.name).toBe('EngineRunning')
    expect(second.message).toContain(`process ${first.child.pid}, since 20`)
    expect(second.message).toMatch(/Stop it .*dataDirectory.*DATABASE_URL/)
    expect(runs(serverPid(directory))).toBe(true)
  })

  test('of two that start at the same instant in an empty directory, one works and the other is told so', async () => {
    const directory = aDirectory()
    const both = [opens('engine', directory), opens('engine', directory)]
    const first = await Promise.race(
      both.map((one) =>
        one.hears('open').then(
          () => one,
          () => new Promise<never>(() => {}),
        ),
      ),
    )
    const other = both.find((one) => one !== first)!
    const refusal = await other.hears('refused')
    expect(refusal.message).toContain(`process ${first.child.pid}`)
    expect(readdirSync(join(directory, 'postgres')).filter((name) => name.startsWith('making-'))).toEqual([])
  })

  test('an engine that comes while the last one is stopping starts the server again', async () => {
    const directory = aMadeDirectory()
    const first = opens('engine', directory)
    await first.hears('open')
    first.child.kill('SIGTERM')
    await first.hears('drained')
    const second = opens('engine', directory)
    const outcome = await Promise.race(
      [second.hears('open'), second.hears('refused')].map((one) =>
        one.catch(() => new Promise<never>(() => {})),
      ),
    )
    // Still draining: refused. Already stopping: waits for its turn. Never anything else.
    if (outcome.event === 'refused') expect(outcome.name).toBe('EngineRunning')
    else expect(await query(outcome.url, 'SELECT what FROM kept')).toContainEqual({ what: 'drained' })
  })
})

describe('stopping', () => {
  test.each(['SIGTERM', 'SIGINT'] as const)(
    '%s to the whole process group lets the drain commit before the database stops',
    async (signal) => {
      const directory = aMadeDirectory()
      const engine = opens('engine', directory)
      await engine.hears('open')
      const pid = serverPid(directory)
      process.kill(-engine.child.pid!, signal)
      await engine.hears('stopped')
      await engine.ends()
      await isGone(pid)
      expect(serverPid(directory)).toBeUndefined()
      const { url } = await opens('visitor', directory).hears('open')
      expect(await query(url, "SELECT count(*)::int AS drained FROM kept WHERE what = 'drained'")).toEqual([
        { drained: 2 },
      ])
    },
  )

  test('a visitor alone stops the server that it started', async () => {
    const directory = aMadeDirectory()
    const visitor = opens('visitor', directory)
    await visitor.hears('open')
    const pid = serverPid(directory)
    await visitor.ends('SIGTERM')
    await isGone(pid)
  })

  test('a visitor beside an engine comes and goes without disturbing it', async () => {
    const directory = aMadeDirectory()
    const engine = opens('engine', directory)
    const { url } = await engine.hears('open')
    const pid = serverPid(directory)
    await opens('visitor', directory).hears('open')
    await lastOpened().ends('SIGTERM')
    expect(serverPid(directory)).toBe(pid)
    await query(url, 'SELECT 1')
  })

  test('a visitor leaves the server to the engine that came meanwhile; the engine stops it', async () => {
    const directory = aMadeDirectory()
    const visitor = opens('visitor', directory)
    await visitor.hears('open')
    const engine = opens('engine', directory)
    const { url } = await engine.hears('open')
    await visitor.ends('SIGTERM')
    await query(url, 'SELECT 1')
    const pid = serverPid(directory)
    await engine.ends('SIGTERM')
    await isGone(pid)
  })
})

describe('who may connect', () => {
  test('nobody but the owner reaches the socket, and no port is open', async () => {
    const directory = aMadeDirectory()
    const { url, data } = await opens('engine', directory).hears('open')
    expect(statSync(join(directory, 'postgres/run')).mode & 0o777).toBe(0o700)
    expect(statSync(data).mode & 0o777).toBe(0o700)
    expect(await query(url, 'SHOW listen_addresses')).toEqual([{ listen_addresses: '' }])
    expect(await query(url, 'SELECT rolsuper FROM pg_roles WHERE rolname = current_user')).toEqual([
      { rolsuper: false },
    ])
  })

  test('where the socket’s path would be too long, loopback with a password does', async () => {
    const deep = join(aMadeDirectory(), 'a-directory-name-of-fifty-characters-0123456789-0123456789')
    mkdirSync(deep)
    spawnSync('cp', ['-Rp', join(made, 'postgres'), deep])
    const engine = opens('engine', deep)
    const { url } = await engine.hears('open')
    const address = new URL(url)
    expect(address.hostname).toBe('127.0.0.1')
    expect(await query(url, 'SHOW listen_addresses')).toEqual([{ listen_addresses: '127.0.0.1' }])
    address.password = 'guessed'
    await expect(query(address.href, 'SELECT 1')).rejects.toThrow(/password authentication failed/)
    expect(statSync(join(deep, 'postgres/password')).mode & 0o777).toBe(0o600)
    await engine.ends('SIGTERM')
    const { url: again } = await opens('visitor', deep).hears('open')
    expect(again).toBe(url)
    await lastOpened().ends('SIGTERM')
  })
})
