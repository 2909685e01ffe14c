import { removeServer } from './server-directory.ts'

export default async function teardown(): Promise<void> {
  const directory = process.env['BLUEPOST_TEST_SERVER']
  if (directory !== undefined) await removeServer(directory)
}
