import { EntitySchema } from 'typeorm'

/** Rows as the everyday queries of the API and the console read them; the hot path speaks SQL of its own. */
export interface AuthorizationRow {
  id: string
  version: number
  family: string
  given: string | null
  previousFamilies: string[]
  birthDate: string
  frequency: 'once' | 'continuous' | 'interval'
  every: string | null
  triggers: string[]
  validFrom: Date
  validUntil: Date | null
  revokedAt: Date | null
  sensitiveData: 'excluded' | 'included'
  assuranceMethod: string
  assuranceBy: string
  assuranceAt: Date
  evidence: string | null
  createdAt: Date
  createdBy: string
}

export const AuthorizationEntity = new EntitySchema<AuthorizationRow>({
  name: 'authorization',
  tableName: 'transmit_authorization',
  columns: {
    id: { type: 'uuid', primary: true },
    version: { type: 'integer' },
    family: { type: 'text' },
    given: { type: 'text', nullable: true },
    previousFamilies: { type: 'text', array: true, name: 'previous_families' },
    birthDate: { type: 'text', name: 'birth_date' },
    frequency: { type: 'text' },
    every: { type: 'text', nullable: true },
    triggers: { type: 'text', array: true },
    validFrom: { type: 'timestamptz', name: 'valid_from' },
    validUntil: { type: 'timestamptz', name: 'valid_until', nullable: true },
    revokedAt: { type: 'timestamptz', name: 'revoked_at', nullable: true },
    sensitiveData: { type: 'text', name: 'sensitive_data' },
    assuranceMethod: { type: 'text', name: 'assurance_method' },
    assuranceBy: { type: 'text', name: 'assurance_by' },
    assuranceAt: { type: 'timestamptz', name: 'assurance_at' },
    evidence: { type: 'text', nullable: true },
    createdAt: { type: 'timestamptz', name: 'created_at' },
    createdBy: { type: 'text', name: 'created_by' },
  },
})

export interface IdentifierRow {
  system: string
  value: string
  authorizationId: string
  type: string | null
}

const IdentifierEntity = new EntitySchema<IdentifierRow>({
  name: 'authorizationIdentifier',
  tableName: 'authorization_identifier',
  columns: {
    system: { type: 'text', primary: true },
    value: { type: 'text', primary: true },
    authorizationId: { type: 'uuid', primary: true, name: 'authorization_id' },
    type: { type: 'text', nullable: true },
  },
})

export interface DestinationRow {
  id: string
  authorizationId: string
  address: string
  addedAt: Date
  removedAt: Date | null
}

const DestinationEntity = new EntitySchema<DestinationRow>({
  name: 'authorizationDestination',
  tableName: 'authorization_destination',
  columns: {
    id: { type: 'uuid', primary: true },
    authorizationId: { type: 'uuid', name: 'authorization_id' },
    address: { type: 'text' },
    addedAt: { type: 'timestamptz', name: 'added_at' },
    removedAt: { type: 'timestamptz', name: 'removed_at', nullable: true },
  },
})

export interface AuthorizationChangeRow {
  authorizationId: string
  version: number
  at: Date
  by: string
  what: 'created' | 'changed' | 'revoked'
  because: string | null
  snapshot: Record<string, unknown>
}

export const AuthorizationChangeEntity = new EntitySchema<AuthorizationChangeRow>({
  name: 'authorizationChange',
  tableName: 'authorization_change',
  columns: {
    authorizationId: { type: 'uuid', primary: true, name: 'authorization_id' },
    version: { type: 'integer', primary: true },
    at: { type: 'timestamptz' },
    by: { type: 'text' },
    what: { type: 'text' },
    because: { type: 'text', nullable: true },
    snapshot: { type: 'jsonb' },
  },
})

export interface AuditRow {
  id: string
  at: Date
  actor: string
  action: string
  subject: string
  authorizationId: string | null
  detail: Record<string, unknown>
}

export const AuditEntity = new EntitySchema<AuditRow>({
  name: 'audit',
  tableName: 'audit',
  columns: {
    id: { type: 'bigint', primary: true, generated: 'increment' },
    at: { type: 'timestamptz' },
    actor: { type: 'text' },
    action: { type: 'text' },
    subject: { type: 'text' },
    authorizationId: { type: 'uuid', name: 'authorization_id', nullable: true },
    detail: { type: 'jsonb' },
  },
})

/** Every entity, for the DataSource. */
export const entities = [
  AuthorizationEntity,
  IdentifierEntity,
  DestinationEntity,
  AuthorizationChangeEntity,
  AuditEntity,
]
