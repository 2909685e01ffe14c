import { afterAll, beforeAll, expect, test } from '@jest/globals'
import * as pkijs from 'pkijs'
import { SMTPServer } from 'smtp-server'
import { dischargeOf } from '../neighbours/hl7-messages.ts'
import { runDiscoveryTool, type RunningTool } from '../neighbours/discovery-tool.ts'
import { freePorts } from '../neighbours/engine.ts'
import type { Town } from '../neighbours/neighbourhood.ts'
import { ellen } from '../neighbours/people.ts'
import { aTown } from '../neighbours/town.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'

const startMsMax = 120_000
const storyMsMax = 60_000

interface Arrived {
  readonly to: string
  readonly raw: Buffer
}

let database: TestDatabase
let tool: RunningTool
let town: Town
let sink: SMTPServer
const arrived: Arrived[] = []

beforeAll(async () => {
  database = await freshDatabase()
  tool = await runDiscoveryTool('directtrust')
  const [port] = await freePorts(1)
  sink = new SMTPServer({
    disabledCommands: ['AUTH', 'STARTTLS'],
    onData(stream, session, done) {
      const chunks: Buffer[] = []
      stream.on('data', (chunk: Buffer) => chunks.push(chunk))
      stream.on('end', () => {
        for (const { address } of session.envelope.rcptTo)
          arrived.push({ to: address, raw: Buffer.concat(chunks) })
        done()
      })
    },
  })
  sink.listen(port, '127.0.0.1')
  town = await aTown({
    database: database.url,
    settings: {
      ...tool.settings,
      seal: { envelope: 'shared' },
      edge: {
        type: 'smtp',
        routes: { '*': { url: `smtp://127.0.0.1:${port}`, starttls: 'none' } },
        retry: { first: '200ms', factor: 1.5, max: '500ms', deadline: '2s' },
      },
    },
  })
}, startMsMax)
afterAll(async () => {
  await town?.close()
  sink?.close()
  await tool?.close()
  await database?.close()
}, startMsMax)

test(
  'one message to eighteen addresses is encrypted to exactly the ten whose certificates are good',
  async () => {
    const { cases } = tool.world
    const good = cases.filter(({ expected }) => expected.length > 0)
    expect(good.map(({ id }) => id).join(' ')).toBe('D1 D2 D3 D4 D9 D10 D14 D15 D16 D17')
    const { id } = await town.authorize({ destinations: cases.map(({ address }) => address) })
    await town.hospital.sends(dischargeOf(ellen))
    await town.until('all ten have it', () => arrived.length >= good.length)

    expect(arrived.map(({ to }) => to).sort()).toEqual(good.map(({ address }) => address).sort())
    const [first] = arrived
    for (const { raw } of arrived) expect(raw.equals(first!.raw)).toBe(true)
    const outer = first!.raw.toString('latin1', 0, first!.raw.indexOf('\r\n\r\n'))
    expect(addressesIn(outer).sort()).toEqual(good.map(({ address }) => address).sort())
    expect(recipientsOf(first!.raw)).toEqual(good.flatMap(({ expected }) => expected.map(nameOf)).sort())

    const standing = new Map(
      (await town.transmissions(id)).map((one) => [
        (one as unknown as { destination: string }).destination,
        one,
      ]),
    )
    for (const { address, ends } of cases) {
      const { state, code } = standing.get(address)!
      if (ends === 'untrusted')
        expect({ address, state, code }).toEqual({ address, state: 'failed', code: 'recipient-untrusted' })
      if (ends === 'absent')
        expect({ address, state, code }).toEqual({
          address,
          state: 'failed',
          code: 'recipient-no-certificate',
        })
      if (ends === 'unreachable') expect(state).not.toBe('submitted')
    }
  },
  storyMsMax,
)

/** The To field, unfolded. */
function addressesIn(header: string): string[] {
  const to = /^To: (.*(?:\r\n[ \t].*)*)/m.exec(header)![1]!
  return to.split(',').map((one) => one.trim())
}

/** Issuer and serial number of each RecipientInfo, read by PKI.js. */
function recipientsOf(raw: Buffer): string[] {
  const der = Buffer.from(raw.toString('latin1', raw.indexOf('\r\n\r\n')), 'base64')
  const { content } = pkijs.ContentInfo.fromBER(new Uint8Array(der).buffer)
  return new pkijs.EnvelopedData({ schema: content }).recipientInfos
    .map(({ value }) => {
      const { rid } = value as pkijs.KeyTransRecipientInfo
      const { issuer, serialNumber } = rid as pkijs.IssuerAndSerialNumber
      return `${Buffer.from(issuer.toSchema().toBER()).toString('hex')} ${Buffer.from(serialNumber.valueBlock.valueHexView).toString('hex')}`
    })
    .sort()
}

function nameOf(certificate: Buffer): string {
  const { issuer, serialNumber } = pkijs.Certificate.fromBER(new Uint8Array(certificate).buffer)
  return `${Buffer.from(issuer.toSchema().toBER()).toString('hex')} ${Buffer.from(serialNumber.valueBlock.valueHexView).toString('hex')}`
}
