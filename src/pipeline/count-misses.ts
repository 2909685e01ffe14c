import type { DataSource } from 'typeorm'
import { addLookupMisses, missValuesMax, type LookupMissCount } from '../store/lookup-misses.ts'
import { inTransaction } from '../store/query.ts'
import type { ChannelMiss } from './decide.ts'

/** Counts lookups without a row in memory, and adds them to the database many at a time. */
export interface MissCounter {
  note(misses: readonly ChannelMiss[]): void
  /** Writes what was counted since the last time. Where that fails it is kept for the next time, and the error thrown. */
  flush(): Promise<void>
}

export function makeMissCounter({
  dataSource,
  now,
}: {
  dataSource: DataSource
  now: () => Date
}): MissCounter {
  let counted = new Map<string, LookupMissCount>()
  const distinct = new Map<string, number>()

  function add({ count, firstAt, ...one }: LookupMissCount): void {
    const key = [one.channel, one.table, one.kind, one.value].join('\n')
    const known = counted.get(key)
    if (known !== undefined) {
      counted.set(key, { ...known, count: known.count + count, lastAt: one.lastAt })
      return
    }
    const table = `${one.channel}\n${one.table}`
    const values = distinct.get(table) ?? 0
    if (one.kind === 'shown' && values >= missValuesMax)
      return add({ ...one, kind: 'other', value: '', count, firstAt })
    if (one.kind === 'shown') distinct.set(table, values + 1)
    counted.set(key, { ...one, count, firstAt })
  }

  return {
    note(misses) {
      if (misses.length === 0) return
      const at = now()
      for (const { channel, table, value } of misses) {
        const kind = value === undefined ? 'hidden' : 'shown'
        add({ channel, table, kind, value: value ?? '', count: 1, firstAt: at, lastAt: at })
      }
    },
    async flush() {
      if (counted.size === 0) return
      const taken = [...counted.values()]
      counted = new Map()
      distinct.clear()
      try {
        await inTransaction(dataSource, (query) => addLookupMisses(query, taken))
      } catch (error) {
        taken.forEach(add)
        throw error
      }
    },
  }
}
