import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { stringify } from 'yaml'
import { Failed } from '../../src/domain/failure.ts'
import { readPartners } from '../../src/partners.ts'
import { trustedRecipients, type RecipientPorts } from '../../src/pipeline/recipients.ts'
import { parseSettings } from '../../src/settings.ts'
import type { DiscoveryCase } from '../neighbours/discovery-cases.ts'
import { runDiscoveryTool, type RunningTool } from '../neighbours/discovery-tool.ts'

const numbers = Array.from({ length: 18 }, (_, index) => index + 1)

/** The eighteen addresses of both certification tools, with what the settings make of discovery and trust. */
describe.each(['dcdt', 'directtrust'] as const)('certificate discovery, as %s tests it', (tool) => {
  let running: RunningTool
  let ports: RecipientPorts
  beforeAll(async () => {
    running = await runDiscoveryTool(tool)
    const reading = parseSettings(stringify(running.settings), undefined, {})
    if (!reading.valid) throw new Error(JSON.stringify(reading.problems))
    const { discovery, trust, problems } = readPartners(reading.settings, new Date())
    expect(problems).toEqual([])
    ports = { discovery, trust, localDomain: 'direct.ashby.example' }
  })
  afterAll(() => running.close())

  test.each(numbers)('D%d', async (number) => {
    const given = running.world.cases[number - 1]!
    expect(given.id).toBe(`D${number}`)
    await ends(given)
    // From what was kept meanwhile the answer is the same.
    await ends(given)
  })

  async function ends({ address, ends: how, expected, what }: DiscoveryCase): Promise<void> {
    const found = await trustedRecipients(ports, address, new Date()).catch((error: unknown) => {
      if (error instanceof Failed) return error
      throw error
    })
    if (found instanceof Failed) {
      expect({ what, ends: refusals[found.code], expected }).toEqual({ what, ends: how, expected: [] })
      return
    }
    expect({ what, certificates: found.certificates.map(({ der }) => der) }).toEqual({
      what,
      certificates: expected,
    })
    expect(found.trace.filter(({ outcome }) => outcome === 'found').map(({ step }) => step)).toContain(how)
  }
})

const refusals: Record<string, DiscoveryCase['ends']> = {
  'recipient-untrusted': 'untrusted',
  'recipient-no-certificate': 'absent',
  'discovery-unavailable': 'unreachable',
}
