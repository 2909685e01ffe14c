import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'

/** What happened, as one JSON line on stdout. `what` names it. */
export interface Happening {
  readonly what: string
  readonly [field: string]: unknown
}

/** What a neighbour is while it lives: where it listens, what it can be told to do, and how it ends. */
export interface Living {
  readonly port: number
  readonly commands: Readonly<Record<string, (order: never) => unknown>>
  readonly close: () => void | Promise<void>
}

/**
 * The life of a neighbour process: `{"ready":true,"port":…}` once it listens, then one JSON line per thing that happens.
 * It can be told what to do by JSON lines on stdin, `{"order":1,"do":"NAME",…}`, answered by `{"reply":1,"result":…}` or
 * `{"reply":1,"error":"…"}`. It ends on SIGTERM and when stdin closes, so that it never outlives whoever started it.
 *
 * @example node test/neighbours/dns-server.ts --port 15353
 */
export async function live(
  begin: (tell: (happening: Happening) => void, port: number) => Promise<Living>,
): Promise<void> {
  const { values } = parseArgs({ options: { port: { type: 'string', default: '0' } } })
  const write = (line: object) => void process.stdout.write(`${JSON.stringify(line)}\n`)
  // Whoever listened is gone: so are we.
  process.stdout.on('error', () => process.exit(0))
  const { port, commands, close } = await begin((happening) => write(happening), Number(values.port))
  let ending = false
  const end = async () => {
    if (ending) return
    ending = true
    setTimeout(() => process.exit(0), endsWithinMs).unref()
    await close()
    process.exit(0)
  }
  process.on('SIGTERM', end)
  process.on('SIGINT', end)
  const lines = createInterface({ input: process.stdin })
  lines.on('close', end)
  lines.on('line', async (line) => {
    if (line.trim() === '') return
    let reply: unknown
    try {
      const order = JSON.parse(line) as { order: number; do: string }
      reply = order.order
      const command = commands[order.do]
      if (command === undefined)
        throw new Error(`“${order.do}” is not among ${Object.keys(commands).join(', ')}`)
      write({ reply, result: (await command(order as never)) ?? null })
    } catch (error) {
      write({ reply, error: error instanceof Error ? error.message : String(error) })
    }
  })
  write({ ready: true, port })
}

const endsWithinMs = 2000
