import { afterAll, beforeAll, expect, jest, test } from '@jest/globals'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { adt, answer, framed } from './adt.ts'
import { openIntakeRoom, type IntakeRoom } from './intake-room.ts'

// A busy machine is no failure.
jest.setTimeout(60_000)

let database: TestDatabase
const open: IntakeRoom[] = []

beforeAll(async () => {
  database = await freshDatabase()
})

afterAll(async () => {
  await Promise.all(open.map((room) => room.close()))
  await database.close()
})

async function aRoom(choices: Parameters<typeof openIntakeRoom>[1] = {}): Promise<IntakeRoom> {
  const room = await openIntakeRoom(database.dataSource, choices)
  open.push(room)
  return room
}

const stored = async (room: IntakeRoom): Promise<string[]> =>
  (await room.messages()).map(({ controlId }) => controlId)

test('a frame is stored byte by byte and then acknowledged', async () => {
  const room = await aRoom()
  const sender = await room.sender()
  expect(answer(await sender.ask(adt('1')))).toBe('AA 1')
  const [message] = await room.messages()
  expect(message).toMatchObject({ controlId: '1', state: 'received', flags: [] })
  expect(message!.content.toString('latin1')).toBe(adt('1'))
})

test('a frame split at every place, also within its blocks, is one message', async () => {
  const room = await aRoom()
  const sender = await room.sender()
  const places = framed(adt('000')).length
  for (let at = 1; at < places; at++) {
    const id = String(at).padStart(3, '0')
    const bytes = framed(adt(id))
    sender.write(bytes.slice(0, at))
    await new Promise(setImmediate)
    sender.write(bytes.slice(at))
    expect(answer(await sender.reply())).toBe(`AA ${id}`)
  }
  expect(await stored(room)).toHaveLength(places - 1)
})

test('many frames in one write are answered one by one, in their order', async () => {
  const room = await aRoom()
  const sender = await room.sender()
  const ids = Array.from({ length: 300 }, (_, n) => `m${n}`)
  sender.write(ids.map((id) => framed(adt(id))).join(''))
  for (const id of ids) expect(answer(await sender.reply())).toBe(`AA ${id}`)
  expect(await stored(room)).toEqual(ids)
})

test('junk before a frame is kept aside with the reason; line ends between frames are no junk', async () => {
  const room = await aRoom()
  const sender = await room.sender()
  sender.write(`\r\n\r\n${framed(adt('1'))}\n\nGET / HTTP/1.1\r\n${framed(adt('2'))}`)
  expect(answer(await sender.reply())).toBe('AA 1')
  expect(answer(await sender.reply())).toBe('AA 2')
  const fragments = await room.fragments()
  expect(fragments.map(({ content }) => content.toString('latin1'))).toEqual(['\n\nGET / HTTP/1.1\r\n'])
  expect(fragments[0]!.because).toMatch(/outside of frames/)
})

test('a frame without its end is quarantined at the next start, and the next frame is whole', async () => {
  const room = await aRoom()
  const sender = await room.sender()
  const half = adt('half').slice(0, -10)
  sender.write(`\x0b${half}${framed(adt('whole'))}`)
  expect(answer(await sender.reply())).toBe('AA whole')
  expect(await stored(room)).toEqual(['whole'])
  const [fragment] = await room.fragments()
  expect(fragment!.content.toString('latin1')).toBe(half)
  expect(fragment!.because).toMatch(/its end \(0x1C 0x0D\) is missing/)
})

test('a frame whose 0x1C nothing follows is answered all the same, and flagged', async () => {
  const room = await aRoom({ limits: { endBlockWaitMsMax: 20 } })
  const sender = await room.sender()
  sender.write(`\x0b${adt('1')}\x1c`)
  expect(answer(await sender.reply())).toBe('AA 1')
  sender.write(`\x0b${adt('2')}\x1c\x0b${adt('3')}\x1c\r`)
  expect(answer(await sender.reply())).toBe('AA 2')
  expect(answer(await sender.reply())).toBe('AA 3')
  expect((await room.messages()).map(({ flags }) => flags)).toEqual([
    ['end-block-without-cr'],
    ['end-block-without-cr'],
    [],
  ])
})

test.each([
  ['LF', '\n', ''],
  ['CRLF', '\r\n', ''],
  ['a byte order mark', '\r', '\xef\xbb\xbf'],
  ['blank lines first', '\r', '\r\n \r'],
])('a message with %s is taken as it is', async (_, lineEnd, before) => {
  const room = await aRoom()
  const sender = await room.sender()
  const content = before + adt('1').replaceAll('\r', lineEnd)
  const reply = await sender.ask(content)
  expect(answer(reply)).toBe('AA 1')
  expect(reply).not.toMatch(/\n/)
  expect((await room.messages())[0]!.content.toString('latin1')).toBe(content)
})

test('what is no HL7 is kept raw with the reason, gets no answer, and does not stop the next message', async () => {
  const room = await aRoom()
  const sender = await room.sender()
  const utf16 = Buffer.from('\ufeffMSH|^~\\&|', 'utf16le').toString('latin1')
  sender.write([framed('hello'), framed(utf16), framed('PID|1'), framed(adt('1'))].join(''))
  expect(answer(await sender.reply())).toBe('AA 1')
  const fragments = await room.fragments()
  expect(fragments.map(({ content }) => content.toString('latin1')).sort()).toEqual(
    ['PID|1', 'hello', utf16].sort(),
  )
  expect(fragments.map(({ because }) => because).sort()).toEqual([
    'the frame does not begin with an MSH segment',
    'the frame does not begin with an MSH segment',
    'the frame looks like UTF-16, which MLLP cannot carry: let the sender write UTF-8',
  ])
})

test('what is begun when the connection ends is kept: a frame that lacks only its 0x0D as message, less as fragment', async () => {
  const room = await aRoom()
  const whole = await room.sender()
  whole.write(`\x0b${adt('1')}\x1c`)
  whole.end()
  expect((await whole.ended()).map(answer)).toEqual(['AA 1'])
  const half = await room.sender()
  half.write(`\x0b${adt('2')}`)
  half.end()
  expect(await half.ended()).toEqual([])
  expect((await room.fragments()).map(({ content }) => content.toString('latin1'))).toEqual([adt('2')])
  expect(await stored(room)).toEqual(['1'])
})

test('an empty frame is nothing: no message, no fragment, no answer', async () => {
  const room = await aRoom()
  const sender = await room.sender()
  sender.write(framed('') + framed(adt('1')))
  expect(answer(await sender.reply())).toBe('AA 1')
  expect(await stored(room)).toEqual(['1'])
  expect(await room.fragments()).toEqual([])
})
