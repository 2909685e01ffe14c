import { readFileSync } from 'node:fs'
import { readAuthorizationChange, readAuthorizationRequest, type Reading } from '../authorizations/request.ts'
import type { Authorization } from '../domain/authorization.ts'
import { canonicalAuthority, fullName } from '../domain/patient.ts'
import {
  authorize as store,
  change as applyChange,
  revoke as applyRevoke,
  type AuthorizationOutcome,
} from '../pipeline/authorize.ts'
import { AuthorizationEntity } from '../store/entities.ts'
import { loadAuthorizations } from '../store/matching.ts'
import { queryOf } from '../store/query.ts'
import { authorizationIdsFor } from '../store/views.ts'
import {
  Findings,
  operatorName,
  print,
  printJson,
  settingsFor,
  theOne,
  Usage,
  type Call,
  type Command,
} from './command.ts'
import { onDatabase } from './on-database.ts'

export const authorize: Command = {
  usage: `bluepost authorize --identifier 'urn:oid:1.2.3.4|E1001' --family Ross --given Ellen --birth-date 1956-08-14 \\
    --to ellen.ross@direct.somephr.example --frequency continuous --trigger discharge \\
    --verified-by 'R. Jones, front desk' --method in-person [--evidence 'form 2026-117']
bluepost authorize --file request.json     the body of POST /api/v1/authorizations

--identifier, --to and --trigger may be repeated. Without --trigger every trigger counts. --frequency once sends at once;
--frequency 'interval: P1M' sends now and then every month (P2W: two weeks, P10D: ten days) when the document has changed.`,
  options: {
    file: { type: 'string' },
    identifier: { type: 'string', multiple: true },
    family: { type: 'string' },
    given: { type: 'string' },
    'birth-date': { type: 'string' },
    to: { type: 'string', multiple: true },
    frequency: { type: 'string' },
    trigger: { type: 'string', multiple: true },
    'valid-from': { type: 'string' },
    'valid-until': { type: 'string' },
    'verified-by': { type: 'string' },
    method: { type: 'string' },
    evidence: { type: 'string' },
    'sensitive-data': { type: 'string' },
  },
  run(call) {
    const settings = settingsFor(call)
    const at = new Date()
    const wanted = valid(readAuthorizationRequest(requestOf(call), settings.authorities, at))
    return onDatabase(settings, async (dataSource) => {
      const ports = {
        dataSource,
        deliveryRequested: settings.tracking.requestDelivery,
        timezone: settings.timezone,
        now: () => new Date(),
      }
      show(call, await store(ports, wanted, operatorName()))
      return 0
    })
  },
}

export const change: Command = {
  usage: `bluepost change AUTHORIZATION [--to ADDRESS…] [--frequency once|continuous|'interval: P1M'] [--trigger KIND…]
    [--valid-until DATE] [--sensitive-data included|excluded]

--to and --trigger give the whole new list. Every change is recorded with your name.`,
  options: {
    to: { type: 'string', multiple: true },
    frequency: { type: 'string' },
    trigger: { type: 'string', multiple: true },
    'valid-until': { type: 'string' },
    'sensitive-data': { type: 'string' },
  },
  run(call) {
    const settings = settingsFor(call)
    const id = authorizationId(call)
    const wanted = valid(
      readAuthorizationChange({
        destinations: call.values['to'],
        frequency: call.values['frequency'],
        triggers: call.values['trigger'],
        ...(call.values['valid-until'] === undefined ? {} : { validUntil: call.values['valid-until'] }),
        sensitiveData: call.values['sensitive-data'],
      }),
    )
    return onDatabase(settings, async (dataSource) => {
      const ports = {
        dataSource,
        deliveryRequested: settings.tracking.requestDelivery,
        timezone: settings.timezone,
        now: () => new Date(),
      }
      show(call, done(id, await applyChange(ports, id, wanted, operatorName())))
      return 0
    })
  },
}

export const revoke: Command = {
  usage: `bluepost revoke AUTHORIZATION [--because TEXT]

Prospective and immediate: what has not left is cancelled, what was sent stays sent.`,
  options: { because: { type: 'string' } },
  run(call) {
    const settings = settingsFor(call)
    const id = authorizationId(call)
    const because = call.values['because']
    return onDatabase(settings, async (dataSource) => {
      const ports = {
        dataSource,
        deliveryRequested: settings.tracking.requestDelivery,
        timezone: settings.timezone,
        now: () => new Date(),
      }
      const result = await applyRevoke(
        ports,
        id,
        typeof because === 'string' ? because : undefined,
        operatorName(),
      )
      show(call, done(id, result))
      return 0
    })
  },
}

