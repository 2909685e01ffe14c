import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { messagesIn, messagesPerFrameMax } from '../../src/intake/batch.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { adt, answer, framed } from './adt.ts'
import { openIntakeRoom } from './intake-room.ts'

const split = (text: string): string[] | undefined =>
  messagesIn(Buffer.from(text, 'latin1'))?.map((message) => message.toString('latin1'))

const envelope = (lineEnd: string, ...messages: string[]): string =>
  [`FHS|^~\\&|ADT1`, `BHS|^~\\&|ADT1`, ...messages, `BTS|${messages.length}`, 'FTS|1', '']
    .join('\r')
    .replaceAll('\r\r', '\r')
    .replaceAll('\r', lineEnd)

describe('a frame with several messages', () => {
  test('one message is the frame itself, with all that stands before it', () => {
    for (const text of [adt('1'), `\xef\xbb\xbf${adt('1')}`, 'hello', '', 'PID|1\rMSH|^~\\&|']) {
      expect(split(text)).toEqual([text])
    }
  })

  test.each(['\r', '\n', '\r\n'])('a batch in its envelope comes apart, line ends %j', (lineEnd) => {
    const messages = [adt('1'), adt('2'), adt('3')]
    expect(split(envelope(lineEnd, ...messages))).toEqual(
      messages.map((text) => text.replaceAll('\r', lineEnd)),
    )
  })

  test('several MSH without an envelope, and a file of several batches, too', () => {
    expect(split(adt('1') + adt('2'))).toEqual([adt('1'), adt('2')])
    const batches = `FHS|^~\\&\rBHS|^~\\&\r${adt('1')}BTS|1\rBHS|^~\\&\r${adt('2')}BTS|1\rFTS|2\r`
    expect(split(batches)).toEqual([adt('1'), adt('2')])
  })

  test('an envelope around one message is taken off; one around none is kept whole', () => {
    expect(split(envelope('\r', adt('1')))).toEqual([adt('1')])
    expect(split('FHS|^~\\&\rBHS|^~\\&\rBTS|0\rFTS|1\r')).toEqual(['FHS|^~\\&\rBHS|^~\\&\rBTS|0\rFTS|1\r'])
  })

  test('MSH within a field, or with another separator, begins no message', () => {
    for (const more of ['NTE|1||see MSH|^~\\& there\r', 'NTE|1||line\rMSHA is no header\r', 'MSH#^~\\&#\r'])
      expect(split(adt('1') + more)).toEqual([adt('1') + more])
  })

  test('more than a thousand messages are no frame any more', () => {
    expect(split(adt('1').repeat(messagesPerFrameMax))).toHaveLength(messagesPerFrameMax)
    expect(split(adt('1').repeat(messagesPerFrameMax + 1))).toBeUndefined()
  })
})

describe('a batch over the wire', () => {
  let database: TestDatabase

  beforeAll(async () => {
    database = await freshDatabase()
  }, 60_000)

  afterAll(() => database.close())

  test('each message is stored and answered by itself; a bad one does not take the others with it', async () => {
    const room = await openIntakeRoom(database.dataSource)
    const sender = await room.sender()
    const quiet = adt('quiet', { 15: 'NE', 16: 'NE' })
    sender.write(
      framed(envelope('\r', adt('1'), adt(''), quiet, adt('3', { 15: 'AL', 16: 'AL' }))) + framed(adt('4')),
    )
    const answers = []
    for (let reply = 0; reply < 5; reply++) answers.push(answer(await sender.reply()))
    expect(answers).toEqual(['AA 1', 'AR ', 'CA 3', 'AA 3', 'AA 4'])
    const messages = await room.messages()
    expect(messages.map(({ controlId, state, flags }) => [controlId, state, flags])).toEqual([
      ['1', 'received', ['in-batch']],
      ['', 'quarantined', ['in-batch']],
      ['quiet', 'received', ['in-batch']],
      ['3', 'received', ['in-batch']],
      ['4', 'received', []],
    ])
    expect(messages[0]!.content.toString('latin1')).toBe(adt('1'))
    await room.close()
  })

  test('too many at once are refused and kept aside', async () => {
    const room = await openIntakeRoom(database.dataSource)
    const sender = await room.sender()
    const flood = adt('1').repeat(messagesPerFrameMax + 1)
    expect(answer(await sender.ask(flood))).toBe('AR 1')
    expect(await room.messages()).toEqual([])
    expect((await room.fragments()).map(({ content }) => content.length)).toEqual([flood.length])
    await room.close()
  })
})
