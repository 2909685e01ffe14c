import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals'
import { once } from 'node:events'
import net from 'node:net'
import type { Person } from './ccd.ts'
import { adtOf, cancelledDischargeOf, dischargeOf } from './hl7-messages.ts'
import type { LoadResult, SendingResult } from './hospital.ts'
import { startNeighbour, type Neighbour } from './neighbour.ts'

const ellen: Person = {
  id: 'ellen',
  identifiers: [{ system: 'urn:oid:2.16.840.1.113883.19.5', value: 'E1001', type: 'MR' }],
  family: 'Ross',
  given: 'Ellen',
  birthDate: '1956-08-14',
  gender: 'female',
}

let hospital: Neighbour
let receiver: net.Server
/** What the receiver does with the n-th frame: an acknowledgement code, or `drop`. */
let answers: (n: number) => string
let frames: string[]

beforeAll(async () => {
  hospital = await startNeighbour('hospital')
  receiver = net.createServer((socket) => {
    let pending = ''
    socket.on('error', () => {})
    socket.on('data', (chunk) => {
      pending += chunk.toString()
      for (let end; (end = pending.indexOf('\x1c\r')) >= 0; pending = pending.slice(end + 2)) {
        const frame = pending.slice(1, end)
        frames.push(frame)
        receiver.emit('frame')
        const code = answers(frames.length)
        if (code === 'drop') return void socket.destroy()
        const msh = frame.split('\r')[0]?.split('|') ?? []
        socket.write(`\x0bMSH|^~\\&|B|B|A|A|20260101||ACK^A03^ACK|1|P|2.5.1\rMSA|${code}|${msh[9]}\r\x1c\r`)
      }
    })
  })
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', () => resolve()))
  const { port } = receiver.address() as net.AddressInfo
  await hospital.order('target', { target: { host: '127.0.0.1', port } })
})
beforeEach(() => {
  frames = []
  answers = () => 'AA'
})
afterAll(async () => {
  await hospital.stop()
  receiver.close()
})

const send = (messages: string[], habits: object = {}) =>
  hospital.order<SendingResult[]>('send', { messages, habits: { resendAfterMs: 5, ...habits } })

test('a discharge is sent and its acknowledgement reported', async () => {
  const message = dischargeOf(ellen, { controlId: 'C1' })
  expect(await send([message])).toMatchObject([{ controlId: 'C1', ack: 'AA', attempts: 1, unanswered: 0 }])
  expect(frames).toEqual([message])
  expect(message).toMatch(/^MSH\|\^~\\&\|.*\|ADT\^A03\^ADT_A03\|C1\|P\|2\.5\.1\|.*\r/)
  expect(message).toContain('E1001^^^ASHBY&2.16.840.1.113883.19.5&ISO^MR')
})

test('after AE, a lost connection or silence it sends the same bytes again', async () => {
  answers = (n) => ['AE', 'drop', 'AA'][n - 1] ?? 'AA'
  const [result] = await send([dischargeOf(ellen)])
  expect(result).toMatchObject({ ack: 'AA', attempts: 3, unanswered: 1 })
  expect(new Set(frames).size).toBe(1)
})

test('AR is final', async () => {
  answers = () => 'AR'
  expect(await send([dischargeOf(ellen)])).toMatchObject([{ ack: 'AR', attempts: 1 }])
})

test('in enhanced mode the commit acknowledgement counts, and none is awaited where none is due', async () => {
  answers = () => 'CA'
  expect(await send([dischargeOf(ellen, { acceptAck: 'AL', applicationAck: 'NE' })])).toMatchObject([
    { ack: 'CA' },
  ])
  const arrived = once(receiver, 'frame')
  const [result] = await send([dischargeOf(ellen, { acceptAck: 'NE', applicationAck: 'NE' })])
  await arrived
  expect(result?.ack).toBeUndefined()
  expect(result?.gaveUp).toBeUndefined()
})

test('several connections carry a load, each message with its own control id and visit', async () => {
  const figures = await hospital.order<LoadResult>('load', {
    people: [ellen],
    count: 200,
    habits: { connections: 8 },
  })
  expect(figures).toMatchObject({ sent: 200, acknowledged: 200, notAccepted: 0, resent: 0 })
  expect(new Set(frames.map((frame) => frame.split('|')[9])).size).toBe(200)
})

test('a cancel names the visit it takes back', () => {
  const cancel = cancelledDischargeOf(ellen, 'V42')
  expect(cancel).toContain('ADT^A13^ADT_A01')
  expect(cancel).toContain('|V42^^^ASHBY|')
  expect(adtOf({ ...ellen, family: 'O|N^A' })).toContain('O\\F\\N\\S\\A^Ellen')
})

test('it ends when whoever started it lets go of its stdin', async () => {
  const brief = await startNeighbour('hospital')
  await brief.stop()
  await expect(brief.order('target', { target: null })).rejects.toThrow('has ended')
})