const listRowsMax = 100

export const authorizations: Command = {
  usage: `bluepost authorizations                                    the newest ${listRowsMax}
bluepost authorizations --identifier 'urn:oid:1.2.3.4|E1001'
bluepost authorizations AUTHORIZATION                      one, whole`,
  options: { identifier: { type: 'string' } },
  run(call) {
    const settings = settingsFor(call)
    return onDatabase(settings, async (dataSource) => {
      const query = queryOf(dataSource)
      const identifier = call.values['identifier']
      const found =
        call.positionals.length > 0
          ? await loadAuthorizations(query, [authorizationId(call)])
          : typeof identifier === 'string'
            ? await loadAuthorizations(query, await idsFor(identifier))
            : await newest()
      if (call.isJson) printJson(found)
      else if (found.length === 0) print('There is no such authorization.')
      else for (const one of found) print(sentence(one))
      return found.length === 0 && call.positionals.length > 0 ? 1 : 0

      function idsFor(text: string) {
        const bar = text.lastIndexOf('|')
        if (bar < 1) throw new Usage('--identifier looks like urn:oid:1.2.3.4|E1001')
        return authorizationIdsFor(
          query,
          canonicalAuthority(text.slice(0, bar), settings.authorities),
          text.slice(bar + 1),
        )
      }

      async function newest() {
        const rows = await dataSource
          .getRepository(AuthorizationEntity)
          .find({ order: { createdAt: 'DESC' }, take: listRowsMax, select: { id: true } })
        return loadAuthorizations(
          query,
          rows.map((row) => row.id),
        )
      }
    })
  },
}

function requestOf(call: Call): unknown {
  const { values } = call
  if (typeof values['file'] === 'string') {
    try {
      return JSON.parse(readFileSync(values['file'], 'utf8'))
    } catch (cause) {
      throw new Findings(`${values['file']} cannot be read as JSON: ${(cause as Error).message}`)
    }
  }
  const identifiers = ((values['identifier'] as string[] | undefined) ?? []).map((text) => {
    const bar = text.lastIndexOf('|')
    if (bar < 1) throw new Usage('--identifier looks like urn:oid:1.2.3.4|E1001')
    return { system: text.slice(0, bar), value: text.slice(bar + 1) }
  })
  return {
    patient: {
      identifiers,
      family: values['family'],
      given: values['given'],
      birthDate: values['birth-date'],
    },
    destinations: values['to'],
    frequency: values['frequency'],
    triggers: values['trigger'],
    validFrom: values['valid-from'],
    validUntil: values['valid-until'],
    evidence: values['evidence'],
    sensitiveData: values['sensitive-data'],
    identityAssurance: { method: values['method'], verifiedBy: values['verified-by'] },
  }
}

function authorizationId(call: Call): string {
  const id = theOne(call, 'authorization id')
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(id))
    throw new Usage(`${id} is not an authorization id`)
  return id
}

function valid<Value>(reading: Reading<Value>): Value {
  if (reading.valid) return reading.value
  throw new Findings(
    reading.problems.map(({ where, what }) => `${where === '' ? 'the request' : where}  ${what}`).join('\n'),
  )
}

function done(id: string, result: AuthorizationOutcome): Authorization {
  switch (result.outcome) {
    case 'done':
      return result.authorization
    case 'unknown':
      throw new Findings(`there is no authorization ${id}`)
    case 'revoked':
      throw new Findings('the authorization is revoked; what is revoked stays so: set up a new one')
    case 'conflict':
      throw new Findings(result.because)
  }
}

function show(call: Call, authorization: Authorization): void {
  if (call.isJson) printJson(authorization)
  else print(sentence(authorization))
}

function sentence(authorization: Authorization): string {
  const { frequency, revokedAt } = authorization
  const how = frequency.type === 'interval' ? `every ${frequency.every}` : frequency.type
  const to = authorization.destinations.map(({ address }) => address).join(', ')
  const standing = revokedAt === undefined ? '' : `, revoked at ${revokedAt.toISOString()}`
  return `${authorization.id} (version ${authorization.version})  ${fullName(authorization.patient)} → ${to}, ${how}${standing}`
}
