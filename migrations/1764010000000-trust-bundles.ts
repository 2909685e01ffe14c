import type { MigrationInterface, QueryRunner } from 'typeorm'

/** Trust bundles as they were last fetched and accepted. */
export class TrustBundles1764010000000 implements MigrationInterface {
  readonly name = 'TrustBundles1764010000000'

  async up(runner: QueryRunner): Promise<void> {
    for (const statement of statements) await runner.query(statement)
  }

  down(): Promise<void> {
    return Promise.reject(
      new Error('migrations go forward only: restore the backup taken before the upgrade'),
    )
  }
}

const statements = [
  // Drawn with every change of anchors: processes see by it that theirs are old.
  `CREATE SEQUENCE trust_version`,
  `CREATE TABLE trust_bundle (
    name text PRIMARY KEY,
    version bigint NOT NULL DEFAULT nextval('trust_version'),
    -- What the anchors in use were read from; all NULL before the first bundle came.
    source text,
    sha256 bytea,
    form text,
    -- Fingerprint of the required signer whose signature they came with; NULL: no signature was asked for.
    signed_by text,
    etag text,
    last_modified text,
    fetched_at timestamptz,
    -- The last time that the source said, or showed, that this is its bundle.
    checked_at timestamptz,
    -- When the settings first named it: how old nothing at all is.
    since timestamptz NOT NULL,
    next_check_at timestamptz NOT NULL,
    dropped text[] NOT NULL DEFAULT '{}',
    failures integer NOT NULL DEFAULT 0,
    failed_at timestamptz,
    error_code text,
    error text,
    -- A bundle that takes away too many anchors waits here for a person.
    pending bytea,
    pending_sha256 bytea,
    pending_source text,
    pending_since timestamptz,
    pending_because text,
    CHECK ((pending IS NULL) = (pending_sha256 IS NULL) AND (pending IS NULL) = (pending_since IS NULL))
  )`,
  `CREATE TABLE trust_bundle_anchor (
    bundle text NOT NULL REFERENCES trust_bundle,
    fingerprint text NOT NULL,
    der bytea NOT NULL,
    added_at timestamptz NOT NULL,
    PRIMARY KEY (bundle, fingerprint)
  )`,
]
