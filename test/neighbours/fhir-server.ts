import { createHash } from 'node:crypto'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { ccdOf, type CcdChoices, type Person } from './ccd.ts'
import { outcome, resource } from './fhir-answers.ts'
import { misbehave, type Fault } from './fhir-faults.ts'
import { capabilities, patientOf, referenceTo, type StoredDocument } from './fhir-resources.ts'
import { searchPatients } from './fhir-search.ts'
import { live, type Happening } from './life.ts'

const pageSize = 20

/** A small FHIR R4 server with patients and C-CDAs, which can be told to misbehave. */
export async function serveFhir(tell: (happening: Happening) => void, port: number) {
  const people = new Map<string, Person & { replacedBy?: string }>()
  const documents = new Map<string, StoredDocument & { content: Buffer }>()
  let faults: (Fault & { left: number })[] = []
  let next = 1
  const hanging: (() => void)[] = []
  const settings = {
    /** `false`: the operation is unknown here; `generates`: it makes a current CCD when asked. */
    docref: true as boolean | 'generates',
    /** Where the content stands: in `Binary/…` by relative or absolute URL, or inside the DocumentReference. */
    content: 'relative' as 'relative' | 'absolute' | 'inline',
    bearer: undefined as string | undefined,
    generatedBytes: undefined as number | undefined,
  }

  const server = http.createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('error', () => {})
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const path = request.url ?? '/'
      response.on('finish', () =>
        tell({ what: 'answered', method: request.method, path, status: response.statusCode }),
      )
      const fault = faults.find(({ path: part, left }) => left > 0 && path.includes(part ?? ''))
      if (fault !== undefined) fault.left--
      faults = faults.filter(({ left }) => left > 0)
      const answer = () => {
        try {
          reply(request, Buffer.concat(chunks), response)
        } catch (error) {
          tell({ what: 'failed', path, because: String(error) })
          outcome(response, 500, 'exception', String(error))
        }
      }
      tell({ what: 'asked', method: request.method, path })
      if (fault === undefined) answer()
      else if (fault.how === 'hang') hanging.push(answer)
      else misbehave(fault, response, answer)
    })
  })
  await new Promise<void>((resolve, reject) =>
    server.once('error', reject).listen(port, '127.0.0.1', () => resolve()),
  )
  const listensOn = (server.address() as AddressInfo).port
  const base = `http://127.0.0.1:${listensOn}/fhir`

  function reply(request: http.IncomingMessage, body: Buffer, response: http.ServerResponse) {
    const url = new URL(request.url ?? '/', base)
    const path = url.pathname.replace(/^\/fhir\/?/, '')
    if (!url.pathname.startsWith('/fhir')) return outcome(response, 404, 'not-found', url.pathname)
    if (path === 'metadata') return resource(response, capabilities(settings.docref !== false))
    if (settings.bearer !== undefined && request.headers.authorization !== `Bearer ${settings.bearer}`)
      return outcome(response, 401, 'login', 'a bearer token is needed')
    const [type, id, ...rest] = path.split('/')
    const isSearchByPost = request.method === 'POST' && (id === '_search' || rest[0] === '_search')
    const query = isSearchByPost
      ? new URLSearchParams([...url.searchParams, ...new URLSearchParams(body.toString())])
      : url.searchParams

    if (type === 'Patient' && (id === undefined || id === '_search'))
      return searchset(response, searchPatients(people, query), url)
    if (type === 'Patient' && id !== undefined) {
      const person = people.get(id)
      return person === undefined
        ? outcome(response, 404, 'not-found', path)
        : resource(response, patientOf(person))
    }
    if (type === 'DocumentReference' && id === '$docref') return docref(request, body, query, response, url)
    if (type === 'DocumentReference' && (id === undefined || id === '_search'))
      return searchset(response, searchDocuments(query), url)
    if (type === 'DocumentReference' && id !== undefined) {
      const document = documents.get(id)
      return document === undefined
        ? outcome(response, 404, 'not-found', path)
        : resource(response, referenceTo(document, settings.content, base))
    }
    if (type === 'Binary' && id !== undefined) {
      const document = documents.get(id)
      if (document === undefined) return outcome(response, 404, 'not-found', path)
      const accept = request.headers.accept ?? '*/*'
      // R4 Binary: the resource itself for FHIR media types, the content as it is for anything else.
      if (/fhir\+json|application\/json/.test(accept))
        return resource(response, {
          resourceType: 'Binary',
          id,
          contentType: document.contentType,
          data: document.content.toString('base64'),
        })
      response.writeHead(200, {
        'content-type': document.contentType,
        'content-length': document.content.length,
      })
      return void response.end(document.content)
    }
    outcome(response, 404, 'not-supported', path)
  }

  function documentsOf(subject: string): (StoredDocument & { content: Buffer })[] {
    return [...documents.values()].filter((document) => document.patient === subject)
  }

  function searchDocuments(query: URLSearchParams): object[] {
    const newestFirst = (query.get('_sort') ?? '').startsWith('-date')
    const found = [...documents.values()].filter((document) =>
      [...query].every(([name, wanted]) => {
        switch (name) {
          case 'patient':
          case 'subject':
            return document.patient === wanted.replace(/^.*Patient\//, '')
          case 'patient.identifier': {
            const [system, value] = wanted.split('|')
            return people
              .get(document.patient)
              ?.identifiers.some((identifier) => identifier.system === system && identifier.value === value)
          }
          case 'type':
            return wanted
              .split(',')
              .some((token) => [document.code, `http://loinc.org|${document.code}`].includes(token))
          case 'status':
            return wanted.split(',').includes(document.status)
          case '_id':
            return wanted.split(',').includes(document.id)
          case 'date':
          case '_lastUpdated': {
            const [, comparison, moment] = /^(ge|gt|le|lt|eq)?(.*)$/.exec(wanted) ?? []
            const difference = Date.parse(document.date) - Date.parse(moment ?? '')
            return comparison?.startsWith('g')
              ? difference >= 0
              : comparison?.startsWith('l')
                ? difference <= 0
                : true
          }
          default:
            return true
        }
      }),
    )
    found.sort((a, b) => (newestFirst ? -1 : 1) * (Date.parse(a.date) - Date.parse(b.date)))
    return found.map((document) => referenceTo(document, settings.content, base))
  }

  /** US Core: with a patient and nothing else, a reference to the current CCD. */
  function docref(
    request: http.IncomingMessage,
    body: Buffer,
    query: URLSearchParams,
    response: http.ServerResponse,
    url: URL,
  ) {
    if (settings.docref === false)
      return outcome(response, 404, 'not-supported', 'the operation $docref is not known')
    const asked =
      request.method === 'POST'
        ? (JSON.parse(body.toString()) as {
            parameter?: {
              name: string
              valueId?: string
              valueString?: string
              valueCodeableConcept?: { coding?: { code?: string }[] }
              valueCoding?: { code?: string }
            }[]
          })
        : undefined
    const parameter = (name: string) => asked?.parameter?.find((candidate) => candidate.name === name)
    const subject = (
      parameter('patient')?.valueId ??
      parameter('patient')?.valueString ??
      query.get('patient') ??
      ''
    ).replace(/^.*Patient\//, '')
    if (subject === '') return outcome(response, 400, 'required', 'patient is missing')
    const person = people.get(subject)
    if (person === undefined) return outcome(response, 404, 'not-found', `Patient/${subject}`)
    const code =
      parameter('type')?.valueCodeableConcept?.coding?.[0]?.code ??
      parameter('type')?.valueCoding?.code ??
      query.get('type')?.split('|').pop() ??
      '34133-9'
    if (settings.docref === 'generates') {
      const content = ccdOf(person, {
        effectiveTime: new Date(),
        seed: String(next),
        ...(settings.generatedBytes === undefined ? {} : { bytes: settings.generatedBytes }),
      })
      put({ patient: subject, code }, content)
    }
    const current = documentsOf(subject)
      .filter((document) => document.code === code && document.status === 'current')
      .sort((a, b) => Date.parse(b.date) - Date.parse(a.date))
    searchset(
      response,
      current.slice(0, 1).map((document) => referenceTo(document, settings.content, base)),
      url,
    )
  }

  function searchset(response: http.ServerResponse, found: object[], url: URL) {
    const from = Number(url.searchParams.get('_offset') ?? 0)
    const count = Math.max(1, Number(url.searchParams.get('_count') ?? pageSize))
    const more = new URL(url.pathname + url.search, base)
    more.searchParams.set('_offset', String(from + count))
    resource(response, {
      resourceType: 'Bundle',
      type: 'searchset',
      total: found.length,
      link: [
        { relation: 'self', url: url.href },
        ...(from + count < found.length ? [{ relation: 'next', url: more.href }] : []),
      ],
      entry: found.slice(from, from + count).map((item) => {
        const { resourceType, id } = item as { resourceType: string; id: string }
        return {
          fullUrl: `${base}/${resourceType}/${id}`,
          resource: item,
          search: { mode: 'match' },
        }
      }),
    })
  }

  function put(
    about: {
      patient: string
      id?: string
      code?: string
      contentType?: string
      status?: StoredDocument['status']
      date?: string
    },
    content: Buffer,
  ): StoredDocument {
    const document = {
      id: about.id ?? `doc-${next++}`,
      patient: about.patient,
      code: about.code ?? '34133-9',
      contentType: about.contentType ?? 'application/xml',
      status: about.status ?? ('current' as const),
      date: about.date ?? new Date().toISOString(),
      bytes: content.length,
      sha256: createHash('sha256').update(content).digest('hex'),
      content,
    }
    documents.set(document.id, document)
    const { content: _, ...told } = document
    tell({ what: 'document', ...told })
    return told
  }

  return {
    port: listensOn,
    commands: {
      /** `{ person: Person, replacedBy? }` adds or replaces a patient. */
      addPatient: ({ person, replacedBy }: { person: Person; replacedBy?: string }) => {
        people.set(person.id, { ...person, ...(replacedBy === undefined ? {} : { replacedBy }) })
      },
      /**
       * Adds or (with a known `id`) replaces a document: `content` in base64 as it is, else a C-CDA made from `choices`
       * about the patient, or about `insteadOf`, another patient. `spoil: 'doctype'` puts a DOCTYPE into it.
       */
      putDocument: ({
        content,
        choices,
        insteadOf,
        spoil,
        ...about
      }: {
        patient: string
        id?: string
        code?: string
        contentType?: string
        status?: StoredDocument['status']
        date?: string
        content?: string
        choices?: Omit<CcdChoices, 'effectiveTime'> & { effectiveTime?: string }
        insteadOf?: string
        spoil?: 'doctype' | 'cut'
      }) => {
        if (content !== undefined) return put(about, Buffer.from(content, 'base64'))
        const person = people.get(insteadOf ?? about.patient)
        if (person === undefined) throw new Error(`no patient ${insteadOf ?? about.patient} here`)
        const effectiveTime = new Date(choices?.effectiveTime ?? Date.now())
        let made = ccdOf(person, {
          ...choices,
          ...(about.code === undefined ? {} : { code: about.code as NonNullable<CcdChoices['code']> }),
          effectiveTime,
          seed: choices?.seed ?? String(next),
        })
        if (spoil === 'doctype')
          made = Buffer.from(
            made
              .toString()
              .replace(
                '<ClinicalDocument',
                '<!DOCTYPE ClinicalDocument [<!ENTITY e "x">]>\n<ClinicalDocument',
              ),
          )
        if (spoil === 'cut') made = made.subarray(0, Math.floor(made.length / 2))
        return put({ date: effectiveTime.toISOString(), ...about }, made)
      },
      removeDocument: ({ id }: { id: string }) => void documents.delete(id),
      /** Every document with its SHA-256, newest last. */
      documents: ({ patient: subject }: { patient?: string }) =>
        [...documents.values()]
          .filter((document) => subject === undefined || document.patient === subject)
          .map(({ content: _, ...told }) => told),
      /** The bytes of one document, base64. */
      content: ({ id }: { id: string }) => documents.get(id)?.content.toString('base64'),
      /** `{ fault: Fault }` or `{ fault: null }` to behave again. */
      fault: ({ fault }: { fault: Fault | null }) => {
        if (fault === null) {
          faults = []
          for (const answer of hanging.splice(0)) answer()
        } else faults.push({ ...fault, left: fault.times ?? Infinity })
      },
      set: (wanted: Partial<typeof settings>) => {
        for (const name of Object.keys(settings) as (keyof typeof settings)[])
          if (name in wanted) Object.assign(settings, { [name]: wanted[name] ?? undefined })
      },
    },
    close: () => {
      server.closeAllConnections()
      server.close()
    },
  }
}

if (import.meta.main) await live(serveFhir)
