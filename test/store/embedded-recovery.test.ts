import { describe, expect, test } from '@jest/globals'
import { spawn } from 'node:child_process'
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import pg from 'pg'
import { aMadeDirectory, isRoot, opens, query, isGone, runs, serverPid } from './opening.ts'

describe('after a kill', () => {
  test('of bluepost: the next start takes the running server over, with every committed row', async () => {
    const directory = aMadeDirectory()
    const first = opens('engine', directory)
    await query((await first.hears('open')).url, "INSERT INTO kept VALUES ('before the kill')")
    const pid = serverPid(directory)
    await first.ends('SIGKILL')
    expect(runs(pid)).toBe(true)
    const second = opens('engine', directory)
    const { url } = await second.hears('open')
    expect(serverPid(directory)).toBe(pid)
    expect(await query(url, 'SELECT what FROM kept')).toContainEqual({ what: 'before the kill' })
    await second.ends('SIGTERM')
    await isGone(pid)
  })

  test('of bluepost and its server: the next start recovers every committed row', async () => {
    const directory = aMadeDirectory()
    const first = opens('engine', directory)
    await query((await first.hears('open')).url, "INSERT INTO kept VALUES ('before the kill')")
    first.child.kill('SIGKILL')
    process.kill(serverPid(directory)!, 'SIGKILL')
    await first.ends()
    const { url } = await opens('engine', directory).hears('open')
    expect(await query(url, 'SELECT what FROM kept')).toContainEqual({ what: 'before the kill' })
  })

  test('of the server with a session still at work: the next start waits for that session’s end', async () => {
    const directory = aMadeDirectory()
    const first = opens('engine', directory)
    const { url } = await first.hears('open')
    // A stopped backend cannot notice that its server is gone: it stays attached until it may run again.
    const client = new pg.Client({ connectionString: url })
    client.on('error', () => {})
    await client.connect()
    const { rows } = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')
    const backend = rows[0]!.pid
    process.kill(backend, 'SIGSTOP')
    first.child.kill('SIGKILL')
    process.kill(serverPid(directory)!, 'SIGKILL')
    await first.ends()
    const second = opens('engine', directory)
    await second.hears('log', /still ending/)
    process.kill(backend, 'SIGCONT')
    await query((await second.hears('open')).url, 'SELECT 1')
    await client.end().catch(() => {})
  })

  test('of the server under a running engine: it is started again at the same address', async () => {
    const directory = aMadeDirectory()
    const engine = opens('engine', directory)
    const { url } = await engine.hears('open')
    process.kill(serverPid(directory)!, 'SIGKILL')
    await engine.hears('log', /is back/)
    await query(url, "INSERT INTO kept VALUES ('after')")
    const second = await opens('engine', directory).hears('refused')
    expect(second.message).toContain(`process ${engine.child.pid}`)
  })

  test('a lock file whose number now belongs to another program does not hinder the start', async () => {
    const directory = aMadeDirectory()
    const first = opens('engine', directory)
    await first.hears('open')
    const lock = join(directory, 'postgres/data/postmaster.pid')
    const socketLock = join(directory, 'postgres/run/.s.PGSQL.5432.lock')
    first.child.kill('SIGKILL')
    process.kill(serverPid(directory)!, 'SIGKILL')
    await first.ends()
    // A program of the account’s own: PostgreSQL itself would take it for its predecessor.
    const { uid, gid } = statSync(lock)
    const other = spawn('sleep', ['600'], { cwd: '/', ...(isRoot ? { uid, gid } : {}) })
    for (const path of [lock, socketLock]) {
      writeFileSync(path, readFileSync(path, 'utf8').replace(/^\d+/, String(other.pid)))
    }
    const { url } = await opens('engine', directory).hears('open')
    await query(url, 'SELECT 1')
    expect(other.exitCode).toBeNull()
    other.kill()
  })
})
