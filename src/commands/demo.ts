import { existsSync } from 'node:fs'
import { Usage, type Call, type Command } from './command.ts'
import { figures, story } from './demo-story.ts'
import { line, milliseconds, seconds } from './demo-terminal.ts'
import type { Town } from './demo-town.ts'

/** The whole story on this machine, with real neighbours (contract: two commands on a fresh machine). */
export const demo: Command = {
  usage: `bluepost demo                      the story, then everything stays up until Ctrl-C
bluepost demo --once               end after the story: exit 0 only if the document arrived byte-identical, was
                                   decrypted and verified by software that is not ours, and its MDN closed the
                                   transmission
bluepost demo --json               one line of figures last
bluepost demo --document-bytes N   size of Ellen’s document (default 60000, at most 25000000)

The real engine on an embedded database of its own, and as separate processes a hospital, a FHIR server, a DNS server
and the HISP of a personal health record. Ellen Ross has asked for continuous transmit; the hospital discharges her.`,
  options: { once: { type: 'boolean' }, 'document-bytes': { type: 'string' } },
  run: (call) => tellTheStory(optionsFrom(call)),
}

const documentBytesDefault = 60_000
const documentBytesMax = 25_000_000

interface Options {
  readonly once: boolean
  readonly json: boolean
  readonly documentBytes: number
}

/** Exit code: 0 it ended well, 1 it did not. */
async function tellTheStory(options: Options): Promise<number> {
  const townFile = new URL('../../test/neighbours/town.ts', import.meta.url)
  if (!existsSync(townFile)) {
    process.stderr.write(
      'bluepost demo: the neighbours are not here. They are part of the repository, not of the installed package: ' +
        'clone it and run `npm run demo` there.\n',
    )
    return 1
  }

  const stopped = new AbortController()
  const stop = () => stopped.abort()
  process.once('SIGINT', stop)
  process.once('SIGTERM', stop)
  let town: Town | undefined
  try {
    line('', 'bluepost', 'Ellen Ross of Ashby Medical Center is discharged')
    line(
      '',
      'starting',
      'embedded PostgreSQL, the engine, a hospital, a FHIR server, DNS, the HISP of a PHR …',
    )
    const { aTown, dischargeOf, ellen } = await neighbours(townFile)
    const began = performance.now()
    town = await aTown({
      document: { bytes: options.documentBytes },
      authorization: false,
      // A channel waits for a cancel before it sends; here nobody wants to.
      settings: { limits: { holdMax: '0s' } },
    })
    const startMs = performance.now() - began
    line('', 'engine', `ready after ${seconds(startMs)}: ${town.engine.url}`)
    line(
      '',
      'neighbours',
      `FHIR server 127.0.0.1:${town.clinic.process.port}, DNS 127.0.0.1:${town.names.port},`,
    )
    line(
      '',
      '',
      `HISP 127.0.0.1:${town.phr.process.port}, which opens mail with ${town.phr.opensWith.split(' (')[0]}`,
    )
    if (stopped.signal.aborted) return 1

    const ending = await story(town, dischargeOf(ellen), stopped.signal)
    line('', '', '')
    if (ending.because === undefined)
      line(
        'green',
        'delivered',
        `in ${milliseconds(ending.totalMs)}: byte-identical, verified, and the MDN closed the transmission`,
      )
    else line('red', 'not so', ending.because)
    if (options.json)
      process.stdout.write(`${JSON.stringify({ startMs: Math.round(startMs), ...figures(ending) })}\n`)
    if (!options.once && !stopped.signal.aborted) {
      lookAround(town, ending.transmissionId)
      await new Promise((resolve) => stopped.signal.addEventListener('abort', resolve, { once: true }))
    }
    return ending.because === undefined ? 0 : 1
  } catch (error) {
    line('red', 'not so', error instanceof Error ? error.message : String(error))
    return 1
  } finally {
    await town?.close()
    process.off('SIGINT', stop)
    process.off('SIGTERM', stop)
  }
}

function optionsFrom(call: Call): Options {
  const documentBytes = Number(call.values['document-bytes'] ?? documentBytesDefault)
  if (!Number.isInteger(documentBytes) || documentBytes < 1 || documentBytes > documentBytesMax)
    throw new Usage(`--document-bytes takes a whole number up to ${documentBytesMax}`)
  if (call.positionals.length > 0) throw new Usage('the demo takes no further words')
  return { once: call.values['once'] === true, json: call.isJson, documentBytes }
}

/** Everything stays up: where to look, and how to make it happen again. */
function lookAround({ engine, hospital }: Town, transmissionId: string | undefined): void {
  const api = `${engine.url}/api/v1`
  line('', '', '')
  line('', 'look around', 'everything stays up until Ctrl-C')
  line('', '', `curl ${api}/messages`)
  if (transmissionId !== undefined) line('', '', `curl ${api}/transmissions/${transmissionId}`)
  line('', '', `curl ${api}/audit`)
  line('', '', `curl ${engine.url}/metrics`)
  line('', '', `npm run bluepost -- send 127.0.0.1:${hospital.sendsTo} FILE     any ADT message of yours`)
}

/** Loaded by address, so that a build of the product does not drag the neighbours in. */
async function neighbours(townFile: URL) {
  const messages = new URL('hl7-messages.ts', townFile)
  const people = new URL('people.ts', townFile)
  const { aTown } = (await import(townFile.href)) as { aTown(options: object): Promise<Town> }
  const { ellen } = (await import(people.href)) as { ellen: object }
  const { dischargeOf } = (await import(messages.href)) as { dischargeOf(person: object): string }
  return { aTown, ellen, dischargeOf }
}
