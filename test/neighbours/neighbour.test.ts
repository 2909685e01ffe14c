import { expect, test } from '@jest/globals'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as pause } from 'node:timers/promises'
import { startNeighbour } from './neighbour.ts'

const here = new URL('./neighbour.ts', import.meta.url).href

/** A process of its own that starts a neighbour, says its pid and stays. */
async function starter() {
  const { NODE_OPTIONS: _, ...env } = process.env
  const script = `const { startNeighbour } = await import('${here}')
    const dns = await startNeighbour('dns-server')
    console.log(dns.pid)
    setInterval(() => {}, 1000)`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env,
  })
  const [said] = (await once(child.stdout, 'data')) as [Buffer]
  return { child, neighbour: Number(said.toString()) }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

test('a neighbour does not outlive whoever started it, even when that one is killed', async () => {
  const { child, neighbour } = await starter()
  expect(isAlive(neighbour)).toBe(true)
  child.kill('SIGKILL')
  await once(child, 'exit')
  for (let tries = 0; isAlive(neighbour) && tries < 100; tries++) await pause(50)
  expect(isAlive(neighbour)).toBe(false)
})

test('an order that is not known, or cannot be followed, is answered with the reason', async () => {
  const dns = await startNeighbour('dns-server')
  try {
    await expect(dns.order('sing')).rejects.toThrow('“sing” is not among add, remove, clear, misbehave')
    await expect(dns.order('add', { records: null })).rejects.toThrow('dns-server')
  } finally {
    await dns.stop()
  }
})

test('what was told before can still be heard, and waiting for what never comes ends', async () => {
  const dns = await startNeighbour('dns-server')
  try {
    await expect(dns.hears(({ what }) => what === 'thunder', 20)).rejects.toThrow('did not tell of it')
  } finally {
    await dns.stop()
  }
})
