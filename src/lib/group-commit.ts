/** Two writes in flight keep the database busy while the next group gathers; more only make the groups smaller. */
const writesInFlightMaxDefault = 2
const rowsPerWriteMaxDefault = 512
const bytesPerWriteMaxDefault = 8 * 1024 * 1024
const rowsQueuedMaxDefault = 65_536
const bytesQueuedMaxDefault = 512 * 1024 * 1024

export interface GroupCommitOptions<Row, Outcome> {
  /** Writes and commits all rows, or none, and tells the outcome of each in the same order. */
  write(rows: readonly Row[]): Promise<readonly Outcome[]>
  bytesOf(row: Row): number
  /** Rows with the same order are written in the order they were added: never in two writes at the same time. */
  orderOf(row: Row): unknown
  /** True where one row may be the cause and its neighbours may succeed without it. */
  mayBlameRow(error: unknown): boolean
  readonly writesInFlightMax?: number
  readonly rowsPerWriteMax?: number
  readonly bytesPerWriteMax?: number
  readonly rowsQueuedMax?: number
  readonly bytesQueuedMax?: number
}

/** So much waits already that taking more would only hide the trouble. */
export class QueueFull extends Error {
  constructor() {
    super('too many rows wait to be written: the database is slow or away; try again later')
    this.name = 'QueueFull'
  }
}

interface Waiting<Row, Outcome> {
  readonly row: Row
  readonly bytes: number
  readonly order: unknown
  resolve(outcome: Outcome): void
  reject(error: unknown): void
}

/**
 * Natural batching: rows that arrive while writes are in flight go together in the next one. There is no timer; with
 * one lonely caller each row is written at once, with many the groups grow by themselves.
 */
export class GroupCommit<Row, Outcome> {
  readonly #options: Required<GroupCommitOptions<Row, Outcome>>
  #queue: Waiting<Row, Outcome>[] = []
  #bytesQueued = 0
  #writesInFlight = 0
  readonly #ordersInFlight = new Set<unknown>()
  #isScheduled = false
  #whenIdle: (() => void)[] = []

  constructor(options: GroupCommitOptions<Row, Outcome>) {
    this.#options = {
      writesInFlightMax: writesInFlightMaxDefault,
      rowsPerWriteMax: rowsPerWriteMaxDefault,
      bytesPerWriteMax: bytesPerWriteMaxDefault,
      rowsQueuedMax: rowsQueuedMaxDefault,
      bytesQueuedMax: bytesQueuedMaxDefault,
      ...options,
    }
  }

  /** Resolves after the commit of the group the row went with. Rejects with {@link QueueFull}, or as `write` did for it. */
  add(row: Row): Promise<Outcome> {
    const bytes = this.#options.bytesOf(row)
    const isFull =
      this.#queue.length >= this.#options.rowsQueuedMax ||
      (this.#queue.length > 0 && this.#bytesQueued + bytes > this.#options.bytesQueuedMax)
    if (isFull) return Promise.reject(new QueueFull())
    return new Promise((resolve, reject) => {
      this.#queue.push({ row, bytes, order: this.#options.orderOf(row), resolve, reject })
      this.#bytesQueued += bytes
      this.#schedule()
    })
  }

  /** Resolves when nothing waits and nothing is in flight. */
  idle(): Promise<void> {
    if (this.#queue.length === 0 && this.#writesInFlight === 0) return Promise.resolve()
    return new Promise((resolve) => this.#whenIdle.push(resolve))
  }

  #schedule(): void {
    if (this.#isScheduled || this.#writesInFlight >= this.#options.writesInFlightMax) return
    this.#isScheduled = true
    // After the sockets of this turn of the loop have been read: what came together is written together.
    setImmediate(() => {
      this.#isScheduled = false
      while (this.#writesInFlight < this.#options.writesInFlightMax) {
        const group = this.#nextGroup()
        if (group.length === 0) break
        void this.#writeGroup(group)
      }
    })
  }

  #nextGroup(): Waiting<Row, Outcome>[] {
    const { rowsPerWriteMax, bytesPerWriteMax } = this.#options
    const group: Waiting<Row, Outcome>[] = []
    const left: Waiting<Row, Outcome>[] = []
    let bytes = 0
    let at = 0
    for (; at < this.#queue.length && group.length < rowsPerWriteMax; at++) {
      const waiting = this.#queue[at]!
      if (this.#ordersInFlight.has(waiting.order)) {
        left.push(waiting)
        continue
      }
      if (group.length > 0 && bytes + waiting.bytes > bytesPerWriteMax) break
      group.push(waiting)
      bytes += waiting.bytes
    }
    this.#queue = left.length === 0 ? this.#queue.slice(at) : [...left, ...this.#queue.slice(at)]
    this.#bytesQueued -= bytes
    return group
  }

  async #writeGroup(group: readonly Waiting<Row, Outcome>[]): Promise<void> {
    const orders = new Set(group.map((waiting) => waiting.order))
    for (const order of orders) this.#ordersInFlight.add(order)
    this.#writesInFlight++
    await this.#write(group)
    this.#writesInFlight--
    for (const order of orders) this.#ordersInFlight.delete(order)
    if (this.#queue.length > 0) this.#schedule()
    else if (this.#writesInFlight === 0) for (const resolve of this.#whenIdle.splice(0)) resolve()
  }

  /** Writes the group; where one of its rows may be at fault, writes each half by itself until the row stands alone. */
  async #write(group: readonly Waiting<Row, Outcome>[]): Promise<void> {
    let outcomes: readonly Outcome[]
    try {
      outcomes = await this.#options.write(group.map((waiting) => waiting.row))
    } catch (error) {
      if (group.length > 1 && this.#options.mayBlameRow(error)) {
        const middle = group.length >> 1
        await this.#write(group.slice(0, middle))
        await this.#write(group.slice(middle))
      } else for (const waiting of group) waiting.reject(error)
      return
    }
    group.forEach((waiting, at) => waiting.resolve(outcomes[at]!))
  }
}
