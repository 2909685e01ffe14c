import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'

/** The first of these that is installed; otherwise an error that names the Debian package. */
export function programAmong(names: readonly string[], versionOption: string, debian: string): string {
  const found = names.find((name) => spawnSync(name, [versionOption]).error === undefined)
  if (found === undefined)
    throw new Error(`${names[0]} is missing: apt-get install --no-install-recommends ${debian}`)
  return found
}

/** A server of somebody else’s as a child process; its last words are in the error when it does not come up. */
export async function serverProcess(
  program: string,
  parameters: readonly string[],
  isUp: (said: string) => Promise<boolean> | boolean,
): Promise<{ stop(): Promise<void> }> {
  const child: ChildProcess = spawn(program, parameters, { stdio: ['ignore', 'pipe', 'pipe'] })
  let said = ''
  for (const stream of [child.stdout!, child.stderr!])
    stream.on('data', (chunk: Buffer) => (said = (said + chunk.toString()).slice(-5000)))
  const late = performance.now() + 20_000
  while (!(await isUp(said))) {
    if (child.exitCode !== null || performance.now() > late) {
      child.kill('SIGKILL')
      throw new Error(`${program} did not come up:\n${said}`)
    }
    await pause(20)
  }
  return {
    async stop() {
      if (child.exitCode !== null) return
      const gone = once(child, 'exit')
      child.kill('SIGTERM')
      await gone
    },
  }
}

/** Does anybody listen there? */
export async function listensOn(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}
