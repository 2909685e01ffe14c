// npm run check: everything that can be known without running the engine, in about a minute. `npm test` runs it.
import { spawn } from 'node:child_process'
import { styleText } from 'node:util'

const bluepost = ['src/cli.ts']

/** Each line: what it is about, and the command. Those in one row run at the same time. */
const rows: readonly (readonly { about: string; words: readonly string[] }[])[] = [
  [
    {
      about: 'format',
      words: ['node_modules/prettier/bin/prettier.cjs', '--check', '--log-level=warn', '.'],
    },
    { about: 'types', words: ['node_modules/typescript/bin/tsc', '--noEmit', '-p', 'tsconfig.json'] },
  ],
  [
    { about: 'lint', words: ['node_modules/eslint/bin/eslint.js', '.'] },
    {
      about: 'imports',
      words: [
        'node_modules/dependency-cruiser/bin/dependency-cruiser.mjs',
        'src',
        'migrations',
        'ormconfig.ts',
      ],
    },
    { about: 'nothing dead', words: ['node_modules/knip/bin/knip.js'] },
    { about: 'channel lint', words: [...bluepost, 'lint'] },
    { about: 'channel tests', words: [...bluepost, 'test'] },
  ],
]

let failed = 0
for (const row of rows) await Promise.all(row.map(run))
process.stdout.write(failed === 0 ? 'All checks passed.\n' : `${failed} checks failed.\n`)
process.exitCode = failed === 0 ? 0 : 1

async function run({ about, words }: { about: string; words: readonly string[] }): Promise<void> {
  const begun = performance.now()
  const child = spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'pipe'] })
  const said: Buffer[] = []
  child.stdout.on('data', (chunk: Buffer) => said.push(chunk))
  child.stderr.on('data', (chunk: Buffer) => said.push(chunk))
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', resolve)
  })
  const seconds = ((performance.now() - begun) / 1000).toFixed(1)
  if (code === 0) {
    process.stdout.write(`${styleText('green', '✓')} ${about} (${seconds} s)\n`)
    return
  }
  failed++
  process.stdout.write(
    `${styleText('red', '✗')} ${about} (${seconds} s)\n${Buffer.concat(said).toString()}\n`,
  )
}
