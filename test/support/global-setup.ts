import { mkdtempSync } from 'node:fs'
import { chmod } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { removeAbandoned, serverPrefix } from './server-directory.ts'

/** Names the directory of this run’s server only: the first test file that asks for a database starts it. */
export default async function setup(): Promise<void> {
  await removeAbandoned()
  const directory = mkdtempSync(join(tmpdir(), `${serverPrefix}${process.pid}-`))
  // As root, the server runs under another account, which has to get in.
  await chmod(directory, 0o755)
  process.env['BLUEPOST_TEST_SERVER'] = directory
}
