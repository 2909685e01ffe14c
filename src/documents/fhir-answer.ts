import type { FhirResource } from 'fhir-kit-client'
import { Failed } from '../domain/failure.ts'
import type { HttpAnswer } from './bounded-fetch.ts'

/** @throws Failed for every answer that is not a FHIR resource with a 2xx status */
export function readResource(name: string, answer: HttpAnswer): FhirResource {
  if (answer.status < 200 || answer.status > 299) throw refusal(name, answer)
  const resource = parseResource(answer.bytes)
  if (resource === undefined)
    throw new Failed(
      'fhir-refused',
      `${name} answered ${answer.status} with ${answer.mediaType === '' ? 'something' : printable(answer.mediaType)} that is not a FHIR resource: a login or error page? Check its baseUrl`,
      { detail: { status: answer.status } },
    )
  if (resource.resourceType === 'OperationOutcome')
    throw new Failed(
      'fhir-refused',
      `${name} answered ${answer.status} with an OperationOutcome${issueCodes(resource)}`,
      { detail: { status: answer.status } },
    )
  return resource
}

/** What the status means for us; the server’s own words may quote the patient and are left out, but for issue codes. */
export function refusal(name: string, answer: HttpAnswer): Failed {
  const { status } = answer
  const outcome = parseResource(answer.bytes)
  const because = `${name} answered ${status}${outcome === undefined ? '' : issueCodes(outcome)}`
  const advice =
    status === 401
      ? ': our credentials are not accepted'
      : status === 403
        ? ': our credentials do not cover this; check the scopes'
        : ''
  return new Failed(
    status === 408 || status === 425 || (status >= 500 && status !== 501)
      ? 'fhir-unavailable'
      : 'fhir-refused',
    because + advice,
    { detail: { status } },
  )
}

/** True for a refusal by the FHIR server itself with one of these statuses. */
export function isAnswer(error: unknown, statuses: readonly number[]): boolean {
  if (!(error instanceof Failed) || typeof error.detail !== 'object' || error.detail === null) return false
  return 'status' in error.detail && statuses.includes(error.detail.status as number)
}

function parseResource(bytes: Buffer): FhirResource | undefined {
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8').replace(/^\uFEFF/, ''))
    if (typeof value !== 'object' || value === null || !('resourceType' in value)) return undefined
    return typeof value.resourceType === 'string' ? (value as FhirResource) : undefined
  } catch {
    return undefined
  }
}

function issueCodes(outcome: FhirResource): string {
  const issues = Array.isArray(outcome['issue']) ? (outcome['issue'] as { code?: unknown }[]) : []
  const codes = issues
    .map((issue) => issue?.code)
    .filter((code) => typeof code === 'string' && /^[a-z-]{1,30}$/.test(code))
  return codes.length === 0 ? '' : ` (${[...new Set(codes)].slice(0, 3).join(', ')})`
}

/** The matches of that type in a searchset; included ones are left out. */
export function resourcesOf(bundle: FhirResource, type: string): FhirResource[] {
  const entries = Array.isArray(bundle['entry']) ? (bundle['entry'] as unknown[]) : []
  return entries.flatMap((entry) => {
    const { resource, search } = (entry ?? {}) as { resource?: FhirResource; search?: { mode?: unknown } }
    return resource?.resourceType === type && search?.mode !== 'include' ? [resource] : []
  })
}

export function nextLink(bundle: FhirResource): string | undefined {
  const links = Array.isArray(bundle['link'])
    ? (bundle['link'] as { relation?: unknown; url?: unknown }[])
    : []
  const url = links.find((link) => link?.relation === 'next')?.url
  return typeof url === 'string' ? url : undefined
}

function printable(mediaType: string): string {
  return /^[a-z0-9.+-]{1,60}\/[a-z0-9.+-]{1,60}$/.test(mediaType) ? mediaType : 'something'
}
