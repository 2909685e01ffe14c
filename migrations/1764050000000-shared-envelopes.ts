import type { MigrationInterface, QueryRunner } from 'typeorm'

/** One sealed message may go to several recipients: each has a transmission of its own, all with one Message-ID. */
export class SharedEnvelopes1764050000000 implements MigrationInterface {
  readonly name = 'SharedEnvelopes1764050000000'

  async up(runner: QueryRunner): Promise<void> {
    await runner.query('DROP INDEX transmission_message_id')
    await runner.query(
      `CREATE UNIQUE INDEX transmission_message_id ON transmission (message_id, lower(destination))
         WHERE message_id IS NOT NULL`,
    )
  }

  down(): Promise<void> {
    return Promise.reject(
      new Error('migrations go forward only: restore the backup taken before the upgrade'),
    )
  }
}
