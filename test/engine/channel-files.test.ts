import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from '@jest/globals'
import { loadChannels } from '../../src/channels/load.ts'
import { openChannelFiles, type ChannelFiles } from '../../src/engine/channel-files.ts'

let folder: string
const inside = (file: string) => join(folder, file)
const write = (file: string, text: string) => writeFileSync(inside(file), text)
const change = (file: string, from: string | RegExp, to: string) => {
  const text = readFileSync(inside(file), 'utf8')
  expect(text).toMatch(from)
  write(file, text.replace(from, to))
}
const load = () =>
  loadChannels({
    channelsDirectory: inside('channels'),
    mappingsDirectory: inside('mappings'),
    environment: {},
  })
const reload = async (files: ChannelFiles) =>
  Object.fromEntries((await files.reload(async () => {})).map(({ channel, outcome }) => [channel, outcome]))

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'bluepost-files-'))
  cpSync(join(import.meta.dirname, '../bad-configs/base'), folder, { recursive: true })
  const text = readFileSync(inside('channels/adt.yaml'), 'utf8')
  write(
    'channels/other.yaml',
    text.replace('channel: adt', 'channel: other').replace("'${ADT_PORT:-6661}'", '0'),
  )
})
afterEach(() => rmSync(folder, { recursive: true }))

test('a channel whose files cannot be used goes on as it was; the others are taken', async () => {
  const files = openChannelFiles(load, true)
  const before = files.plan('adt')!
  change('channels/adt.yaml', 'kind: discharge', 'kind: transition')
  change('channels/other.yaml', /^hold:.*$/m, 'hold: { for: 3m }')
  expect(await reload(files)).toEqual({ adt: 'refused', other: 'changed' })
  expect(files.plan('adt')).toBe(before)
  expect(files.refusal('adt')).toMatch(/adt\.yaml:\d+:1 {2}channel adt fails its own test/)
  expect(files.plan('other')!.hold!.forMs).toBe(180_000)
  change('channels/adt.yaml', 'kind: transition', 'kind: discharge')
  expect(await reload(files)).toEqual({ adt: 'same', other: 'same' })
  expect(files.refusal('adt')).toBeUndefined()
})

test('a mapping that cannot be read stops no channel that uses it', async () => {
  const files = openChannelFiles(load, true)
  const mapping = `mappings/${files.plan('adt')!.mapping.name}.yaml`
  change(mapping, /^rows:/m, 'row:')
  expect(await reload(files)).toEqual({ adt: 'refused', other: 'refused' })
  expect(files.refusal('adt')).toMatch(/adt\.yaml:\d+:\d+ {2}mapping "adt-to-trigger" has errors of its own/)
  expect(files.plans()).toHaveLength(2)
  expect(files.broken()).toEqual([])
})

test('a file that is gone ends its channel, after it has stopped receiving; one that comes is added', async () => {
  const files = openChannelFiles(load, true)
  rmSync(inside('channels/other.yaml'))
  let whileStopping: unknown
  const reloaded = await files.reload(async (gone) => {
    whileStopping = { gone, isThere: files.plan('other') !== undefined }
  })
  expect(whileStopping).toEqual({ gone: ['other'], isThere: true })
  expect(reloaded).toContainEqual({
    channel: 'other',
    outcome: 'removed',
    revision: null,
    because: 'its file is gone',
  })
  expect(files.plan('other')).toBeUndefined()
  write(
    'channels/other.yaml',
    readFileSync(inside('channels/adt.yaml'), 'utf8')
      .replace('channel: adt', 'channel: other')
      .replace("'${ADT_PORT:-6661}'", '0'),
  )
  expect(await reload(files)).toEqual({ adt: 'same', other: 'added' })
})

test('one that never could be used is broken, not gone: it is told, and taken once it is right', async () => {
  change('channels/other.yaml', 'kind: discharge', 'kind: transition')
  const files = openChannelFiles(load, true)
  expect(files.broken()).toEqual(['other'])
  expect(files.plan('other')).toBeUndefined()
  change('channels/other.yaml', 'kind: transition', 'kind: discharge')
  expect(await reload(files)).toEqual({ adt: 'same', other: 'added' })
  expect(files.broken()).toEqual([])
})
