import { describe, expect, test } from '@jest/globals'
import { acknowledge, refusedFor, type AckMode, type Reception } from '../../src/intake/acknowledge.ts'
import { makeControlIds } from '../../src/intake/control-ids.ts'
import { readHeader } from '../../src/intake/msh.ts'
import { betweenFrames } from '../../src/lib/mllp.ts'
import { adt } from './adt.ts'

const at = new Date('2026-03-02T16:30:00.500Z')

/** The reply as latin1 text; several stand in a line each. */
function replyTo(
  message: string,
  reception: Reception = { outcome: 'stored' },
  mode?: AckMode,
): string | undefined {
  const reading = readHeader(Buffer.from(message, 'latin1'))
  if (reading.is === 'not-hl7') throw new Error(reading.because)
  const { header, defect } = reading
  const ours = { at, newControlId: () => 'OURS', ...(mode === undefined ? {} : { mode }) }
  const reply = acknowledge(header, defect === undefined ? reception : refusedFor(defect), ours)
  return reply?.toString('latin1').replaceAll(betweenFrames.toString('latin1'), '\n')
}

/** MSA-1 of every reply. */
function codes(message: string, reception?: Reception, mode?: AckMode): string {
  const replies = replyTo(message, reception, mode)?.split('\n') ?? []
  return replies.map((reply) => /\rMSA.(..)/.exec(reply)![1]).join(' ')
}

const refused: Reception = { outcome: 'refused', error: { code: '207', text: 'Application internal error' } }

describe('what is answered when (HL7 v2.5.1 ch. 2.9.2 and 2.9.3, table 0155)', () => {
  // MSH-15, MSH-16, then the answers to stored, not-stored, refused.
  test.each([
    ['', '', 'AA', 'AE', 'AR'],
    ['AL', '', 'CA', 'CE', 'CR'],
    ['AL', 'NE', 'CA', 'CE', 'CR'],
    ['AL', 'AL', 'CA AA', 'CE', 'CR'],
    ['AL', 'ER', 'CA', 'CE', 'CR'],
    ['AL', 'SU', 'CA AA', 'CE', 'CR'],
    ['NE', 'NE', '', '', ''],
    ['NE', 'AL', 'AA', 'AE', 'AR'],
    ['NE', 'ER', '', 'AE', 'AR'],
    ['NE', 'SU', 'AA', '', ''],
    ['ER', 'NE', '', 'CE', 'CR'],
    ['ER', 'AL', 'AA', 'CE', 'CR'],
    ['ER', 'ER', '', 'CE', 'CR'],
    ['SU', 'NE', 'CA', '', ''],
    ['SU', 'AL', 'CA AA', 'AE', 'AR'],
    ['SU', 'ER', 'CA', 'AE', 'AR'],
    ['', 'AL', 'AA', 'AE', 'AR'],
    ['', 'NE', '', '', ''],
    ['ACCEPT ACKNOLWEDGE', '', 'CA', 'CE', 'CR'],
    ['al', ' ne ', 'CA', 'CE', 'CR'],
    ['""', '""', '', '', ''],
  ])('MSH-15 “%s”, MSH-16 “%s”: %s / %s / %s', (accept, application, stored, notStored, refusal) => {
    const message = adt('1', { 15: accept, 16: application })
    expect(codes(message)).toBe(stored)
    expect(codes(message, { outcome: 'not-stored' })).toBe(notStored)
    expect(codes(message, refused)).toBe(refusal)
  })

  test('a channel may insist on one mode', () => {
    expect(codes(adt('1', { 15: 'AL', 16: 'NE' }), undefined, 'original')).toBe('AA')
    expect(codes(adt('1', { 15: 'NE', 16: 'NE' }), { outcome: 'not-stored' }, 'original')).toBe('AE')
    expect(codes(adt('1'), undefined, 'enhanced')).toBe('CA')
    expect(codes(adt('1'), refused, 'enhanced')).toBe('CR')
    expect(codes(adt('1', { 15: 'NE', 16: 'AL' }), undefined, 'enhanced')).toBe('AA')
  })

  test.each(['ACK', 'ACK^A03', 'ACK^A03^ACK', 'MCF', 'ack'])('%s is never acknowledged', (type) => {
    expect(replyTo(adt('1', { 9: type, 15: 'AL', 16: 'AL' }))).toBeUndefined()
  })
})

