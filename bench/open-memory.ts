// Opens one message in a process of its own and tells its memory before and at most, in bytes:
//   node bench/open-memory.ts MESSAGE KEY.pem
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { open } from '../src/seal/open.ts'
import { fileKeyHolder } from '../src/seal/own-key.ts'

const [message = '', keyFile = ''] = process.argv.slice(2)
const pem = readFileSync(keyFile)
const keys = [{ certificate: new X509Certificate(pem).raw, key: fileKeyHolder(createPrivateKey(pem)) }]
const idle = process.memoryUsage().rss
const read = await open(readFileSync(message), { keys })
if (!read.opened || !read.signers[0]?.valid) throw new Error('it does not open')
// Since this program began; maxRSS would count what the process was a copy of.
const highWater = /^VmHWM:\s*(\d+) kB/m.exec(
  existsSync('/proc/self/status') ? readFileSync('/proc/self/status', 'latin1') : '',
)?.[1]
const peak = highWater === undefined ? process.memoryUsage().rss : Number(highWater) * 1024
process.stdout.write(JSON.stringify({ idle, peak }))
