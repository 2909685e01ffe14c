import type { ErrorRequestHandler, RequestHandler, Response } from 'express'
import { errorTrace, type Log } from '../lib/log.ts'

/** Problem details for HTTP APIs (RFC 9457). `detail` is for people and names no patient. */
export interface Problem {
  readonly status: number
  readonly title: string
  readonly detail?: string
  readonly errors?: readonly { readonly where: string; readonly what: string }[]
}

function sendProblem(response: Response, problem: Problem): void {
  response
    .status(problem.status)
    .type('application/problem+json')
    .json({ type: 'about:blank', ...problem })
}

/** Thrown by a route to answer with a problem. */
export class Answer extends Error {
  readonly problem: Problem

  constructor(problem: Problem) {
    super(problem.title)
    this.name = 'Answer'
    this.problem = problem
  }
}

export const notFound: RequestHandler = (_request, response) =>
  sendProblem(response, {
    status: 404,
    title: 'Not found',
    detail: 'The paths are listed in /api/openapi.json.',
  })

export function failures(log: Log): ErrorRequestHandler {
  return (error: unknown, request, response, next) => {
    if (response.headersSent) return next(error)
    if (error instanceof Answer) return sendProblem(response, error.problem)
    const status = (error as { status?: unknown }).status
    if (typeof status === 'number' && status >= 400 && status < 500)
      return sendProblem(response, {
        status,
        title: status === 413 ? 'The request is too large' : 'The request cannot be read',
        detail:
          status === 400 ? 'The body is not valid JSON.' : 'See /api/openapi.json for what this path takes.',
      })
    log.error('a request failed unexpectedly', { method: request.method, error: errorTrace(error) })
    sendProblem(response, {
      status: 500,
      title: 'Something went wrong here',
      detail: 'Nothing was changed. The log has the place.',
    })
  }
}
