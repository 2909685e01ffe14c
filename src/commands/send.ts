import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import net from 'node:net'
import tls from 'node:tls'
import { MLLPCodec } from 'node-hl7-client'
import { Findings, print, printJson, Usage, type Call, type Command } from './command.ts'

const answerMsMax = 30_000

export const send: Command = {
  usage: `bluepost send HOST:PORT FILE… [--tls] [--ca FILE] [--cert FILE --key FILE] [--server-name NAME]

Sends each file as one MLLP frame, waits for its acknowledgement, and prints it. Line ends of files become CR; everything
else goes as it is. Exit 0 only where every answer is AA or CA.`,
  options: {
    tls: { type: 'boolean' },
    ca: { type: 'string' },
    cert: { type: 'string' },
    key: { type: 'string' },
    'server-name': { type: 'string' },
  },
  async run(call) {
    const [target, ...files] = call.positionals
    const place = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(target ?? '')
    if (place === null || files.length === 0) throw new Usage('give HOST:PORT and at least one file')
    const messages = files.map((file) => ({ file, text: messageIn(file) }))
    const socket = await connect(place[1] ?? place[2]!, Number(place[3]), call)
    const answers = []
    for (const { file, text } of messages) {
      const acknowledgement = await exchange(socket, text)
      const code = acknowledgement === undefined ? undefined : /(?:^|\r)MSA.(..)/.exec(acknowledgement)?.[1]
      answers.push({ file, code: code ?? null, acknowledgement: acknowledgement ?? null })
      if (!call.isJson)
        print(`${file}: ${code ?? 'no answer'}\n${(acknowledgement ?? '').replaceAll('\r', '\n').trimEnd()}`)
    }
    socket.destroy()
    if (call.isJson) printJson(answers)
    return answers.every(({ code }) => code === 'AA' || code === 'CA') ? 0 : 1
  },
}

/** The bytes as Latin-1 text, so that whatever the charset they leave as they came; an editor’s line ends become CR. */
function messageIn(file: string): string {
  let text: string
  try {
    text = readFileSync(file, 'latin1')
  } catch (cause) {
    throw new Findings(`${file} cannot be read (${(cause as NodeJS.ErrnoException).code ?? 'unreadable'})`)
  }
  return text.replace(/\r?\n/g, '\r')
}

async function connect(host: string, port: number, call: Call): Promise<net.Socket> {
  const { values } = call
  const file = (name: string) => (typeof values[name] === 'string' ? readFileSync(values[name]) : undefined)
  const isTls = values['tls'] === true || values['ca'] !== undefined || values['cert'] !== undefined
  const serverName = values['server-name']
  const ca = file('ca')
  const cert = file('cert')
  const key = file('key')
  const socket = isTls
    ? tls.connect({
        host,
        port,
        ...(ca === undefined ? {} : { ca }),
        ...(cert === undefined ? {} : { cert }),
        ...(key === undefined ? {} : { key }),
        ...(typeof serverName === 'string' ? { servername: serverName } : {}),
      })
    : net.connect({ host, port })
  try {
    await once(socket, isTls ? 'secureConnect' : 'connect', { signal: AbortSignal.timeout(answerMsMax) })
  } catch (cause) {
    throw new Findings(`${host}:${port} cannot be reached: ${(cause as Error).message}`)
  }
  return socket
}

/** One message out, one acknowledgement back; undefined where the peer closed or stayed silent. */
async function exchange(socket: net.Socket, message: string): Promise<string | undefined> {
  const codec = new MLLPCodec('latin1', '\r')
  return new Promise((resolve) => {
    const settle = (answer: string | undefined) => {
      clearTimeout(timer)
      socket.off('data', onData).off('close', onEnd).off('error', onEnd)
      resolve(answer)
    }
    const onData = (bytes: Buffer) => {
      if (codec.receiveData(bytes)) settle(codec.getLastMessage() ?? undefined)
    }
    const onEnd = () => settle(undefined)
    const timer = setTimeout(onEnd, answerMsMax)
    socket.on('data', onData).on('close', onEnd).on('error', onEnd)
    codec.sendMessage(socket, message, 'latin1')
  })
}
