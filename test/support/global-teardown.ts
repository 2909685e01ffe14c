import pg from 'pg'
import { removeServer, templateOf } from './server-directory.ts'

export default async function teardown(): Promise<void> {
  const directory = process.env['BLUEPOST_TEST_SERVER']
  if (directory === undefined) return
  await removeServer(directory)
  const given = process.env['DATABASE_URL_FOR_TESTS']
  if (!given) return
  const client = new pg.Client({ connectionString: given })
  await client.connect()
  await client.query(`DROP DATABASE IF EXISTS ${templateOf(directory)} WITH (FORCE)`)
  await client.end()
}
