import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { mkdtempSync, rmSync, statSync, writeFileSync, readFileSync } from 'node:fs'
import { spawnSync } from 'node:child_process'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { aListener } from './a-listener.ts'
import { ellen, ours } from './mail-peer.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'bluepost-lmtp-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

const places = {
  TCP: () => ({ host: '127.0.0.1', port: 0 }),
  'a UNIX socket': () => ({ path: join(folder, 'lmtp') }),
}

describe.each(['TCP', 'a UNIX socket'] as const)('LMTP over %s', (place) => {
  const lmtp = () => ({ protocol: 'lmtp' as const, at: places[place]() })

  test('takes mail from the mail server in front', async () => {
    const { peer, stored } = await aListener(lmtp())
    const one = await peer()
    await one.begin([ours], 'LHLO')
    expect(await one.say('hello\r\n.')).toMatch(/^250 /)
    expect(stored).toEqual([
      {
        envelopeFrom: ellen,
        envelopeTo: [ours],
        peer: place === 'TCP' ? '127.0.0.1' : 'unix',
        content: 'hello\r\n',
      },
    ])
  })

  test('speaks no SMTP, and answers once for each recipient that it took', async () => {
    const second = 'records@direct.ashby.example'
    let isDown = false
    const { peer } = await aListener({ ...lmtp(), recipients: { addresses: [ours, second] } }, async () => {
      if (isDown) throw new Error('down')
    })
    const one = await peer()
    expect(await one.say('EHLO x.example')).toMatch(/^500 /)
    for (const answer of [/^250 /, /^451 /]) {
      await one.begin([ours, second], 'LHLO')
      expect(await one.say('hello\r\n.')).toMatch(answer)
      expect(await one.reply()).toMatch(answer)
      isDown = true
    }
    expect(await one.say(`MAIL FROM:<${ellen}>`)).toMatch(/^250 /)
    expect(await one.say(`RCPT TO:<${ellen}>`)).toMatch(/^550 /)
  })
})

describe('the socket file', () => {
  const at = () => ({ protocol: 'lmtp' as const, at: { path: join(folder, 'socket') } })

  test('is for the owner and the group of the mail server', async () => {
    await aListener(at())
    expect(statSync(join(folder, 'socket')).mode & 0o777).toBe(0o660)
  })

  test('left behind by a killed process does not stand in the way', async () => {
    const path = join(folder, 'socket')
    const killed = `require('node:net').createServer().listen(process.argv[1], () => process.kill(process.pid, 'SIGKILL'))`
    spawnSync(process.execPath, ['-e', killed, path])
    expect(statSync(path).isSocket()).toBe(true)
    const { peer } = await aListener(at())
    expect(await (await peer()).say('NOOP')).toMatch(/^250 /)
  })

  test('of a process that lives is left alone, with the remedy', async () => {
    const { peer } = await aListener(at())
    await expect(aListener(at())).rejects.toThrow(/something listens there already/)
    expect(await (await peer()).say('NOOP')).toMatch(/^250 /)
  })

  test('is never another file that has its name', async () => {
    writeFileSync(join(folder, 'records.txt'), 'precious')
    await expect(aListener({ protocol: 'lmtp', at: { path: join(folder, 'records.txt') } })).rejects.toThrow(
      /no socket/,
    )
    expect(readFileSync(join(folder, 'records.txt'), 'utf8')).toBe('precious')
    await expect(
      aListener({ protocol: 'lmtp', at: { path: join(folder, 'nowhere', 'socket') } }),
    ).rejects.toThrow(/folder/)
  })
})