describe('how it is answered', () => {
  test('sender and receiver change places; event, processing id, version and control id come back', () => {
    expect(replyTo(adt('A-17'))).toBe(
      'MSH|^~\\&|BLUEPOST|ASHBY|ADT1|ASHBY|20260302163000+0000||ACK^A03^ACK|OURS|P|2.5.1\rMSA|AA|A-17\r',
    )
  })

  test('every separator is the sender’s', () => {
    const message = 'MSH#:;!@#ADT1:1.2.3:ISO#ASHBY#BLUEPOST#ASHBY#2026##ADT:A03#A-17#P#2.5\rPID#1\r'
    expect(replyTo(message, { outcome: 'not-stored' })).toBe(
      'MSH#:;!@#BLUEPOST#ASHBY#ADT1:1.2.3:ISO#ASHBY#20260302163000+0000##ACK:A03:ACK#OURS#P#2.5\r' +
        'MSA#AE#A-17#Not stored. Send the same message again later.\r' +
        'ERR###207:Application internal error:HL70357#E\r',
    )
  })

  test.each(['^~\\&#', '^~}', '^~\\}', '^\xcb\x9c\\&'])(
    'encoding characters %s come back as they are',
    (characters) => {
      expect(replyTo(adt('1', { 2: characters }))).toMatch(/^MSH\|/)
      expect(replyTo(adt('1', { 2: characters }))!.split('|')[1]).toBe(characters)
    },
  )

  test('the charset is the sender’s, and its bytes come back untouched', () => {
    const latin = adt('1', { 3: 'H\xd4PITAL', 18: '8859/1' })
    expect(replyTo(latin)).toMatch(/^MSH\|\^~\\&\|BLUEPOST\|ASHBY\|H\xd4PITAL\|ASHBY\|.*\|8859\/1\rMSA/)
    const utf8 = adt('1', { 4: 'H\xc3\x94PITAL', 18: 'UNICODE UTF-8' })
    expect(replyTo(utf8)).toMatch(/\|H\xc3\x94PITAL\|.*\|UNICODE UTF-8\rMSA/)
    const japan = replyTo(adt('1', { 18: '~ISO IR87' }))!
      .split('\r')[0]!
      .split('|')
    expect(japan[17]).toBe('~ISO IR87')
  })

  test.each(['2.1', '2.3.1', '2.4', '2.5^FRA^2.11', '2.3.z', '2.8', ''])(
    'version “%s” comes back',
    (version) => {
      expect(
        replyTo(adt('1', { 12: version }))!
          .split('\r')[0]!
          .split('|')[11],
      ).toBe(version)
    },
  )

  test('errors stand in ERR-2 to ERR-4 since 2.5, and in ERR-1 before', () => {
    const errorOf = (msh: Record<number, string>) =>
      replyTo(adt('1', msh))!
        .split('\r')
        .find((segment) => segment.startsWith('ERR'))
    expect(errorOf({ 10: '', 12: '2.5.1' })).toBe('ERR||MSH^1^10|101^Required field missing^HL70357|E')
    expect(errorOf({ 10: '', 12: '2.10' })).toBe('ERR||MSH^1^10|101^Required field missing^HL70357|E')
    expect(errorOf({ 10: '', 12: '2.4' })).toBe('ERR|MSH^1^10^101&Required field missing&HL70357')
    expect(errorOf({ 9: '' })).toBe('ERR||MSH^1^9|101^Required field missing^HL70357|E')
    expect(errorOf({ 11: 'Q' })).toBe('ERR||MSH^1^11|202^Unsupported processing id^HL70357|E')
    expect(errorOf({ 12: '3.0' })).toBe('ERR|MSH^1^12^203&Unsupported version id&HL70357')
  })

  test('a message without control id is refused with an empty MSA-2', () => {
    expect(replyTo(adt(''))).toMatch(/\rMSA\|AR\|\|Refused/)
  })

  test('where the separators mean two things the refusal uses its own', () => {
    const reply = replyTo(adt('1', { 2: '&&&&' }))!
    expect(reply).toMatch(/^MSH\|\^~\\&\|/)
    expect(reply).toMatch(/\rMSA\|AR\|1\|/)
  })

  test('nothing of the patient is in it', () => {
    for (const reception of [{ outcome: 'stored' }, { outcome: 'not-stored' }, refused] as const)
      expect(replyTo(adt('1'), reception)).not.toMatch(/Ross|Ellen|19560814|E1001/)
  })
})

test('our control ids have 20 characters, and none comes twice', () => {
  const next = makeControlIds(Buffer.from('ffffffffffffffff', 'hex'))
  const ids = Array.from({ length: 10_000 }, next)
  expect(new Set(ids).size).toBe(ids.length)
  expect(ids.every((id) => /^[0-9A-Z]{20}$/.test(id))).toBe(true)
  expect(makeControlIds(Buffer.alloc(8))()).toHaveLength(20)
})
