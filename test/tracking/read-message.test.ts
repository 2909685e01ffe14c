import { describe, expect, test } from '@jest/globals'
import { readEntity } from '../../src/lib/mime-reader.ts'
import { readMessage, type MessageInside } from '../../src/tracking/read-message.ts'

const sender = 'drbob@direct.hospital.example'
const us = 'transmit@direct.ashby.example'

function inside(text: string, outer = `From: ${sender}\nTo: ${us}\n`): MessageInside {
  const message = Buffer.from(`${text}\n\nbody\n`)
  return {
    message,
    isWrapped: true,
    fields: readEntity(message).fields,
    outerFields: readEntity(Buffer.from(`${outer}\n`)).fields,
  }
}

const because = (reading: ReturnType<typeof readMessage>) =>
  reading.acceptable ? 'acceptable' : reading.because

describe('what SMTP was told and what is signed inside', () => {
  const letter = inside(`From: Dr Bob <${sender}>\nTo: "Transmit, Ashby" <${us}>`)

  test.each<[string, MessageInside, { from: string; to: string[] }]>([
    ['the same', letter, { from: sender, to: [us] }],
    ['the same in other case', letter, { from: sender.toUpperCase(), to: [us.toUpperCase()] }],
    ['from the null sender', letter, { from: '', to: [us] }],
    [
      'from the Sender inside',
      inside(
        `From: ${sender}\nSender: nurse@direct.hospital.example\nTo: x@y.example\nCc: a@b.example, ${us}`,
      ),
      { from: 'nurse@direct.hospital.example', to: [us] },
    ],
  ])('%s', (_what, message, envelope) => {
    expect(because(readMessage(message, envelope))).toBe('acceptable')
  })

  test('another sender, a recipient that is not named, another From outside', () => {
    expect(because(readMessage(letter, { from: 'mallory@other.example', to: [us] }))).toMatch(
      /came from mallory/,
    )
    const others = ['c@d.example', us]
    expect(readMessage(letter, { from: sender, to: others })).toMatchObject({ message: { recipients: [us] } })
    expect(because(readMessage(letter, { from: sender, to: ['c@d.example'] }))).toMatch(/names none/)
    const outside = inside(`From: ${sender}\nTo: ${us}`, 'From: mallory@other.example\n')
    expect(because(readMessage(outside, { from: sender, to: [us] }))).toMatch(/outside that mallory/)
  })

  test('where the operator says so, SMTP may say otherwise; what travels in the clear may not', () => {
    const rewritten = { from: 'srs=drbob@relay.example', to: ['alias@direct.ashby.example'] }
    expect(readMessage(letter, rewritten, 'ignore')).toMatchObject({
      acceptable: true,
      message: { sender: { text: sender }, recipients: rewritten.to },
    })
    const outside = inside(`From: ${sender}\nTo: ${us}`, 'From: mallory@other.example\n')
    expect(because(readMessage(outside, rewritten, 'ignore'))).toMatch(/outside that mallory/)
  })
})
