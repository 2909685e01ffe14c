import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface PostfixSettings {
  /** main.cf, beside what makes an instance of its own. `$folder` is replaced by its folder. */
  readonly main: Readonly<Record<string, string>>
  /** One SMTP port each, with settings of its own. */
  readonly ports: readonly Readonly<Record<string, string>>[]
  /** Written to `$folder` first. */
  readonly files?: Readonly<Record<string, string>>
}

export interface Postfix {
  readonly folder: string
  /** In the order of `settings.ports`, on 127.0.0.1. */
  readonly ports: readonly number[]
  /** Resolves with the first log line that fits, past or future. */
  logged(line: RegExp): Promise<string>
  stop(): Promise<void>
}

/**
 * A Postfix of our own: its settings, queue and ports have nothing to do with one that the machine runs. Throws with the
 * remedy where it cannot be: a test that cannot run is a test that fails.
 */
export async function startPostfix(settings: PostfixSettings): Promise<Postfix> {
  if (spawnSync('postconf', ['mail_version']).status !== 0)
    throw new Error('there is no Postfix here: apt-get install postfix')
  if (process.getuid?.() !== 0)
    throw new Error('Postfix starts as root only: run the interop suites as root, as .ci/run does')
  const folder = mkdtempSync(join(tmpdir(), 'bluepost-postfix-'))
  // Its daemons run as another user and go by absolute paths.
  chmodSync(folder, 0o755)
  for (const name of ['etc', 'queue', 'data']) mkdirSync(join(folder, name))
  spawnSync('chown', ['postfix', join(folder, 'data')])
  for (const [name, content] of Object.entries(settings.files ?? {}))
    writeFileSync(join(folder, name), content)
  const ports = await freePorts(settings.ports.length)
  const main = {
    compatibility_level: '3.6',
    queue_directory: '$folder/queue',
    data_directory: '$folder/data',
    maillog_file: '/dev/stdout',
    myhostname: 'mx.relay.example',
    mydestination: '',
    alias_maps: '',
    inet_interfaces: '127.0.0.1',
    inet_protocols: 'ipv4',
    mynetworks: '127.0.0.0/8',
    smtp_dns_support_level: 'disabled',
    lmtp_dns_support_level: 'disabled',
    // What is put off is tried again soon: a test waits for it.
    queue_run_delay: '1s',
    minimal_backoff_time: '1s',
    maximal_backoff_time: '1s',
    ...settings.main,
  }
  const inFolder = (text: string): string => text.replaceAll('$folder', folder)
  writeFileSync(
    join(folder, 'etc/main.cf'),
    Object.entries(main)
      .map(([name, value]) => `${name} = ${inFolder(value)}\n`)
      .join(''),
  )
  const listeners = settings.ports.map((own, index) =>
    [
      `127.0.0.1:${ports[index]} inet n - n - - smtpd`,
      ...Object.entries(own).map(([name, value]) => `  -o { ${name} = ${inFolder(value)} }`),
    ].join('\n'),
  )
  writeFileSync(join(folder, 'etc/master.cf'), `${[...listeners, daemons].join('\n')}\n`)

  const lines: string[] = []
  let wake = (): void => {}
  // Its log goes to /dev/stdout, which it opens by name: that must be a pipe, and Node’s own are sockets. `postfix stop` ends
  // the whole process group, which must not be ours.
  const master = spawn('sh', ['-c', 'postfix -c "$1" start-fg 2>&1 | cat', 'sh', join(folder, 'etc')], {
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
  })
  master.stdout.on('data', (chunk: Buffer) => {
    lines.push(...chunk.toString().split('\n'))
    wake()
  })
  const ended = once(master, 'exit').then(() => wake())

  async function logged(line: RegExp): Promise<string> {
    for (;;) {
      const found = lines.find((text) => line.test(text))
      if (found !== undefined) return found
      if (master.exitCode !== null) throw new Error(`Postfix ended:\n${lines.join('\n')}`)
      await new Promise<void>((resolve) => (wake = resolve))
    }
  }

  await logged(/daemon started/)
  for (const port of ports) await answers(port)
  return {
    folder,
    ports,
    logged,
    async stop() {
      spawnSync('postfix', ['-c', join(folder, 'etc'), 'stop'])
      await ended
      rmSync(folder, { recursive: true })
    },
  }
}

/** As in the master.cf that Postfix ships, without chroot. */
const daemons = [
  'cleanup   unix  n  -  n  -      0  cleanup',
  'qmgr      unix  n  -  n  300    1  qmgr',
  'tlsmgr    unix  -  -  n  1000?  1  tlsmgr',
  'rewrite   unix  -  -  n  -      -  trivial-rewrite',
  'bounce    unix  -  -  n  -      0  bounce',
  'defer     unix  -  -  n  -      0  bounce',
  'trace     unix  -  -  n  -      0  bounce',
  'verify    unix  -  -  n  -      1  verify',
  'flush     unix  n  -  n  1000?  0  flush',
  'proxymap  unix  -  -  n  -      -  proxymap',
  'smtp      unix  -  -  n  -      -  smtp',
  'relay     unix  -  -  n  -      -  smtp',
  'showq     unix  n  -  n  -      -  showq',
  'error     unix  -  -  n  -      -  error',
  'retry     unix  -  -  n  -      -  error',
  'discard   unix  -  -  n  -      -  discard',
  'lmtp      unix  -  -  n  -      -  lmtp',
  'anvil     unix  -  -  n  -      1  anvil',
  'scache    unix  -  -  n  -      1  scache',
  'postlog   unix-dgram n - n -    1  postlogd',
].join('\n')

async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'))
  await Promise.all(servers.map((server) => once(server, 'listening')))
  const ports = servers.map((server) => (server.address() as AddressInfo).port)
  await Promise.all(servers.map((server) => once(server.close(), 'close')))
  return ports
}

async function answers(port: number): Promise<void> {
  const socket = connect(port, '127.0.0.1')
  await once(socket, 'data')
  socket.end('QUIT\r\n')
  await once(socket, 'close')
}
