import { describe, expect, test } from '@jest/globals'
import { GroupCommit, QueueFull, type GroupCommitOptions } from '../../src/lib/group-commit.ts'

interface Write {
  readonly rows: readonly string[]
  succeed(): void
  fail(error: unknown): void
}

/** A group commit whose writes wait for the test, as a database would. */
function aGroupCommit(options: Partial<GroupCommitOptions<string, string>> = {}) {
  const writes: Write[] = []
  let seen = 0
  const waiting: ((write: Write) => void)[] = []
  const commits = new GroupCommit<string, string>({
    bytesOf: (row) => row.length,
    orderOf: (row) => row,
    mayBlameRow: () => false,
    write: (rows) =>
      new Promise((resolve, reject) => {
        const write = { rows, succeed: () => resolve(rows.map((row) => `${row} stored`)), fail: reject }
        writes.push(write)
        waiting.shift()?.(write)
      }),
    ...options,
  })
  return {
    commits,
    writes,
    /** The next write that nobody has asked for yet. */
    nextWrite: (): Promise<Write> => {
      const write = writes[seen++]
      return write === undefined ? new Promise((resolve) => waiting.push(resolve)) : Promise.resolve(write)
    },
  }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(() => setImmediate(resolve)))

describe('groups', () => {
  test('a lonely row is written at once and resolves after its commit with its own outcome', async () => {
    const { commits, nextWrite } = aGroupCommit()
    let isResolved = false
    const stored = commits.add('a').finally(() => (isResolved = true))
    const write = await nextWrite()
    await turn()
    expect(isResolved).toBe(false)
    write.succeed()
    expect(await stored).toBe('a stored')
  })

  test('rows of one turn go together; rows that come while two writes are in flight go in the next', async () => {
    const { commits, writes, nextWrite } = aGroupCommit()
    const first = [commits.add('a'), commits.add('b')]
    const one = await nextWrite()
    const second = commits.add('c')
    const two = await nextWrite()
    const third = ['d', 'e', 'f'].map((row) => commits.add(row))
    await turn()
    expect(writes.map(({ rows }) => rows)).toEqual([['a', 'b'], ['c']])
    one.succeed()
    const three = await nextWrite()
    expect(three.rows).toEqual(['d', 'e', 'f'])
    two.succeed()
    three.succeed()
    expect(await Promise.all([...first, second, ...third])).toEqual(
      ['a', 'b', 'c', 'd', 'e', 'f'].map((row) => `${row} stored`),
    )
  })

  test('a group ends at its limits of rows and of bytes; a row larger than the limit goes alone', async () => {
    const { commits, writes, nextWrite } = aGroupCommit({ rowsPerWriteMax: 2, bytesPerWriteMax: 5 })
    const rows = ['a', 'b', 'ccc', 'ddd', 'eeeeeeeee', 'f']
    const stored = rows.map((row) => commits.add(row))
    for (let group = 0; group < 5; group++) (await nextWrite()).succeed()
    await Promise.all(stored)
    expect(writes.map((write) => write.rows)).toEqual([['a', 'b'], ['ccc'], ['ddd'], ['eeeeeeeee'], ['f']])
  })

  test('rows of one order are never in two writes at once, and others overtake them meanwhile', async () => {
    const { commits, writes, nextWrite } = aGroupCommit({ orderOf: (row) => row[0] })
    const a1 = commits.add('a1')
    const one = await nextWrite()
    const rest = ['a2', 'b1', 'a3'].map((row) => commits.add(row))
    const two = await nextWrite()
    expect(two.rows).toEqual(['b1'])
    two.succeed()
    await turn()
    expect(writes).toHaveLength(2)
    one.succeed()
    const three = await nextWrite()
    expect(three.rows).toEqual(['a2', 'a3'])
    three.succeed()
    await Promise.all([a1, ...rest])
  })
})

describe('failure', () => {
  test('one row at fault fails alone; its neighbours are stored, in order', async () => {
    const stored: string[] = []
    const commits = new GroupCommit<string, string>({
      bytesOf: () => 1,
      orderOf: () => 'one',
      mayBlameRow: (error) => (error as Error).message === 'poison',
      write: (rows) => {
        if (rows.some((row) => row.startsWith('poison'))) return Promise.reject(new Error('poison'))
        stored.push(...rows)
        return Promise.resolve(rows)
      },
    })
    const outcomes = await Promise.allSettled(
      ['a', 'b', 'poison 1', 'c', 'd', 'e', 'poison 2'].map((row) => commits.add(row)),
    )
    expect(outcomes.map(({ status }) => status === 'fulfilled')).toEqual([
      true,
      true,
      false,
      true,
      true,
      true,
      false,
    ])
    expect(stored).toEqual(['a', 'b', 'c', 'd', 'e'])
  })

  test('a database that is away fails the whole group at once, and the next group is tried afresh', async () => {
    const { commits, writes, nextWrite } = aGroupCommit()
    const failing = Promise.allSettled([commits.add('a'), commits.add('b')])
    ;(await nextWrite()).fail(new Error('connection lost'))
    expect((await failing).map(({ status }) => status)).toEqual(['rejected', 'rejected'])
    expect(writes).toHaveLength(1)
    const next = commits.add('c')
    ;(await nextWrite()).succeed()
    expect(await next).toBe('c stored')
  })

  test('a full queue takes no more, by rows and by bytes', async () => {
    const { commits, nextWrite } = aGroupCommit({ writesInFlightMax: 1, rowsQueuedMax: 2 })
    const first = commits.add('a')
    const one = await nextWrite()
    const queued = [commits.add('b'), commits.add('c')]
    await expect(commits.add('d')).rejects.toThrow(QueueFull)
    one.succeed()
    ;(await nextWrite()).succeed()
    await Promise.all([first, ...queued])

    const heavy = aGroupCommit({ writesInFlightMax: 1, bytesQueuedMax: 4 })
    const weighed = [heavy.commits.add('abc'), heavy.commits.add('d')]
    await expect(heavy.commits.add('e')).rejects.toThrow(QueueFull)
    ;(await heavy.nextWrite()).succeed()
    await Promise.all(weighed)
  })
})

test('idle resolves when nothing waits and nothing is in flight', async () => {
  const { commits, nextWrite } = aGroupCommit({ writesInFlightMax: 1 })
  await commits.idle()
  const stored = [commits.add('a')]
  const one = await nextWrite()
  stored.push(commits.add('b'))
  let isIdle = false
  const idle = commits.idle().then(() => (isIdle = true))
  one.succeed()
  const two = await nextWrite()
  expect(isIdle).toBe(false)
  two.succeed()
  await idle
  await Promise.all(stored)
})
