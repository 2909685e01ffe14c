import { afterEach } from '@jest/globals'
import { silentLog } from '../../src/lib/log.ts'
import {
  listenForMail,
  type InboundSettings,
  type IncomingMail,
  type MailListener,
} from '../../src/tracking/inbound-listener.ts'
import { aPeer, ours, type MailPeer } from './mail-peer.ts'

const opened: (() => unknown)[] = []
afterEach(async () => {
  for (const close of opened.splice(0).reverse()) await close()
})

interface StoredMail {
  readonly envelopeFrom: string
  readonly envelopeTo: readonly string[]
  readonly peer: string
  readonly content: string
}

export interface ListenerUnderTest {
  readonly listener: MailListener
  /** Mails whose store resolved. */
  readonly stored: StoredMail[]
  /** How often `store` was begun. */
  begun(): number
  /** A connection that has read the greeting. */
  peer(): Promise<MailPeer>
}

/** @param wait what `store` does after it has read a mail and before it counts as stored */
export async function aListener(
  settings: Partial<InboundSettings> = {},
  wait: (mail: IncomingMail) => Promise<unknown> = async () => {},
): Promise<ListenerUnderTest> {
  const stored: StoredMail[] = []
  let begun = 0
  const listener = await listenForMail(
    {
      protocol: 'smtp',
      at: { host: '127.0.0.1', port: 0 },
      recipients: { addresses: [ours] },
      name: 'direct.ashby.example',
      drainMsMax: 5_000,
      ...settings,
    },
    async (mail) => {
      begun++
      const chunks: Buffer[] = []
      for await (const chunk of mail.chunks) chunks.push(chunk)
      await wait(mail)
      const { envelopeFrom, envelopeTo, peer } = mail
      stored.push({ envelopeFrom, envelopeTo, peer, content: Buffer.concat(chunks).toString('latin1') })
    },
    silentLog,
  )
  opened.push(() => listener.close())
  return {
    listener,
    stored,
    begun: () => begun,
    async peer() {
      const peer = await aPeer(listener.at)
      opened.push(() => peer.hangUp())
      return peer
    },
  }
}

/** A promise and what resolves it. */
export function aGate(): { readonly opens: Promise<void>; open(): void } {
  let open = (): void => {}
  const opens = new Promise<void>((resolve) => (open = resolve))
  return { opens, open: () => open() }
}
