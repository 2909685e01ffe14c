import { once } from 'node:events'
import net from 'node:net'
import type { DataSource } from 'typeorm'
import { GroupCommit } from '../src/lib/group-commit.ts'
import { MllpDecoder, frameFor } from '../src/lib/mllp.ts'
import { intakePool } from '../src/store/inbound-messages.ts'

/** One of the two that the intake benchmark compares. */
export interface Contender {
  readonly port: number
  stop(): Promise<void>
}

const floorTables = [
  `CREATE TABLE floor_message (LIKE message INCLUDING ALL EXCLUDING INDEXES)`,
  // The same indexes, but for the one that recognises repeats.
  `ALTER TABLE floor_message ADD PRIMARY KEY (id)`,
  `CREATE INDEX ON floor_message (lane, id) WHERE state = 'received'`,
  `CREATE INDEX ON floor_message (channel, code, id) WHERE state = 'quarantined'`,
  `CREATE INDEX ON floor_message (control_id)`,
  `CREATE INDEX ON floor_message (received_at)`,
  `CREATE TABLE floor_content (LIKE message_content INCLUDING ALL) PARTITION BY RANGE (received_on)`,
  `CREATE TABLE floor_content_default PARTITION OF floor_content DEFAULT`,
]

const floorInsert = `
  WITH arrived AS MATERIALIZED (
    SELECT nextval(pg_get_serial_sequence('floor_message', 'id')) AS id, a.*
    FROM unnest($1::int[], $2::int[]) AS a (content_at, content_bytes)
  ), stored AS (
    INSERT INTO floor_message (id, channel, received_at, received_on, sender, control_id, digest, bytes, peer, lane, ack, state)
    OVERRIDING SYSTEM VALUE
    SELECT id, 'adt-discharge', now(), current_date, 'ADT|ASHBY', 'BBBBBBBBBBBBB' || id,
           decode(repeat('00', 32), 'hex'), content_bytes, '127.0.0.1:40000', 0, $4, 'received'
    FROM arrived
  )
  INSERT INTO floor_content (received_on, message_id, content)
  SELECT current_date, id, substring($3::bytea FROM content_at FOR content_bytes) FROM arrived`

/**
 * The floor of the intake benchmark: the same group commit into tables of the same shape, without reading HL7, without
 * channels, lanes, hashes or recognising repeats, and with a constant reply.
 */
export async function startFloor(dataSource: DataSource): Promise<Contender> {
  for (const statement of floorTables) await dataSource.query(statement)
  const pool = intakePool(dataSource)
  const reply = Buffer.alloc(150, 'A')
  const replyFrame = frameFor(reply)
  const commits = new GroupCommit<Buffer, undefined>({
    bytesOf: (content) => content.length,
    orderOf: (content) => content,
    mayBlameRow: () => false,
    async write(contents) {
      const at: number[] = []
      let end = 1
      for (const content of contents) {
        at.push(end)
        end += content.length
      }
      const bytes = contents.map((content) => content.length)
      await pool.query({
        name: 'floor',
        text: floorInsert,
        values: [`{${at.join(',')}}`, `{${bytes.join(',')}}`, Buffer.concat(contents), reply],
      })
      return contents.map(() => undefined)
    },
  })
  const server = net.createServer({ noDelay: true }, (socket) => {
    const decoder = new MllpDecoder(1024 * 1024)
    socket.on('data', (chunk) => {
      for (const event of decoder.push(chunk))
        if (event.what === 'frame') void commits.add(event.bytes).then(() => socket.write(replyFrame))
    })
    socket.on('error', () => socket.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as net.AddressInfo).port,
    async stop() {
      server.close()
      await commits.idle()
      await pool.end()
    },
  }
}
