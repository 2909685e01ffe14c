import { afterEach } from '@jest/globals'
import { randomBytes } from 'node:crypto'
import type { Edge, Permission, RecipientSubmission } from '../../src/edge/edge.ts'
import { makeSmtpEdge, type SmtpEdgeSettings } from '../../src/edge/smtp-edge.ts'
import { makeRoot, serverAuth } from '../pki/pki.ts'
import { scriptedSmtp, type Answer, type Script, type ScriptedSmtp, type Verb } from './scripted-smtp.ts'

export const sender = 'transmit@direct.ashby.example'
export const ellen = 'ellen.ross@direct.somephr.example'
export const bob = 'bob.lin@direct.somephr.example'

export const authority = makeRoot({ keyType: 'ec256', name: 'Mail Test Root' })
const certificate = authority.issue({
  keyType: 'ec256',
  domains: ['localhost'],
  extendedKeyUsage: [serverAuth],
})
export const tls = { key: certificate.privateKeyPem, cert: certificate.certificatePem }

export const open: { close(): Promise<unknown> }[] = []
afterEach(async () => {
  for (const thing of open.splice(0).reverse()) await thing.close()
})

export async function aServer(script: Script): Promise<ScriptedSmtp> {
  const server = await scriptedSmtp(script)
  open.push(server)
  return server
}

export function anEdge(settings: Partial<SmtpEdgeSettings> & { port?: number; route?: object }): Edge {
  const { port, route, ...rest } = settings
  const edge = makeSmtpEdge({
    type: 'sta',
    name: 'direct.ashby.example',
    ...(port === undefined
      ? {}
      : { routes: [{ domain: '*', url: `smtp://127.0.0.1:${port}`, starttls: 'none', ...route }] }),
    ...rest,
  })
  open.push(edge)
  return edge
}

interface Sent {
  readonly recipients: readonly RecipientSubmission[]
  readonly outcome: RecipientSubmission
  readonly asked: number
  readonly opened: number
}

export async function send(
  edge: Edge,
  {
    to = [ellen],
    content = small,
    permission = { permitted: true },
  }: { to?: string[]; content?: Buffer; permission?: Permission } = {},
): Promise<Sent> {
  let asked = 0
  let opened = 0
  const { recipients } = await edge.submit({
    envelope: { from: sender, to },
    bytes: content.length,
    async *open() {
      opened++
      for (let at = 0; at < content.length; at += 16_384) yield content.subarray(at, at + 16_384)
    },
    async beforeData() {
      asked++
      return permission
    },
  })
  return { recipients, outcome: recipients[0]!, asked, opened }
}

/** Lines that SMTP has to escape, at every place where an escaper may slip. */
export const small = Buffer.from(
  ['.', '..', '.leading dot', '...', '', 'plain', 'ends with dot.', '.\tx', '', '.', ''].join('\r\n') +
    '\r\n',
)
export const large = Buffer.from(
  `Message-ID: <big@direct.ashby.example>\r\n\r\n${randomBytes(3_000_000)
    .toString('base64')
    .replace(/.{76}/g, '$&\r\n.')}\r\n`,
)
/** More than the kernel buffers of a loopback connection swallow at once. */
export const huge = Buffer.concat(Array.from({ length: 6 }, () => large))

export const says = (verb: Verb, answer: Answer) => ({
  answer: (step: { verb: Verb }) => (step.verb === verb ? answer : undefined),
})
