import type http from 'node:http'

export function issue(code: string, diagnostics: string) {
  return { resourceType: 'OperationOutcome', issue: [{ severity: 'error', code, diagnostics }] }
}

export function outcome(
  response: http.ServerResponse,
  status: number,
  code: string,
  diagnostics: string,
): void {
  response.writeHead(status, { 'content-type': 'application/fhir+json' })
  response.end(JSON.stringify(issue(code, diagnostics)))
}

export function resource(response: http.ServerResponse, body: object): void {
  response.writeHead(200, { 'content-type': 'application/fhir+json;charset=utf-8' })
  response.end(JSON.stringify(body))
}
