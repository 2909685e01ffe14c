import type { DataSource, EntityManager } from 'typeorm'

/** One SQL statement with its parameters; rows come back as plain objects. Bound to a transaction where one is open. */
export type Query = <Row = Record<string, unknown>>(
  sql: string,
  parameters?: readonly unknown[],
) => Promise<Row[]>

/** Statements outside any transaction of ours: each is its own. */
export function queryOf(source: DataSource | EntityManager): Query {
  return async <Row>(sql: string, parameters: readonly unknown[] = []) => {
    const result: unknown = await source.query(sql, [...parameters])
    // TypeORM answers UPDATE and DELETE with [rows, count].
    return (Array.isArray(result) && Array.isArray(result[0]) ? result[0] : result) as Row[]
  }
}

/** All or nothing. What `work` throws rolls everything back and is thrown again. */
export function inTransaction<Result>(
  dataSource: DataSource,
  work: (query: Query) => Promise<Result>,
): Promise<Result> {
  return dataSource.transaction((manager) => work(queryOf(manager)))
}
