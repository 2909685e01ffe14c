import { fhirServer } from '../documents/fhir-server.ts'
import { documentFolder } from '../documents/file-documents.ts'
import { findDocuments } from '../documents/find-document.ts'
import type { DocumentPlace } from '../pipeline/obtain-document.ts'
import type { Settings } from '../settings.ts'

/** Where the settings say documents come from, in the order they are asked. */
export function documentPlaces(
  { documents, fhirServers, authorities }: Settings,
  signal: AbortSignal,
): DocumentPlace[] {
  return documents.sources.flatMap((source): DocumentPlace[] => {
    const { confidentiality } = source
    if (source.type === 'folder') {
      const folder = documentFolder(source.directory, source.name, authorities)
      return [{ name: source.name, confidentiality, find: (wanted, at) => folder.find(wanted, at) }]
    }
    const setting = fhirServers.find(({ name }) => name === source.server)
    if (setting === undefined) return []
    const server = fhirServer(setting, { signal })
    return [{ name: setting.name, confidentiality, find: (wanted, at) => findDocuments(server, wanted, at) }]
  })
}
