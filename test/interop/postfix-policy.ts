import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { createInterface } from 'node:readline'

/** What Postfix tells of a mail at one moment of its reception (SMTPD_POLICY_README). */
export type PolicyQuestion = ReadonlyMap<string, string>

/** Where Postfix asks what to do with each recipient and each whole message; `answer` returns an action of access(5). */
export async function policyService(answer: (question: PolicyQuestion) => string) {
  const server = createServer((socket) => {
    let question = new Map<string, string>()
    socket.on('error', () => {})
    createInterface({ input: socket }).on('line', (line) => {
      const at = line.indexOf('=')
      if (at > 0) question.set(line.slice(0, at), line.slice(at + 1))
      else {
        socket.write(`action=${answer(question)}\n\n`)
        question = new Map()
      }
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { port: (server.address() as AddressInfo).port, close: () => void server.close() }
}
