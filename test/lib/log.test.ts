import { expect, test } from '@jest/globals'
import { errorTrace, makeLog, type LogFields } from '../../src/lib/log.ts'

function aLog(level = 'info') {
  const lines: string[] = []
  const log = makeLog(level, { write: (line: string) => void lines.push(line) })
  return { log, lines }
}

test('one event is one line, whatever a peer put into a value', () => {
  const { log, lines } = aLog()
  log.info('connected', { peer: '127.0.0.1\n{"level":60,"msg":"forged"}\r\u001b[2J' })
  expect(lines).toHaveLength(1)
  expect(lines[0]!.trimEnd()).not.toMatch(/[\n\r\u001b]/)
  expect(JSON.parse(lines[0]!)).toMatchObject({ msg: 'connected', peer: expect.stringContaining('forged') })
})

test('a field that is not on the list is never written', () => {
  const { log, lines } = aLog()
  log.warn('held', { code: 'patient-ambiguous', family: 'Ross', mrn: 'E1001' } as LogFields)
  expect(lines[0]).toContain('patient-ambiguous')
  expect(lines[0]).not.toMatch(/Ross|E1001/)
})

test('an unexpected error is told by its class and place, not by its words', () => {
  const trace = errorTrace(new TypeError('cannot read PID-5 of Ross^Ellen'))
  expect(trace).toContain('TypeError')
  expect(trace).toContain('log.test.ts')
  expect(trace).not.toContain('Ross')
  expect(errorTrace('Ross')).not.toContain('Ross')
})

test('levels below the configured one are silent', () => {
  const { log, lines } = aLog('warn')
  log.debug('a')
  log.info('b')
  log.warn('c')
  log.error('d')
  expect(lines).toHaveLength(2)
})
