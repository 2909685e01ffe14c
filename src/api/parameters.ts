import type { Request } from 'express'
import { Answer } from './problem.ts'

const pageRowsMax = 200
const pageRowsDefault = 50

/** `limit` and `before` of a list, checked. */
export function pageOf(request: Request): { limit: number; before: string | undefined } {
  const limitText = request.query['limit']
  const limit = limitText === undefined ? pageRowsDefault : Number(limitText)
  if (!Number.isInteger(limit) || limit < 1 || limit > pageRowsMax)
    throw new Answer({ status: 400, title: `limit is a whole number from 1 to ${pageRowsMax}` })
  const before = textIn(request, 'before')
  return { limit, before }
}

export function textIn(request: Request, name: string): string | undefined {
  const value = request.query[name]
  if (value === undefined) return undefined
  if (typeof value !== 'string' || value.length > 300)
    throw new Answer({ status: 400, title: `${name} must be one short text` })
  return value
}

const uuidPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i

export function uuidIn(request: Request, name: string): string {
  const value = request.params[name]
  if (typeof value !== 'string' || !uuidPattern.test(value))
    throw new Answer({ status: 404, title: 'There is nothing with this id' })
  return value
}

export function optionalUuidIn(request: Request, name: string): string | undefined {
  const value = textIn(request, name)
  if (value !== undefined && !uuidPattern.test(value))
    throw new Answer({ status: 400, title: `${name} must be an id` })
  return value
}

export function optionalNumberIn(request: Request, name: string): string | undefined {
  const value = textIn(request, name)
  if (value !== undefined && !/^\d{1,18}$/.test(value))
    throw new Answer({ status: 400, title: `${name} must be a number` })
  return value
}

/** One of a few words. */
export function oneOf<Word extends string>(
  request: Request,
  name: string,
  words: readonly Word[],
): Word | undefined {
  const value = textIn(request, name)
  if (value === undefined) return undefined
  const word = words.find((one) => one === value)
  if (word === undefined) throw new Answer({ status: 400, title: `${name} is one of ${words.join(', ')}` })
  return word
}

/** Why an operator does it; goes into the audit. */
export function reasonIn(body: unknown): string | undefined {
  const because: unknown = (body as { because?: unknown } | undefined)?.because
  if (because === undefined || (typeof because === 'string' && because.length <= 500)) return because
  throw new Answer({ status: 422, title: '“because” must be a text of at most 500 characters' })
}

/** A point in time with its zone: 2026-03-02T09:10:00-05:00. */
export function optionalMomentIn(request: Request, name: string): Date | undefined {
  const value = textIn(request, name)
  if (value === undefined) return undefined
  const at = new Date(value)
  if (!/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}.*(Z|[+-]\d{2}:\d{2})$/.test(value) || Number.isNaN(at.getTime()))
    throw new Answer({ status: 400, title: `${name} must be a moment such as 2026-03-02T09:10:00Z` })
  return at
}
