import { Router, type Request } from 'express'
import type { DataSource } from 'typeorm'
import { readAuthorizationChange, readAuthorizationRequest, type Reading } from '../authorizations/request.ts'
import type { Authorization } from '../domain/authorization.ts'
import { canonicalAuthority } from '../domain/patient.ts'
import {
  authorize,
  change,
  revoke,
  type AuthorizationOutcome,
  type AuthorizePorts,
} from '../pipeline/authorize.ts'
import { appendAudit } from '../store/audit.ts'
import { listDestinations } from '../store/destinations.ts'
import { AuthorizationChangeEntity, AuthorizationEntity } from '../store/entities.ts'
import { loadAuthorizations } from '../store/matching.ts'
import { queryOf } from '../store/query.ts'
import { authorizationIdsFor } from '../store/views.ts'
import { callerFor, only, type Caller } from './access.ts'
import { pageOf, uuidIn } from './parameters.ts'
import { Answer } from './problem.ts'

export interface AuthorizationPorts extends AuthorizePorts {
  readonly dataSource: DataSource
  readonly aliases: ReadonlyMap<string, string>
  /** Told that destinations were just stored, so that they are looked at. */
  readonly onDestinations: () => void
}

/** The patient’s request over HTTP: set up, look at, change, revoke (Blue Button+ transmit §B, §C). */
export function authorizationRoutes(ports: AuthorizationPorts): Router {
  const router = Router()
  const query = queryOf(ports.dataSource)

  router.post('/', only('patient', 'provider'), async (request, response) => {
    const wanted = valid(readAuthorizationRequest(request.body, ports.aliases, ports.now()))
    const authorization = await authorize(ports, wanted, callerFor(request).actor)
    ports.onDestinations()
    response.status(201).location(`/api/v1/authorizations/${authorization.id}`).json(shown(authorization))
  })

  router.get('/', only('patient', 'provider', 'operator', 'auditor'), async (request, response) => {
    const caller = callerFor(request)
    const { limit, before } = pageOf(request)
    const identifier =
      typeof request.query['identifier'] === 'string' ? request.query['identifier'] : undefined
    if (identifier !== undefined) {
      const bar = identifier.lastIndexOf('|')
      if (bar < 1) throw new Answer({ status: 400, title: 'identifier looks like urn:oid:1.2.3|E1001' })
      const system = canonicalAuthority(identifier.slice(0, bar), ports.aliases)
      const ids = await authorizationIdsFor(query, system, identifier.slice(bar + 1))
      const found = await visible(await loadAuthorizations(query, ids), caller)
      response.json({ items: found.map(shown) })
      return
    }
    const rows = await ports.dataSource
      .getRepository(AuthorizationEntity)
      .createQueryBuilder('row')
      .where(isPatientOnly(caller) ? 'row.created_by = :actor' : 'TRUE', { actor: caller.actor })
      .andWhere(
        before === undefined
          ? 'TRUE'
          : '(row.created_at, row.id) < (SELECT created_at, id FROM transmit_authorization WHERE id = :before)',
        { before },
      )
      .orderBy('row.created_at', 'DESC')
      .addOrderBy('row.id', 'DESC')
      .limit(limit)
      .getMany()
    const loaded = new Map(
      (
        await loadAuthorizations(
          query,
          rows.map((row) => row.id),
        )
      ).map((one) => [one.id, one]),
    )
    const items = rows.flatMap((row) => loaded.get(row.id) ?? []).map(shown)
    response.json({ items, ...(rows.length === limit ? { next: rows.at(-1)!.id } : {}) })
  })

  router.get('/:id', only('patient', 'provider', 'operator', 'auditor'), async (request, response) => {
    const authorization = await find(request)
    const history = await ports.dataSource
      .getRepository(AuthorizationChangeEntity)
      .find({ where: { authorizationId: authorization.id }, order: { version: 'ASC' } })
    await appendAudit(query, [
      {
        at: ports.now(),
        actor: callerFor(request).actor,
        action: 'authorization-read',
        subject: `authorization:${authorization.id}`,
        authorizationId: authorization.id,
        detail: {},
      },
    ])
    const addresses = authorization.destinations.map(({ address }) => address)
    response.json({
      ...shown(authorization),
      destinationStandings: await listDestinations(query, { addresses, limit: addresses.length }),
      history: history.map(({ version, at, by, what, because, snapshot }) => ({
        version,
        at,
        by,
        what,
        because,
        frequency: snapshot['frequency'],
        triggers: snapshot['triggers'],
        destinations: (snapshot['destinations'] as { address: string }[]).map(({ address }) => address),
      })),
    })
  })

  router.patch('/:id', only('patient', 'provider'), async (request, response) => {
    const { id } = await find(request)
    const wanted = valid(readAuthorizationChange(request.body))
    const authorization = done(await change(ports, id, wanted, callerFor(request).actor))
    ports.onDestinations()
    response.json(shown(authorization))
  })

  router.post('/:id/revoke', only('patient', 'provider'), async (request, response) => {
    const { id } = await find(request)
    const because: unknown = (request.body as { because?: unknown } | undefined)?.because
    if (because !== undefined && (typeof because !== 'string' || because.length > 500))
      throw new Answer({ status: 422, title: '“because” must be a text of at most 500 characters' })
    response.json(shown(done(await revoke(ports, id, because, callerFor(request).actor))))
  })

  return router

  async function find(request: Request): Promise<Authorization> {
    const [authorization] = await visible(
      await loadAuthorizations(query, [uuidIn(request, 'id')]),
      callerFor(request),
    )
    if (authorization === undefined)
      throw new Answer({ status: 404, title: 'There is no such authorization' })
    return authorization
  }

  /** A patient sees what she set up herself; for everybody else it does not exist. */
  async function visible(authorizations: readonly Authorization[], caller: Caller): Promise<Authorization[]> {
    if (!isPatientOnly(caller) || authorizations.length === 0) return [...authorizations]
    const rows = await query<{ id: string }>(
      'SELECT id FROM transmit_authorization WHERE id = ANY ($1::uuid[]) AND created_by = $2',
      [authorizations.map(({ id }) => id), caller.actor],
    )
    const own = new Set(rows.map((row) => row.id))
    return authorizations.filter(({ id }) => own.has(id))
  }
}

