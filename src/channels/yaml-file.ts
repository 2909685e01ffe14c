import { isAlias, isMap, isScalar, isSeq, LineCounter, parseAllDocuments } from 'yaml'
import type { Document, Node, YAMLError, Scalar } from 'yaml'
import type { Problem, ProblemCode } from './problem.ts'

/** Keys and indexes from the top of the file to a value. */
export type Place = readonly (string | number)[]

/** A YAML file as data, with the place of everything in it. */
export interface YamlFile {
  readonly file: string
  readonly value: Readonly<Record<string, unknown>>
  /** A finding at a value, or at its key; of the nearest thing around it where it is not there. */
  problem(place: Place, code: ProblemCode, what: string, remedy?: string, at?: 'key' | 'value'): Problem
  line(place: Place): number
}

/** No channel or mapping is a tenth of this. */
export const yamlBytesMax = 256 * 1024

/** Deeper nesting is not a channel. */
const depthMax = 30
const tooDeep = 'the file is nested too deeply'

/**
 * Reads YAML 1.2, core schema, strictly: unique keys, no anchors, aliases, tags or further documents. A number that would
 * not be written the same again (`01`, `1e3`, `3.10`) stays text: analysts mean codes.
 */
export function readYamlFile(
  file: string,
  text: string,
): { readonly yaml: YamlFile | undefined; readonly problems: readonly Problem[] } {
  const problems: Problem[] = []
  const lines = new LineCounter()
  const at = (offset: number): { line: number; column: number } => {
    const { line, col } = lines.linePos(offset)
    return { line: Math.max(1, line), column: Math.max(1, col) }
  }
  const report = (offset: number, code: ProblemCode, what: string, remedy?: string): void => {
    problems.push({
      file,
      ...at(offset),
      severity: 'error',
      code,
      what,
      ...(remedy !== undefined && { remedy }),
    })
  }
  if (Buffer.byteLength(text) > yamlBytesMax) {
    report(0, 'file-too-large', `the file is larger than ${yamlBytesMax / 1024} KB`)
    return { yaml: undefined, problems }
  }
  let documents: Document.Parsed[]
  try {
    const parsed = parseAllDocuments(text, {
      version: '1.2',
      schema: 'core',
      strict: true,
      // Compares each key with each; what stands twice is found below, one by one.
      uniqueKeys: false,
      merge: false,
      prettyErrors: false,
      lineCounter: lines,
    })
    documents = 'empty' in parsed ? [] : parsed
  } catch {
    report(0, 'yaml-syntax', tooDeep)
    return { yaml: undefined, problems }
  }
  const [document, second] = documents
  if (document === undefined) {
    report(0, 'yaml-syntax', 'the file is empty')
    return { yaml: undefined, problems }
  }
  if (second !== undefined)
    report(
      second.range[0],
      'yaml-feature',
      'the file holds several documents',
      'write one file for each; remove the line ---',
    )
  // The parser recurses: brackets without end exhaust its stack, which it may say or throw.
  if (document.errors.some(({ message }) => message.includes('call stack'))) {
    report(0, 'yaml-syntax', tooDeep)
    return { yaml: undefined, problems }
  }
  // What follows a syntax error is a consequence of it.
  const [syntax] = document.errors
  if (syntax !== undefined) {
    const [offset] = syntax.pos
    const what = syntax.message.split('\n')[0] ?? syntax.code
    report(offset, 'yaml-syntax', what, syntaxRemedy(text, offset, syntax))
  }
  if (problems.length > 0) return { yaml: undefined, problems }
  let value: unknown
  try {
    value = plain(document.contents, 0, report)
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    report(0, 'yaml-syntax', tooDeep)
  }
  if (problems.length === 0 && !isRecord(value))
    report(0, 'wrong-value', 'the file must hold keys and values')
  if (problems.length > 0) return { yaml: undefined, problems }
  const offsetOf = (place: Place, wanted: 'key' | 'value'): number =>
    offsetAt(document.contents, place, wanted)
  return {
    problems,
    yaml: {
      file,
      value: value as Record<string, unknown>,
      problem: (place, code, what, remedy, wanted = 'value') => ({
        file,
        ...at(offsetOf(place, wanted)),
        severity: 'error',
        code,
        what,
        ...(remedy !== undefined && { remedy }),
      }),
      line: (place) => at(offsetOf(place, 'key')).line,
    },
  }
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** A scalar as the core schema reads it, for text that came from the environment. */
export function readScalar(text: string): string | number | boolean {
  if (text === 'true' || text === 'false') return text === 'true'
  return /^-?(0|[1-9][0-9]*)$/.test(text) && Number.isSafeInteger(Number(text)) ? Number(text) : text
}

const reservedKeys = new Set(['__proto__', 'constructor', 'prototype'])

type Report = (offset: number, code: ProblemCode, what: string, remedy?: string) => void

function plain(node: unknown, depth: number, report: Report): unknown {
  if (node === null || node === undefined) return null
  const { range, anchor, tag } = node as Node & { anchor?: string }
  const offset = range?.[0] ?? 0
  if (depth > depthMax) {
    report(offset, 'yaml-syntax', tooDeep)
    return null
  }
  if (isAlias(node)) {
    report(offset, 'yaml-feature', 'aliases (*name) are not used here', 'write the value out')
    return null
  }
  if (anchor !== undefined)
    report(offset, 'yaml-feature', 'anchors (&name) are not used here', 'remove the anchor')
  if (tag !== undefined) report(offset, 'yaml-feature', 'tags (!name) are not used here', 'remove the tag')
  if (isScalar(node)) return scalar(node)
  if (isSeq(node)) return node.items.map((item) => plain(item, depth + 1, report))
  if (!isMap(node)) return null
  const result: Record<string, unknown> = {}
  for (const { key, value } of node.items) {
    if (!isScalar(key)) {
      report(
        (key as Node | null)?.range?.[0] ?? offset,
        'yaml-syntax',
        'a key must be a plain word',
        quotesRemedy,
      )
      continue
    }
    if (key.anchor !== undefined || key.tag !== undefined)
      report(key.range?.[0] ?? offset, 'yaml-feature', 'anchors and tags are not used here', 'remove it')
    const name = String(scalar(key))
    if (reservedKeys.has(name)) {
      report(
        key.range?.[0] ?? offset,
        'reserved-key',
        `the key "${name}" is not allowed`,
        'choose another name',
      )
      continue
    }
    if (Object.hasOwn(result, name)) {
      report(
        key.range?.[0] ?? offset,
        'duplicate-key',
        'the same key stands here a second time',
        'keep one of them',
      )
      continue
    }
    result[name] = plain(value, depth + 1, report)
  }
  return result
}

function scalar(node: Scalar): unknown {
  const { value, source } = node
  if (typeof value === 'number' || typeof value === 'bigint')
    return source === undefined || String(value) === source ? value : source
  return value
}

function offsetAt(contents: unknown, place: Place, wanted: 'key' | 'value'): number {
  let node: unknown = contents
  let offset = (node as Node | null)?.range?.[0] ?? 0
  for (const [index, step] of place.entries()) {
    const isLast = index === place.length - 1
    if (isMap(node)) {
      const pair = node.items.find(({ key }) => isScalar(key) && String(scalar(key)) === String(step))
      if (pair === undefined) return offset
      const { range: keyRange } = pair.key as Node
      const { range: valueRange } = (pair.value ?? {}) as Partial<Node>
      offset = (isLast && wanted === 'key') || valueRange == null ? (keyRange?.[0] ?? offset) : valueRange[0]
      node = pair.value
    } else if (isSeq(node)) {
      const item = node.items[Number(step)] as Node | undefined
      if (item?.range == null) return offset
      offset = item.range[0]
      node = item
    } else return offset
  }
  return offset
}

const quotesRemedy = 'put the whole value in quotes: "${NAME:-default}"'

function syntaxRemedy(text: string, offset: number, { code, message }: YAMLError): string | undefined {
  const from = text.lastIndexOf('\n', offset - 1) + 1
  const to = text.indexOf('\n', offset)
  const line = text.slice(from, to === -1 ? text.length : to)
  if (/(^|[^"'])\$\{/.test(line)) return `inside { … }, ${quotesRemedy}`
  if (code === 'TAB_AS_INDENT' || line.includes('\t')) return 'indent with blanks, not with tabs'
  if (code === 'MULTILINE_IMPLICIT_KEY' || code === 'BLOCK_AS_IMPLICIT_KEY')
    return 'look for a missing quote, or a colon inside a text: put the text in quotes'
  if (message.startsWith('Flow '))
    return 'a bracket { or [ is opened before this place and not closed: close it in its line'
  if (code === 'BAD_INDENT') return 'keys of one level must begin in the same column'
  return undefined
}
