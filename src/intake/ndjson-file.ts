import { patientIdOf } from '../domain/fhir-patient.ts'
import { Unsplittable, type Piece, type Splitter } from './split.ts'

type Resource = Readonly<Record<string, unknown>>

/** Patients of one file, by id: kept with the resources that name them. */
export type PatientLines = Map<string, Resource>

/** Some 100 MB; exports with more patients have them in files of their own. */
const patientsMax = 100_000

/**
 * Cuts a file of FHIR resources, one a line (NDJSON, FHIR Bulk Data), into messages: each resource with the Patient of the
 * same file that it names. Patients themselves are no messages. A line that is no resource is kept as it is, and waits for a
 * person when it is decided; one such line does not take the others with it.
 *
 * @param patients those that the file holds: a first reading collects them, a second one uses them
 */
export class NdjsonFile implements Splitter {
  readonly #lineBytesMax: number
  readonly #patients: PatientLines
  #rest: Buffer = Buffer.alloc(0)
  #lines = 0
  #messages = 0

  constructor(lineBytesMax: number, patients: PatientLines) {
    this.#lineBytesMax = lineBytesMax
    this.#patients = patients
  }

  *push(chunk: Buffer): Iterable<Piece> {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    let start = 0
    for (let end = bytes.indexOf(0x0a); end !== -1; end = bytes.indexOf(0x0a, start)) {
      yield* this.#line(bytes.subarray(start, end))
      start = end + 1
    }
    this.#rest = bytes.subarray(start)
    this.#check(this.#rest)
  }

  *end(): Iterable<Piece> {
    yield* this.#line(this.#rest)
    if (this.#messages === 0 && this.#patients.size === 0)
      throw new Unsplittable('the file is empty: ask the sender for it again')
  }

  #check(line: Buffer): void {
    if (line.length > this.#lineBytesMax)
      throw new Unsplittable(
        `line ${this.#lines + 1} is longer than ${this.#lineBytesMax} bytes: no resource is as large, the sender has to leave it out`,
      )
  }

  *#line(bytes: Buffer): Generator<Piece> {
    this.#check(bytes)
    this.#lines++
    const text = bytes
      .toString('utf8')
      .replace(/^\ufeff/, '')
      .trim()
    if (text === '') return
    const resource = parsed(text)
    if (resource === undefined && this.#messages === 0 && this.#patients.size === 0)
      throw new Unsplittable(
        `line ${this.#lines} is no FHIR resource: the file must hold one on each line (NDJSON), not an array or a resource over several lines`,
      )
    if (resource?.['resourceType'] === 'Patient' && typeof resource['id'] === 'string') {
      if (this.#patients.size >= patientsMax)
        throw new Unsplittable(`the file holds more than ${patientsMax} patients: the sender has to split it`)
      this.#patients.set(resource['id'], resource)
      return
    }
    this.#messages++
    yield pieceOf(text, resource, this.#lines, this.#patients)
  }
}

function pieceOf(text: string, resource: Resource | undefined, line: number, patients: PatientLines): Piece {
  // A colon is in no name of the settings: nothing takes this for a FHIR server that could be asked.
  const part = { sender: 'file:', flags: [] }
  if (resource === undefined) return { ...part, content: Buffer.from(text), controlId: `line/${line}` }
  const { resourceType, id, meta } = resource as { resourceType: string; id?: unknown; meta?: Resource }
  const version = meta?.['versionId'] ?? meta?.['lastUpdated'] ?? ''
  const subject = [resource['patient'], resource['subject'], resource['for']]
    .map(patientIdOf)
    .find((one) => one !== undefined)
  const patient = subject === undefined ? containedPatient(resource) : patients.get(subject)
  const collection =
    patient === undefined
      ? text
      : JSON.stringify({
          resourceType: 'Bundle',
          type: 'collection',
          entry: [{ resource }, { resource: patient }],
        })
  return {
    ...part,
    content: Buffer.from(collection),
    controlId: `${resourceType}/${asText(id)}/_history/${asText(version)}`.replaceAll('\0', '').slice(0, 199),
  }
}

/** The Patient that a resource holds within itself, where it names her so (`#p1`). */
function containedPatient(resource: Resource): Resource | undefined {
  const { contained } = resource
  if (!Array.isArray(contained)) return undefined
  const references = [resource['patient'], resource['subject'], resource['for']].map(
    (one) => (one as { reference?: unknown } | null | undefined)?.reference,
  )
  return contained.find(
    (one: Resource | null) =>
      one?.['resourceType'] === 'Patient' && references.includes(`#${asText(one['id'])}`),
  ) as Resource | undefined
}

function asText(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

function parsed(text: string): Resource | undefined {
  try {
    const value = JSON.parse(text) as unknown
    const isResource =
      typeof value === 'object' && value !== null && typeof (value as Resource)['resourceType'] === 'string'
    return isResource ? (value as Resource) : undefined
  } catch {
    return undefined
  }
}
