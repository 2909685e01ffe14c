// npm run bench: every benchmark, one after the other, each beside the floor of the same run.
//   npm run bench                 all of them, some minutes
//   npm run bench -- --quick      fewer sizes and shorter rounds
//   npm run bench -- seal intake  only these
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'

const benchmarks = [
  'intake',
  'mapping',
  'channels',
  'matching',
  'decide',
  'gate',
  'trust',
  'revocation',
  'seal',
  'seal-algorithms',
  'open',
  'line',
  'feeds',
  'start',
]

const words = process.argv.slice(2)
const options = words.filter((word) => word.startsWith('--'))
const named = words.filter((word) => !word.startsWith('--'))
const unknown = named.find((name) => !benchmarks.includes(name))
if (unknown !== undefined || options.includes('--help')) {
  process.stderr.write(`${unknown === undefined ? '' : `There is no benchmark “${unknown}”.\n`}`)
  process.stderr.write(`npm run bench [-- --quick] [-- NAME…]   ${benchmarks.join(', ')}\n`)
  process.exit(unknown === undefined ? 0 : 2)
}

for (const name of named.length === 0 ? benchmarks : named) {
  const file = join(import.meta.dirname, `${name}.ts`)
  if (!existsSync(file)) throw new Error(`${file} is gone`)
  process.stdout.write(`\n── ${name} ${'─'.repeat(Math.max(2, 76 - name.length))}\n`)
  const child = spawn(process.execPath, ['--expose-gc', file, ...options], { stdio: 'inherit' })
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', resolve)
  })
  if (code !== 0) process.exitCode = 1
}
