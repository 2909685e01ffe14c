import { formatProblem } from '../channels/problem.ts'
import { runTests, type TestPorts, type TestResult } from '../channels/run-tests.ts'
import { acknowledge, refusedFor } from '../intake/acknowledge.ts'
import { readHeader } from '../intake/msh.ts'
import { fromHere, namedChannels } from './channel-files.ts'
import { Findings, print, printJson, type Command } from './command.ts'

export const test: Command = {
  usage: `bluepost test                                the tests inside the channel files of this installation
bluepost test channels/adt-discharge.yaml    those of one channel
bluepost test mappings/tables/patient-class.csv    those of every channel that uses this table

Runs each test with its sample, its changed fields and its moment; nothing is stored and nothing is sent. Exit 0 where
every channel can be loaded and every test gives what it expects.`,
  options: {},
  run(call) {
    const { plans, problems } = namedChannels(call)
    const errors = problems.filter(({ severity }) => severity === 'error')
    const { results, untested } = runTests(plans, acknowledgments)
    if (results.length === 0 && errors.length === 0)
      throw new Findings('no channel that can be loaded has tests for this; bluepost lint says why')
    const failed = results.filter(({ passed }) => !passed).length
    const warnings = untested.map((problem) => ({ ...problem, file: fromHere(problem.file) }))
    const isGood = failed === 0 && errors.length === 0
    if (call.isJson)
      printJson({
        good: isGood,
        results: results.map((one) => ({ ...one, at: fromHere(one.at) })),
        problems: [...errors, ...warnings],
      })
    else {
      for (const problem of errors) print(formatProblem(problem))
      for (const { name } of plans)
        print([name, ...results.filter(({ channel }) => channel === name).map(line)].join('\n'))
      for (const problem of warnings) print(formatProblem(problem))
      print(
        `${results.length} ${results.length === 1 ? 'test' : 'tests'}, ${failed} failed${errors.length === 0 ? '' : '; some channels cannot be loaded'}`,
      )
    }
    return Promise.resolve(isGood ? 0 : 1)
  },
}

function line({ name, at, passed, differences }: TestResult): string {
  if (passed) return `  ✓ ${name}`
  return [`  ✗ ${name}  ${fromHere(at)}`, ...differences.map((difference) => `      ${difference}`)].join(
    '\n',
  )
}

/** What a listener would answer once the message is stored. */
export const acknowledgments: TestPorts = {
  acknowledge(_plan, bytes) {
    const reading = readHeader(bytes)
    if (reading.is === 'not-hl7') return undefined
    const { header, defect } = reading
    const reply = acknowledge(header, defect === undefined ? { outcome: 'stored' } : refusedFor(defect), {
      at: new Date(0),
      newControlId: () => '1',
    })
    return reply && /(?:^|\r)MSA.(..)/.exec(reply.toString('latin1'))?.[1]
  },
}
