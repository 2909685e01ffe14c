import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { DataSource } from 'typeorm'
import { silentLog } from '../lib/log.ts'
import type { Settings } from '../settings.ts'
import { makeDataSource } from '../store/data-source.ts'
import { openDatabase } from '../store/embedded-postgres.ts'
import { requireCurrentSchema } from '../store/migrate.ts'

/** Why there was no database to look at, for a person. */
export interface NoDatabase {
  readonly because: string
}

/**
 * Looks at the installation’s database where there is one: makes none, migrates nothing, and the server itself refuses
 * every change. Work that fails is no reason to say that there is no database: it throws.
 */
export async function lookOnly<Result>(
  settings: Settings,
  work: (dataSource: DataSource) => Promise<Result>,
): Promise<Result | NoDatabase> {
  if (settings.database === 'embedded' && !hasCluster(settings.dataDirectory))
    return { because: `${settings.dataDirectory} holds no database yet: bluepost start makes it` }
  const closing: (() => Promise<unknown>)[] = []
  try {
    let dataSource: DataSource
    try {
      dataSource = await open(settings, closing)
    } catch (error) {
      return { because: (error as Error).message }
    }
    return await work(dataSource)
  } finally {
    for (const close of closing.reverse()) await close()
  }
}

function hasCluster(directory: string): boolean {
  return existsSync(join(directory, 'postgres', 'data')) || existsSync(join(directory, 'postgres.location'))
}

async function open(settings: Settings, closing: (() => Promise<unknown>)[]): Promise<DataSource> {
  let url = settings.database
  if (url === 'embedded') {
    const { dataDirectory } = settings
    const embedded = await openDatabase({ dataDirectory, role: 'visitor', log: silentLog })
    closing.push(() => embedded.stop())
    url = embedded.url
  }
  const dataSource = makeDataSource(url, {
    poolSize: 2,
    readOnly: true,
    applicationName: 'bluepost try',
  })
  await dataSource.initialize()
  closing.push(() => dataSource.destroy())
  await requireCurrentSchema(dataSource)
  return dataSource
}
