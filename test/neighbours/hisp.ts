import { setTimeout as pause } from 'node:timers/promises'
import type net from 'node:net'
import nodemailer from 'nodemailer'
import { SMTPServer, type SMTPServerSession } from 'smtp-server'
import { anyCms, type Cms, type KeyPair } from './cms.ts'
import { NotAccepted, notification, open, seal, type ReportedDisposition } from './direct-message.ts'
import { askCert } from './cert-lookup.ts'
import type {
  AnswerPlan,
  DoorFault,
  HispSettings,
  InboxMessage,
  Letter,
  RefusedMessage,
} from './hisp-orders.ts'
import { live, type Happening } from './life.ts'

const mdnRetryMs = 250
const mdnGivesUpMs = 120_000

/** The recipient’s HISP: SMTP in, decrypts and verifies with software that is not ours, answers with MDNs. */
export async function runHisp(tell: (happening: Happening) => void, port: number) {
  let settings: HispSettings = {}
  let cms: Cms = anyCms()
  const inbox = new Map<string, InboxMessage>()
  const contents = new Map<string, Buffer>()
  const refused: RefusedMessage[] = []
  let faults: (DoorFault & { left: number })[] = []
  let plans: (AnswerPlan & { left: number })[] = []
  const hanging: (() => void)[] = []
  let isEnding = false
  let answering = 0

  const fault = (at: DoorFault['at'], to?: string) => {
    const found = faults.find(
      (candidate) =>
        candidate.at === at &&
        (candidate.to === undefined || candidate.to.toLowerCase() === to?.toLowerCase()),
    )
    if (found !== undefined && --found.left <= 0) faults = faults.filter((other) => other !== found)
    if (found !== undefined) tell({ what: 'fault', at, how: found.how ?? 'reply' })
    return found
  }
  const nextPlan = (): AnswerPlan => {
    const found = plans[0]
    if (found !== undefined && --found.left <= 0) plans.shift()
    return found ?? {}
  }

  const server = new SMTPServer({
    authOptional: true,
    disabledCommands: ['AUTH'],
    logger: false,
    disableReverseLookup: true,
    closeTimeout: 200,
    onConnect: (_session, done) => done(saidNo(fault('connect'))),
    onMailFrom: (_address, session, done) => {
      if (settings.starttls === 'required' && !session.secure)
        return done(reply(530, 'Must issue a STARTTLS command first'))
      done(saidNo(fault('mail')))
    },
    onRcptTo: ({ address }, _session, done) => {
      const trouble = fault('rcpt', address)
      const no = saidNo(trouble)
      if (no !== undefined) return done(no)
      const answer = () =>
        done(pairFor(address) === undefined ? reply(550, '5.1.1 No such Direct address here') : undefined)
      if (trouble?.how === 'hang') hanging.push(answer)
      else answer()
    },
    onData: (stream, session, done) => {
      const chunks: Buffer[] = []
      stream.on('data', (chunk: Buffer) => chunks.push(chunk))
      stream.on('end', () => {
        if (stream.sizeExceeded) return done(reply(552, 'Message too large'))
        if (settings.opens === false) {
          tell({ what: 'taken', bytes: stream.byteLength })
          return done(null, '2.0.0 OK')
        }
        void receive(Buffer.concat(chunks), session, done)
      })
    },
  })
  server.on('error', () => {})

  async function receive(
    sealed: Buffer,
    session: SMTPServerSession,
    done: (error?: Error | null, text?: string) => void,
  ): Promise<void> {
    const envelope = {
      from: session.envelope.mailFrom === false ? '' : session.envelope.mailFrom.address,
      to: session.envelope.rcptTo.map(({ address }) => address),
    }
    const trouble = fault('data')
    const no = saidNo(trouble)
    if (no !== undefined) return done(no)
    if (trouble?.how === 'lose') return cut(session)
    if (trouble?.how === 'wait') await pause(trouble.delayMs ?? 1000)
    if (trouble?.how === 'hang') await new Promise<void>((resolve) => hanging.push(resolve))

    let message: InboxMessage
    try {
      const keys = [...new Set(envelope.to.map(pairFor))].filter((pair) => pair !== undefined)
      const opened = await open(sealed, envelope, cms, keys, settings.roots ?? [], (sha256, content) =>
        contents.set(sha256, content),
      )
      const earlier = inbox.get(opened.messageId)
      message = {
        ...opened,
        envelope,
        arrivals: (earlier?.arrivals ?? 0) + 1,
        sealedSha256s: [...(earlier?.sealedSha256s ?? []), opened.sealedSha256],
        overTls: session.secure,
        arrivedAt: new Date().toISOString(),
      }
    } catch (error) {
      // Direct: no word about distrust to the sender; SMTP has taken the message (Applicability Statement §3.0).
      const code = error instanceof NotAccepted ? error.code : 'unreadable'
      const because = error instanceof Error ? error.message : String(error)
      refused.push({ code, because, envelope })
      tell({ what: 'refused', code, because, envelope })
      return done(null, '2.0.0 OK')
    }
    inbox.set(message.messageId, message)
    tell({ what: 'arrived', message })

    const plan = nextPlan()
    const answers = async () => {
      answering++
      try {
        await answer(message, plan)
      } finally {
        answering--
      }
    }
    if (plan.before250 === true) await answers()
    if (trouble?.how === 'drop') cut(session)
    else if (trouble?.how !== 'silence') done(null, '2.0.0 OK')
    if (plan.before250 !== true) await answers()
  }

  function cut(session: SMTPServerSession): void {
    for (const connection of server.connections as Iterable<{ id: string; _socket: net.Socket }>)
      if (connection.id === session.id) connection._socket.destroy()
  }

  function pairFor(address: string): KeyPair | undefined {
    const name = address.toLowerCase()
    const domain = name.slice(name.lastIndexOf('@') + 1)
    const boxes = settings.mailboxes ?? []
    return (
      boxes.find((box) => box.name.toLowerCase() === name) ??
      boxes.find((box) => box.name.toLowerCase() === domain)
    )?.pair
  }

  /** A notification is never answered: an MDN about an MDN would go round for ever. */
  async function answer(message: InboxMessage, plan: AnswerPlan): Promise<void> {
    if (plan.never === true || message.isNotification) return
    const dispositions =
      plan.dispositions ??
      (message.asksForDispatched ? (['processed', 'dispatched'] as const) : (['processed'] as const))
    for (const disposition of dispositions) {
      if (plan.delayMs !== undefined) await pause(plan.delayMs)
      for (let copy = 0; copy < (plan.copies ?? 1); copy++) await notify(message, disposition, plan)
    }
  }

  async function notify(message: InboxMessage, disposition: ReportedDisposition, plan: AnswerPlan) {
    for (const recipient of message.envelope.to) {
      const speaker = plan.forgedBy === undefined ? undefined : settings.signers?.[plan.forgedBy]
      if (plan.forgedBy !== undefined && speaker === undefined)
        throw new Error(`no signer “${plan.forgedBy}”`)
      const from = speaker?.from ?? recipient
      const { messageId, bytes } = notification({
        of: message.messageId,
        from,
        to: message.notifyTo,
        disposition,
        at: new Date(),
        ...(plan.shape === undefined ? {} : { shape: plan.shape }),
        ...(disposition === 'failed' ? { failure: 'the mailbox is closed' } : {}),
        finalRecipient: plan.finalRecipient ?? recipient,
      })
      const told = { what: 'mdn', of: message.messageId, disposition, mdn: messageId, from }
      try {
        const signer = plan.unsigned === true ? undefined : (speaker?.pair ?? pairFor(recipient))
        const certificates = plan.unencrypted === true ? [] : await certificatesOf(message.notifyTo)
        if (plan.unencrypted !== true && certificates.length === 0)
          throw new Error(`no certificate is published for ${message.notifyTo}`)
        const sealed = await seal(bytes, cms, signer, certificates, plan.keyTransport)
        const answered = await submit(sealed, plan.nullSender === true ? '' : from, message.notifyTo)
        tell({ ...told, outcome: 'sent', answer: answered })
      } catch (error) {
        tell({
          ...told,
          outcome: 'not-sent',
          because: error instanceof Error ? error.message : String(error),
        })
      }
    }
  }

  /** Every HISP keeps trying while the other side is away. */
  async function submit(sealed: Buffer, from: string, to: string): Promise<string> {
    const { host, port: replyPort } = settings.replyTo ?? {}
    if (host === undefined || replyPort === undefined) throw new Error('not told where MDNs go')
    const until = performance.now() + mdnGivesUpMs
    for (;;) {
      const transport = nodemailer.createTransport({
        host,
        port: replyPort,
        secure: false,
        tls: { rejectUnauthorized: false },
        connectionTimeout: 5000,
      })
      try {
        const result = await transport.sendMail({ envelope: { from, to: [to] }, raw: sealed })
        return result.response
      } catch (error) {
        const code = (error as { responseCode?: number }).responseCode ?? 0
        if (code >= 500 || performance.now() > until || isEnding) throw error
        await pause(mdnRetryMs)
      } finally {
        transport.close()
      }
    }
  }

  /** Address-bound first, else domain-bound, as everybody finds them (Certificate Discovery IG). */
  async function certificatesOf(address: string): Promise<string[]> {
    if (settings.dnsPort === undefined) throw new Error('not told where DNS is')
    const domain = address.slice(address.lastIndexOf('@') + 1)
    for (const name of [address.replace('@', '.'), domain]) {
      const found = await askCert(name, settings.dnsPort)
      if (found.length > 0) return found
    }
    return []
  }

  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, '127.0.0.1', () => resolve())
  })

  return {
    port: (server.server.address() as net.AddressInfo).port,
    commands: {
      /** `{ settings: HispSettings }`: what is named replaces what was. */
      settings: ({ settings: wanted }: { settings: HispSettings }) => {
        settings = { ...settings, ...wanted }
        if (wanted.cms !== undefined) cms = anyCms(wanted.cms)
        if (wanted.tls !== undefined)
          server.updateSecureContext({ key: wanted.tls.privateKey, cert: wanted.tls.certificate })
        if (wanted.starttls !== undefined) server.options.hideSTARTTLS = wanted.starttls === 'hidden'
        if (wanted.bytesMax !== undefined) server.options.size = wanted.bytesMax
        return { cms: cms.by }
      },
      /** `{ fault: DoorFault }`, or null: open door again. */
      fault: ({ fault: wanted }: { fault: DoorFault | null }) => {
        if (wanted === null) {
          faults = []
          for (const goOn of hanging.splice(0)) goOn()
        } else faults.push({ ...wanted, left: wanted.times ?? Infinity })
      },
      /** `{ plan: AnswerPlan }`: how the next `times` messages (or all) are answered; null: as usual again. */
      answer: ({ plan }: { plan: AnswerPlan | null }) => {
        if (plan === null) plans = []
        else plans.push({ ...plan, left: plan.times ?? Infinity })
      },
      /** `{ messageId, disposition, plan? }`: an MDN now. */
      notify: async (order: { messageId: string; disposition: ReportedDisposition; plan?: AnswerPlan }) => {
        const message = inbox.get(order.messageId)
        if (message === undefined) throw new Error(`no message ${order.messageId} here`)
        await notify(message, order.disposition, order.plan ?? {})
      },
      /** `{ letter: Letter }`: sealed and sent now; what the other side answered. */
      send: async ({ letter }: { letter: Letter }) => {
        const pair =
          letter.signedBy === undefined ? pairFor(letter.from) : settings.signers?.[letter.signedBy]?.pair
        if (pair === undefined) throw new Error(`no key for ${letter.signedBy ?? letter.from}`)
        const sealed = await seal(Buffer.from(letter.text), cms, pair, await certificatesOf(letter.to))
        return submit(sealed, letter.from, letter.to)
      },
      inbox: () => [...inbox.values()],
      refused: () => refused,
      /** How many messages have answers still to come. */
      answering: () => answering,
      /** The bytes of an attachment by its hash, base64. */
      content: ({ sha256 }: { sha256: string }) => contents.get(sha256)?.toString('base64'),
      empty: () => {
        inbox.clear()
        contents.clear()
        refused.length = 0
      },
    },
    close: () => {
      isEnding = true
      return new Promise<void>((resolve) => server.close(() => resolve()))
    },
  }
}

function reply(code: number, text: string): Error {
  return Object.assign(new Error(text), { responseCode: code })
}

function saidNo(fault: DoorFault | undefined): Error | undefined {
  if (fault === undefined || (fault.how ?? 'reply') !== 'reply') return undefined
  return reply(fault.code ?? 451, fault.text ?? '4.3.0 Told to refuse')
}

if (import.meta.main) await live(runHisp)
