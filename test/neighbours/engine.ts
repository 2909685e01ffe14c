import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import net from 'node:net'
import { createInterface } from 'node:readline'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { stopChild } from './neighbour.ts'

const command = fileURLToPath(new URL('../../src/cli.ts', import.meta.url))
const startsWithinMs = 90_000 // the first start makes a database cluster
const drainsWithinMs = 30_000
const logLinesMax = 5000
const pollMs = 40

/** The real engine as a child process: `bluepost start --config FILE`. */
export class Engine {
  readonly url: string
  /** What it logged, oldest first: parsed where it is JSON, else `{ msg }`. */
  readonly log: Record<string, unknown>[] = []
  readonly #config: string
  readonly #environment: Record<string, string>
  readonly #tell: (line: Record<string, unknown>) => void
  #child: ChildProcess | undefined

  constructor(
    config: string,
    url: string,
    environment: Record<string, string>,
    tell: (line: Record<string, unknown>) => void = () => {},
  ) {
    this.#config = config
    this.url = url
    this.#environment = environment
    this.#tell = tell
  }

  get pid(): number | undefined {
    return this.#child?.pid
  }

  get isRunning(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null
  }

  /** Starts and waits until /readyz says so. */
  async start(): Promise<void> {
    if (this.isRunning) throw new Error('the engine is running')
    // The options of a test runner are not the engine’s.
    const { NODE_OPTIONS: _, ...inherited } = process.env
    const child = spawn(process.execPath, [command, 'start', '--config', this.#config], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...inherited, ...this.#environment },
    })
    this.#child = child
    this.#guard(child)
    for (const stream of [child.stdout, child.stderr])
      createInterface({ input: stream }).on('line', (line) => this.#heard(line))
    const until = performance.now() + startsWithinMs
    while (!(await this.#isReady())) {
      if (!this.isRunning) throw new Error(`the engine ended while starting:\n${this.lastWords()}`)
      if (performance.now() > until) {
        await this.kill('SIGKILL')
        throw new Error(`the engine was not ready within ${startsWithinMs} ms:\n${this.lastWords()}`)
      }
      await pause(pollMs)
    }
  }

  /** Ends it with a signal and waits until it is gone. */
  async kill(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child
    if (child === undefined || !this.isRunning) return
    const gone = once(child, 'exit')
    child.kill(signal)
    await gone
  }

  /** SIGTERM, and time to drain. */
  async stop(): Promise<void> {
    if (this.#child !== undefined) await stopChild(this.#child, drainsWithinMs)
  }

  async restart(): Promise<void> {
    await this.stop()
    await this.start()
  }

  /** A request to the API; anything but 2xx fails with what was answered. */
  async api<Answer>(method: 'GET' | 'POST' | 'PATCH', path: string, body?: unknown): Promise<Answer> {
    const response = await fetch(new URL(`/api/v1/${path}`, this.url), {
      method,
      headers: body === undefined ? {} : { 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    const text = await response.text()
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text.slice(0, 1000)}`)
    return JSON.parse(text) as Answer
  }

  /** `bluepost WORDS… --config …` in a process of its own, with the engine’s settings and environment. */
  async command(...words: readonly string[]): Promise<{ code: number; stdout: string; stderr: string }> {
    const { NODE_OPTIONS: _, ...inherited } = process.env
    const child = spawn(process.execPath, [command, ...words, '--config', this.#config], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...inherited, ...this.#environment },
    })
    const said = { stdout: '', stderr: '' }
    child.stdout.setEncoding('utf8').on('data', (text: string) => (said.stdout += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (said.stderr += text))
    const [code] = (await once(child, 'close')) as [number | null]
    return { code: code ?? -1, ...said }
  }

  lastWords(lines = 30): string {
    return this.log
      .slice(-lines)
      .map((line) => JSON.stringify(line))
      .join('\n')
  }

  /**
   * Whoever started the engine may be killed: a shell that waits for the end of its stdin then ends the engine, too.
   * The engine itself must not care about its stdin, which is closed where services run.
   */
  #guard(child: ChildProcess): void {
    const guard = spawn('sh', ['-c', 'cat > /dev/null; kill -TERM "$0" 2> /dev/null', String(child.pid)], {
      stdio: ['pipe', 'ignore', 'ignore'],
    })
    guard.on('error', () => {})
    guard.stdin.on('error', () => {})
    child.once('exit', () => {
      guard.kill('SIGKILL')
      guard.stdin.end()
    })
  }

  #heard(line: string): void {
    let said: Record<string, unknown>
    try {
      said = JSON.parse(line) as Record<string, unknown>
    } catch {
      said = { msg: line }
    }
    this.log.push(said)
    if (this.log.length > logLinesMax) this.log.shift()
    this.#tell(said)
  }

  async #isReady(): Promise<boolean> {
    try {
      return (await fetch(new URL('/readyz', this.url))).ok
    } catch {
      return false
    }
  }
}

/** Ports of the loopback that nobody listens on now; all different. */
export async function freePorts<Count extends number>(count: Count): Promise<number[]> {
  const servers = await Promise.all(
    Array.from(
      { length: count },
      () =>
        new Promise<net.Server>((resolve, reject) => {
          const server = net.createServer()
          server.once('error', reject).listen(0, '127.0.0.1', () => resolve(server))
        }),
    ),
  )
  const ports = servers.map((server) => (server.address() as net.AddressInfo).port)
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  return ports
}
