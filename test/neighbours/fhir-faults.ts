import type http from 'node:http'
import { issue, outcome, resource } from './fhir-answers.ts'

/** How requests fail: those whose path contains `path` (default: all), `times` times. */
export interface Fault {
  how:
    | 'status'
    | 'slow'
    /** Nothing is said until the faults are taken away; then the answer comes. */
    | 'hang'
    | 'html'
    | 'cut'
    | 'endless'
    | 'not-json'
    | 'redirect'
    | 'wrong-content-length'
    | 'operation-outcome-200'
  path?: string
  status?: number
  /** For `status`: seconds. */
  retryAfter?: number
  /** For `slow`. */
  delayMs?: number
  /** For `redirect`. */
  location?: string
  times?: number
}

export function misbehave(fault: Fault, response: http.ServerResponse, answer: () => void) {
  switch (fault.how) {
    case 'hang':
      return
    case 'status':
      if (fault.retryAfter !== undefined) response.setHeader('retry-after', fault.retryAfter)
      return outcome(response, fault.status ?? 503, 'transient', 'told to fail')
    case 'slow':
      return void setTimeout(answer, fault.delayMs ?? 5000)
    case 'html':
      response.writeHead(200, { 'content-type': 'text/html' })
      return void response.end('<html><body>Your session has expired.</body></html>')
    case 'not-json':
      response.writeHead(200, { 'content-type': 'application/fhir+json' })
      return void response.end('{"resourceType":"Bundle",')
    case 'operation-outcome-200':
      return resource(response, issue('processing', 'told to fail'))
    case 'cut':
      response.writeHead(200, { 'content-type': 'application/xml', 'content-length': 100_000 })
      response.write('<ClinicalDocument')
      return void setTimeout(() => response.destroy(), 50)
    case 'wrong-content-length':
      response.writeHead(200, { 'content-type': 'application/xml', 'content-length': 4 })
      return void response.end('<Cli')
    case 'endless': {
      response.writeHead(200, { 'content-type': 'application/xml' })
      const block = Buffer.alloc(65536, 0x20)
      const pour = () => {
        while (!response.destroyed && response.write(block));
      }
      response.on('drain', pour)
      return pour()
    }
    case 'redirect':
      response.writeHead(302, { location: fault.location ?? 'http://127.0.0.1:1/' })
      return void response.end()
  }
}