function isPatientOnly(caller: Caller): boolean {
  return caller.roles.size === 1 && caller.roles.has('patient')
}

function valid<Value>(reading: Reading<Value>): Value {
  if (reading.valid) return reading.value
  throw new Answer({ status: 422, title: 'The request has mistakes', errors: reading.problems })
}

function done(result: AuthorizationOutcome): Authorization {
  switch (result.outcome) {
    case 'done':
      return result.authorization
    case 'unknown':
      throw new Answer({ status: 404, title: 'There is no such authorization' })
    case 'revoked':
      throw new Answer({
        status: 409,
        title: 'The authorization is revoked',
        detail: 'What is revoked stays so: set up a new one.',
      })
    case 'conflict':
      throw new Answer({ status: 422, title: 'That cannot be', detail: result.because })
  }
}

/** The resource as the API shows it. */
function shown(authorization: Authorization): Record<string, unknown> {
  const { frequency } = authorization
  return {
    id: authorization.id,
    version: authorization.version,
    status: authorization.revokedAt === undefined ? 'active' : 'revoked',
    patient: authorization.patient,
    destinations: authorization.destinations.map(({ address }) => address),
    frequency: frequency.type === 'interval' ? `interval: ${frequency.every}` : frequency.type,
    triggers: authorization.triggers,
    validFrom: authorization.validFrom,
    validUntil: authorization.validUntil ?? null,
    revokedAt: authorization.revokedAt ?? null,
    sensitiveData: authorization.sensitiveData,
    identityAssurance: authorization.identityAssurance,
    evidence: authorization.evidence ?? null,
  }
}
