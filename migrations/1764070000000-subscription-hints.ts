import type { MigrationInterface, QueryRunner } from 'typeorm'

/** What FHIR servers have told, until it was fetched; and how far each subscription has counted. */
export class SubscriptionHints1764070000000 implements MigrationInterface {
  readonly name = 'SubscriptionHints1764070000000'

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(
      `CREATE TABLE subscription_hint (
         channel text NOT NULL,
         -- Type/id on the server of the channel; empty: something changed, and the server does not say what.
         focus text NOT NULL,
         heard_at timestamptz NOT NULL,
         PRIMARY KEY (channel, focus)
       )`,
    )
    await runner.query(
      `CREATE TABLE subscription_count (
         channel text NOT NULL,
         -- The id of the subscription on the server; empty where it does not say.
         subscription text NOT NULL,
         -- Events since the subscription began, as the server counts them.
         last_event numeric NOT NULL,
         heard_at timestamptz NOT NULL,
         PRIMARY KEY (channel, subscription)
       )`,
    )
  }

  down(): Promise<void> {
    return Promise.reject(
      new Error('migrations go forward only: restore the backup taken before the upgrade'),
    )
  }
}
