import { createReadStream, readFileSync } from 'node:fs'
import { makeSealer } from '../src/seal/seal.ts'
import { anOrder, aTown } from '../test/seal/an-order.ts'

/**
 * Run as a process of its own: seals a file the engine's way, a stream in and a stream out, and tells by how much the
 * process has grown. The resident set counts ArrayBuffers and every thread.
 */
const [file, bytesText, taking] = process.argv.slice(2)
const bytes = Number(bytesText)
const town = aTown()
const sealer = makeSealer({ threads: 1, signers: [town.ashby] })

async function seal(documentBytes: number): Promise<void> {
  const document = {
    fileName: 'ccd.xml',
    mediaType: 'application/xml',
    bytes: documentBytes,
    chunks: () => createReadStream(file!, { end: documentBytes - 1, highWaterMark: 256 * 1024 }),
  }
  for await (const chunk of sealer.seal(anOrder(town, { documents: [document] }), {
    freesTaken: taking === 'frees',
  }).chunks)
    void chunk
}

/** The high-water mark of the kernel where there is one (Linux), since the last sample may have missed the peak. */
function peakBytes(): number {
  try {
    const kilobytes = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]
    if (kilobytes !== undefined) return Number(kilobytes) * 1024
  } catch {
    // Not Linux.
  }
  return process.resourceUsage().maxRSS * 1024
}

// The idle process: started, threads up, one small message done.
await seal(1000)
const idle = process.memoryUsage.rss()
await seal(bytes)
process.stdout.write(JSON.stringify({ idle, peak: peakBytes() }))
await sealer.close()
