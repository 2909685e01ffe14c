import { readFileSync } from 'node:fs'
import type { DataSource } from 'typeorm'
import type { Log } from '../lib/log.ts'
import { receiveMail } from '../pipeline/receive-mail.ts'
import { placeOf } from '../settings/endpoint.ts'
import type { Settings } from '../settings.ts'
import { listenForMail } from '../tracking/inbound-listener.ts'
import { drainMsMax, type Stops } from './stops.ts'

/** Opens SMTP and LMTP for the data holder’s own Direct address; without one nobody could be written to. */
export async function listenForDirectMail(
  { listen, dataHolder, tracking }: Settings,
  dataSource: DataSource,
  stops: Stops,
  log: Log,
): Promise<{ what: string; on: string }[]> {
  if (dataHolder === undefined) return []
  const tls =
    listen.smtpTls === undefined
      ? undefined
      : {
          certificate: readFileSync(listen.smtpTls.certificate, 'utf8'),
          privateKey: listen.smtpTls.privateKey,
        }
  const places = [
    ...(listen.smtp === undefined ? [] : [{ protocol: 'smtp' as const, at: listen.smtp }]),
    ...(listen.lmtp === undefined ? [] : [{ protocol: 'lmtp' as const, at: listen.lmtp }]),
  ]
  const ports = { dataSource, messageBytesMax: tracking.messageBytesMax, now: () => new Date() }
  const opened: { what: string; on: string }[] = []
  for (const { protocol, at } of places) {
    const listener = await listenForMail(
      {
        protocol,
        at,
        recipients: { addresses: [dataHolder.address.text] },
        name: dataHolder.address.domain,
        messageBytesMax: tracking.messageBytesMax,
        drainMsMax,
        ...(tls === undefined ? {} : { tls }),
      },
      (mail) => receiveMail(ports, mail),
      log,
    )
    stops.add(`the ${protocol} listener`, () => listener.close())
    const on = 'path' in listener.at ? listener.at.path : placeOf(listener.at)
    opened.push({ what: `${protocol.toUpperCase()} for ${dataHolder.address.text}`, on })
  }
  return opened
}
