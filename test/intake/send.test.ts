import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, jest, test } from '@jest/globals'
import type { MllpTls } from '../../src/intake/mllp-listener.ts'
import { makeRoot, serverAuth } from '../pki/pki.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { adt } from './adt.ts'
import { openIntakeRoom, type IntakeRoom } from './intake-room.ts'

// Each call is a process of its own.
jest.setTimeout(60_000)

let database: TestDatabase
let directory: string
let room: IntakeRoom | undefined

beforeAll(async () => {
  database = await freshDatabase()
  directory = mkdtempSync(join(tmpdir(), 'bluepost-send-'))
})

afterEach(async () => {
  await room?.close()
  room = undefined
})

afterAll(async () => {
  rmSync(directory, { recursive: true })
  await database.close()
})

async function aRoom(tls?: MllpTls): Promise<string> {
  room = await openIntakeRoom(database.dataSource, tls === undefined ? {} : { tls })
  return `127.0.0.1:${room.listener.address.port}`
}

function file(name: string, content: string): string {
  const path = join(directory, name)
  writeFileSync(path, content, 'latin1')
  return path
}

/** Runs `bluepost send` as a user does. */
function send(...words: string[]): Promise<{ code: number | null; out: string; err: string }> {
  const cli = new URL('../../src/cli.ts', import.meta.url).pathname
  const child = spawn(process.execPath, [cli, 'send', ...words], { env: { PATH: process.env['PATH'] } })
  let out = ''
  let err = ''
  child.stdout.on('data', (text: Buffer) => (out += text.toString()))
  child.stderr.on('data', (text: Buffer) => (err += text.toString()))
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, out, err })))
}

const storedIds = async (): Promise<string[]> => (await room!.messages()).map(({ controlId }) => controlId)

test('a file is sent with its bytes and CR as line ends, and the acknowledgement printed', async () => {
  const place = await aRoom()
  const path = file('one.hl7', adt('1', { 3: 'H\xd4PITAL' }).replaceAll('\r', '\r\n'))
  const { code, out, err } = await send(place, path)
  expect(err).toBe('')
  expect(out).toMatch(new RegExp(`^${path}: AA\\nMSH\\|.*\\nMSA\\|AA\\|1\\n$`))
  expect(code).toBe(0)
  expect((await room!.messages())[0]!.content.toString('latin1')).toBe(adt('1', { 3: 'H\xd4PITAL' }))
})

test('several files with several messages, with and without envelope, go one after the other over one connection', async () => {
  const place = await aRoom()
  const two = file('two.hl7', adt('1') + '\r' + adt('2', { 15: 'AL', 16: 'AL' }))
  const batch = file(
    'batch.hl7',
    `FHS|^~\\&\nBHS|^~\\&\n${adt('3')}${adt('4', { 15: 'NE', 16: 'NE' })}BTS|2\nFTS|1\n`,
  )
  const { code, out } = await send(place, two, batch, '--json')
  expect(code).toBe(0)
  const results = JSON.parse(out) as {
    from: string
    outcome: string
    code: string
    acknowledgements: string[]
  }[]
  expect(
    results.map((result) => [result.from, result.outcome, result.code, result.acknowledgements.length]),
  ).toEqual([
    [`${two} #1`, 'accepted', 'AA', 1],
    [`${two} #2`, 'accepted', 'CA', 2],
    [`${batch} #1`, 'accepted', 'AA', 1],
    [`${batch} #2`, 'silent', null, 0],
  ])
  expect(room!.listener.counts().connections).toBe(1)
  await room!.listener.close(1000)
  expect(await storedIds()).toEqual(['1', '2', '3', '4'])
})

test('a refusal is printed with its reason and ends with 1, also where only errors are told; the rest is sent', async () => {
  const place = await aRoom()
  const bad = file('bad.hl7', adt('1', { 12: '3.0' }))
  const errorsOnly = file('errors.hl7', adt('2', { 11: 'Q', 15: 'NE', 16: 'ER' }))
  const { code, out } = await send(place, bad, errorsOnly, file('good.hl7', adt('3')))
  expect(code).toBe(1)
  expect(out).toMatch(
    /bad\.hl7: AR\n(.*\n)*.*Unsupported version id(.*\n)*.*errors\.hl7: AR\n(.*\n)*.*good\.hl7: AA/,
  )
  expect(await storedIds()).toEqual(['1', '2', '3'])
})

test('a listener that takes no part is reported, and nothing more is sent to it', async () => {
  const mute = net.createServer((socket) => socket.on('error', () => {}).resume())
  await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve))
  const { port } = mute.address() as net.AddressInfo
  const { code, out, err } = await send(
    `127.0.0.1:${port}`,
    file('a.hl7', adt('1')),
    file('b.hl7', adt('2')),
    '--timeout',
    '0.2',
  )
  expect(code).toBe(1)
  expect(out).toMatch(/a\.hl7: no answer/)
  expect(err).toBe('1 more messages were not sent\n')
  await new Promise((resolve) => mute.close(resolve))
  const refused = await send(`127.0.0.1:${port}`, file('a.hl7', adt('1')))
  expect(refused).toMatchObject({ code: 1, out: '' })
  expect(refused.err).toMatch(/cannot be reached: nothing listens there/)
})

test('TLS: the listener’s certificate is checked, and our own shown where it is asked for', async () => {
  const authority = makeRoot()
  const name = 'intake.ashby.example'
  const server = authority.issue({ name, domains: [name], extendedKeyUsage: [serverAuth] })
  const us = authority.issue({ name: 'us', extendedKeyUsage: ['1.3.6.1.5.5.7.3.2'] })
  const place = await aRoom({
    certificate: server.certificatePem,
    privateKey: server.privateKeyPem,
    clientAuthorities: authority.certificatePem,
  })
  const message = file('tls.hl7', adt('1'))
  const ca = file('ca.pem', authority.certificatePem)
  const ours = ['--cert', file('us.pem', us.certificatePem), '--key', file('us.key', us.privateKeyPem)]

  expect(await send(place, message, '--ca', ca, ...ours, '--server-name', name)).toMatchObject({ code: 0 })
  const wrongName = await send(place, message, '--ca', ca, ...ours)
  expect(wrongName).toMatchObject({
    code: 1,
    err: expect.stringMatching(/cannot be reached: .*altnames/i) as unknown,
  })
  const unknown = await send(place, message, '--tls', ...ours, '--server-name', name)
  expect(unknown.code).toBe(1)
  const anonymous = await send(place, message, '--ca', ca, '--server-name', name)
  expect(anonymous.code).toBe(1)
  expect(await storedIds()).toEqual(['1'])
})

test('wrong use ends with 2 and says how; --help is help', async () => {
  const path = file('one.hl7', adt('1'))
  for (const words of [
    [],
    ['127.0.0.1:6661'],
    ['127.0.0.1', path],
    ['127.0.0.1:99999', path],
    ['127.0.0.1:1', path, '--nonsense'],
    ['127.0.0.1:1', path, '--timeout', 'soon'],
    ['127.0.0.1:1', path, '--cert', path],
  ]) {
    const { code, err } = await send(...words)
    expect([words, code]).toEqual([words, 2])
    expect(err).toMatch(/bluepost send --help/)
  }
  expect(await send('127.0.0.1:1', join(directory, 'absent.hl7'))).toMatchObject({
    code: 1,
    err: expect.stringMatching(/absent\.hl7 cannot be read \(ENOENT\)/) as unknown,
  })
  const help = await send('--help')
  expect(help).toMatchObject({
    code: 0,
    out: expect.stringMatching(/bluepost send HOST:PORT FILE…/) as unknown,
  })
})
