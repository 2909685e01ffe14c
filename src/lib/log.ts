import pino from 'pino'

/**
 * The fields a log line may have. Everything else is dropped before it is written: a name, an identifier or a message
 * text cannot reach the log by way of a forgotten field.
 */
export interface LogFields {
  channel?: string
  room?: string
  messageId?: number | string
  transmissionId?: string
  authorizationId?: string
  mailId?: string
  jobId?: string
  state?: string
  code?: string
  outcome?: string
  count?: number
  bytes?: number
  durationMs?: number
  attempt?: number
  peer?: string
  listen?: string
  host?: string
  port?: number
  domain?: string
  status?: number
  method?: string
  route?: string
  revision?: string
  version?: string
  path?: string
  pid?: number
  signal?: string
  limit?: string
  /** Class and stack of an unexpected error, without its message: messages may quote input. */
  error?: string
}

export interface Log {
  debug(text: string, fields?: LogFields): void
  info(text: string, fields?: LogFields): void
  warn(text: string, fields?: LogFields): void
  error(text: string, fields?: LogFields): void
}

const allowed = new Set<string>([
  'channel',
  'room',
  'messageId',
  'transmissionId',
  'authorizationId',
  'mailId',
  'jobId',
  'state',
  'code',
  'outcome',
  'count',
  'bytes',
  'durationMs',
  'attempt',
  'peer',
  'listen',
  'host',
  'port',
  'domain',
  'status',
  'method',
  'route',
  'revision',
  'version',
  'path',
  'pid',
  'signal',
  'limit',
  'error',
])

/** JSON lines on the given stream. Control characters in values are escaped by JSON itself: one event is one line. */
export function makeLog(level: string, destination: pino.DestinationStream): Log {
  const logger = pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime }, destination)
  const write =
    (at: 'debug' | 'info' | 'warn' | 'error') =>
    (text: string, fields: LogFields = {}) =>
      logger[at](Object.fromEntries(Object.entries(fields).filter(([name]) => allowed.has(name))), text)
  return { debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error') }
}

export const silentLog: Log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }

/** What a log line may say about an unexpected error: its class and where it was thrown, never its message. */
export function errorTrace(error: unknown): string {
  if (!(error instanceof Error)) return typeof error
  const frames = (error.stack ?? '').split('\n').filter((line) => /^\s+at /.test(line))
  return [error.name, ...frames.slice(0, 6).map((line) => line.trim())].join(' | ')
}
