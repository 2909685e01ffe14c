import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Happening } from './life.ts'

/** A neighbour as seen by whoever started it. */
export interface Neighbour {
  readonly name: string
  readonly port: number
  readonly pid: number
  /** Everything it has told so far, oldest first. */
  readonly happenings: readonly Happening[]
  /** Tell it to do something and wait for its answer. */
  order<Answer = unknown>(command: string, details?: object): Promise<Answer>
  /** Called for each thing that happens from now on; the returned function ends that. */
  listen(listener: (happening: Happening) => void): () => void
  /** The next (or an earlier) happening that satisfies the condition; fails when none comes in time. */
  hears(what: (happening: Happening) => boolean, withinMs?: number): Promise<Happening>
  stop(): Promise<void>
}

const scripts = new URL('./', import.meta.url)
const startsWithinMs = 20_000
const hearsWithinMs = 30_000

/** Starts `test/neighbours/NAME.ts` as a process of its own on a free port of the loopback and waits until it listens. */
export async function startNeighbour(
  name: 'hospital' | 'fhir-server' | 'dns-server' | 'hisp',
  port = 0,
): Promise<Neighbour> {
  const script = fileURLToPath(new URL(`${name}.ts`, scripts))
  // A test runner’s own options (such as an inspector’s port) are not the neighbour’s.
  const { NODE_OPTIONS: _, ...environment } = process.env
  const child = spawn(process.execPath, [script, '--port', String(port)], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: environment,
  })
  const complaints: string[] = []
  child.stderr.setEncoding('utf8').on('data', (text: string) => complaints.push(text))
  child.stdin.on('error', () => {})

  const happenings: Happening[] = []
  const listeners = new Set<(happening: Happening) => void>()
  const awaited = new Map<number, { resolve(result: unknown): void; reject(error: Error): void }>()
  let lastOrder = 0
  let ready: (port: number) => void
  let failed: (error: Error) => void
  const listening = new Promise<number>((resolve, reject) => {
    ready = resolve
    failed = reject
  })
  listening.catch(() => {})
  const tooSlow = setTimeout(
    () => failed(new Error(`${name} was not ready within ${startsWithinMs} ms`)),
    startsWithinMs,
  )
  child.once('exit', (code, signal) => {
    const error = new Error(`${name} ended (${signal ?? code}): ${complaints.join('').slice(-2000)}`)
    failed(error)
    for (const { reject } of awaited.values()) reject(error)
    awaited.clear()
  })
  createInterface({ input: child.stdout }).on('line', (line) => {
    const told = JSON.parse(line) as Record<string, unknown>
    if (told['ready'] === true) return ready(told['port'] as number)
    if ('reply' in told) {
      const waiting = awaited.get(told['reply'] as number)
      awaited.delete(told['reply'] as number)
      if ('error' in told) waiting?.reject(new Error(`${name}: ${told['error'] as string}`))
      else waiting?.resolve(told['result'])
      return
    }
    happenings.push(told as Happening)
    for (const listener of [...listeners]) listener(told as Happening)
  })

  let listensOn: number
  try {
    listensOn = await listening
  } catch (error) {
    child.kill('SIGKILL')
    throw error
  } finally {
    clearTimeout(tooSlow)
  }

  const listen: Neighbour['listen'] = (listener) => {
    listeners.add(listener)
    return () => listeners.delete(listener)
  }
  return {
    name,
    port: listensOn,
    pid: child.pid ?? 0,
    happenings,
    listen,
    order: <Answer>(command: string, details: object = {}) =>
      new Promise<Answer>((resolve, reject) => {
        if (child.exitCode !== null || child.signalCode !== null)
          return reject(new Error(`${name} has ended`))
        const order = ++lastOrder
        awaited.set(order, { resolve: resolve, reject })
        child.stdin.write(`${JSON.stringify({ ...details, order, do: command })}\n`)
      }),
    hears: (what, withinMs = hearsWithinMs) =>
      new Promise((resolve, reject) => {
        const already = happenings.find(what)
        if (already !== undefined) return resolve(already)
        const stop = listen((happening) => {
          if (!what(happening)) return
          clearTimeout(late)
          stop()
          resolve(happening)
        })
        const late = setTimeout(() => {
          stop()
          const told = happenings.slice(-20).map((happening) => JSON.stringify(happening).slice(0, 300))
          reject(new Error(`${name} did not tell of it within ${withinMs} ms; it told:\n${told.join('\n')}`))
        }, withinMs)
      }),
    stop: () => stopChild(child),
  }
}

/** Ends a child process gently, and firmly where that is not heard. */
export async function stopChild(child: ChildProcess, gentlyMs = 5000): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = once(child, 'exit')
  child.stdin?.end()
  child.kill('SIGTERM')
  const firmly = setTimeout(() => child.kill('SIGKILL'), gentlyMs)
  await gone
  clearTimeout(firmly)
}
