import { constants } from 'node:fs'
import { access } from 'node:fs/promises'
import { join } from 'node:path'
import { fhirServer } from '../documents/fhir-server.ts'
import { indexName } from '../documents/file-documents.ts'
import type { Settings } from '../settings.ts'
import type { Finding } from './check.ts'

const answerMsMax = 3000

/** Whether the places that documents come from are there. */
export async function checkDocuments({ fhirServers, documents }: Settings): Promise<Finding[]> {
  const findings: Finding[] = []
  for (const source of documents.sources) {
    if (source.type === 'folder') findings.push(await checkFolder(source))
    const setting = fhirServers.find((one) => source.type === 'server' && one.name === source.server)
    if (setting !== undefined) findings.push(await checkServer(setting))
  }
  return findings
}

async function checkFolder({ name, directory }: { name: string; directory: string }): Promise<Finding> {
  const isThere = await access(join(directory, indexName), constants.R_OK).then(
    () => true,
    () => false,
  )
  return isThere
    ? good(`folder ${name} has its ${indexName}`)
    : wrong(`folder ${name}: ${indexName} is not there or cannot be read`)
}

async function checkServer(setting: Settings['fhirServers'][number]): Promise<Finding> {
  try {
    // An identifier nobody has: the answer shows that the server is there, lets us in, and searches patients.
    await fhirServer({ ...setting, timeoutMs: Math.min(setting.timeoutMs, answerMsMax) }).search('Patient', {
      identifier: 'urn:uuid:00000000-0000-4000-8000-000000000000|bluepost-check',
    })
    return good(`FHIR server ${setting.name} answers and lets us search`)
  } catch (error) {
    return wrong(`FHIR server ${setting.name}: ${(error as Error).message}`)
  }
}

function good(what: string): Finding {
  return { about: 'documents', outcome: 'good', what }
}

function wrong(what: string): Finding {
  return { about: 'documents', outcome: 'wrong', what }
}
