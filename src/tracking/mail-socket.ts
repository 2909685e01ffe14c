import { chmod, lstat, unlink } from 'node:fs/promises'
import { connect, type AddressInfo } from 'node:net'
import type { SMTPServer } from 'smtp-server'

/** Where mail comes in: TCP, or a UNIX socket that a mail server on the same machine delivers to. */
export type MailPlace = { readonly host: string; readonly port: number } | { readonly path: string }

/** Begins to listen; throws with the place and a remedy where that is impossible. Port 0 becomes the one given. */
export async function listenAt(server: SMTPServer, at: MailPlace): Promise<MailPlace> {
  const place = 'path' in at ? at.path : `${at.host}:${at.port}`
  if ('path' in at) await removeStaleSocket(at.path)
  await new Promise<void>((resolve, reject) => {
    const failed = (error: NodeJS.ErrnoException): void =>
      reject(new Error(`cannot listen for mail at ${place}: ${remedies[error.code ?? ''] ?? error.message}`))
    server.server.once('error', failed)
    const listening = (): void => {
      server.server.off('error', failed)
      resolve()
    }
    if ('path' in at) server.listen(at.path, listening)
    else server.listen(at.port, at.host, listening)
  })
  if ('path' in at) {
    // The mail server in front is another user of the same group.
    await chmod(at.path, 0o660)
    return at
  }
  const { address, port } = server.server.address() as AddressInfo
  return { host: address, port }
}

const remedies: Record<string, string> = {
  EADDRINUSE: 'something listens there already; stop it, or set another place under `listen`',
  EACCES: 'this user must not; use a port above 1023 or a folder that it may write to',
  EADDRNOTAVAIL: 'this machine does not have that address; see `listen`',
  ENOENT: 'its folder does not exist; create it',
}

/** A socket file that nobody listens on is what a killed process leaves behind; any other file stays. */
async function removeStaleSocket(path: string): Promise<void> {
  const file = await lstat(path).catch(() => undefined)
  if (file === undefined) return
  if (!file.isSocket())
    throw new Error(
      `cannot listen for mail at ${path}: there is a file that is no socket; name another place`,
    )
  const isStale = await new Promise<boolean>((resolve) => {
    const probe = connect(path)
    probe.once('connect', () => {
      probe.destroy()
      resolve(false)
    })
    probe.once('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'ECONNREFUSED'))
  })
  if (isStale) await unlink(path)
}
