import pg from 'pg'

/** A durable moment: a row that appears, or comes to look so. */
export interface Moment {
  readonly what: string
  readonly table: string
  /** SQL over NEW, and over OLD where the row was there before. */
  readonly when?: string
  readonly on?: 'INSERT' | 'UPDATE'
}

const becomes = (state: string): Moment => ({
  what: `a transmission is ${state}`,
  table: 'transmission',
  on: 'UPDATE',
  when: `NEW.state = '${state}' AND OLD.state <> NEW.state`,
})

/** Every moment of the line of rooms at which something becomes durable, in the order a message meets them. */
export const durableMoments: readonly Moment[] = [
  { what: 'a message is stored', table: 'message' },
  { what: 'a trigger event is recorded', table: 'trigger_event' },
  { what: 'a transmission waits', table: 'transmission' },
  becomes('preparing'),
  { what: 'a document is stored', table: 'document' },
  { what: 'a message is sealed', table: 'sealed_message' },
  { what: 'a hand-over to the next hop begins', table: 'attempt' },
  becomes('submitted'),
  { what: 'an MDN is stored', table: 'inbound_mail' },
  { what: 'a notification is read', table: 'notification' },
  becomes('processed'),
  becomes('delivered'),
]

const channel = 'durable_moment'
const gate = 0x676174

/** Watches a database for moments; the product knows nothing of it. */
export class Watch {
  readonly #client: pg.Client
  #heard: () => void = () => {}

  private constructor(client: pg.Client) {
    this.#client = client
    client.on('notification', () => this.#heard())
  }

  static async on(url: string): Promise<Watch> {
    const client = new pg.Client({ connectionString: url })
    await client.connect()
    await client.query(`LISTEN ${channel}`)
    await client.query(`CREATE FUNCTION tell_moment() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN PERFORM pg_notify('${channel}', TG_TABLE_NAME); RETURN NULL; END $$`)
    await client.query(`CREATE FUNCTION wait_at_gate() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN PERFORM pg_advisory_xact_lock_shared(${gate}); RETURN NULL; END $$`)
    return new Watch(client)
  }

  /** Resolves when the moment has been committed, the next time it comes. */
  async committed(moment: Moment): Promise<{ readonly reached: Promise<void>; forget(): Promise<void> }> {
    const reached = new Promise<void>((resolve) => (this.#heard = resolve))
    await this.#install(moment, 'tell_moment')
    return { reached, forget: () => this.#remove(moment) }
  }

  /** Holds whoever brings the moment about inside the open transaction. */
  async uncommitted(moment: Moment): Promise<{ isReached(): Promise<boolean>; letGo(): Promise<void> }> {
    await this.#client.query('SELECT pg_advisory_lock($1)', [gate])
    await this.#install(moment, 'wait_at_gate')
    return {
      isReached: async () => {
        const { rowCount } = await this.#client.query(
          `SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = $1 AND NOT granted`,
          [gate],
        )
        return (rowCount ?? 0) > 0
      },
      letGo: async () => {
        await this.#client.query('SELECT pg_advisory_unlock($1)', [gate])
        await this.#remove(moment)
      },
    }
  }

  async close(): Promise<void> {
    await this.#client.end()
  }

  async #install({ table, on, when }: Moment, does: string): Promise<void> {
    await this.#client.query(
      `CREATE TRIGGER moment AFTER ${on ?? 'INSERT'} ON ${table} FOR EACH ROW
       ${when === undefined ? '' : `WHEN (${when})`} EXECUTE FUNCTION ${does}()`,
    )
  }

  async #remove({ table }: Moment): Promise<void> {
    await this.#client.query(`DROP TRIGGER moment ON ${table}`)
  }
}
