import type { DataSource } from 'typeorm'

/**
 * In which tables any of these texts stands, in whatever column: as text, inside JSON, or as bytes (UTF-8).
 *
 * @returns one line per table and text; empty where nothing remains
 */
export async function tracesOf(dataSource: DataSource, texts: readonly string[]): Promise<string[]> {
  const tables = await dataSource.query<{ name: string }[]>(
    `SELECT format('%I.%I', table_schema, table_name) AS name FROM information_schema.tables
     WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema')`,
  )
  const found: string[] = []
  for (const { name } of tables)
    for (const text of texts) {
      const [row] = await dataSource.query<{ count: string }[]>(
        // Bytes are written as hex in a row’s text.
        `SELECT count(*) FROM ${name} AS r WHERE strpos(lower(r::text), lower($1)) > 0 OR strpos(r::text, $2) > 0`,
        [text, Buffer.from(text).toString('hex')],
      )
      if (Number(row?.count) > 0) found.push(`${name} holds “${text}”`)
    }
  return found
}
