/** What the description of every path is made of. */
interface Parts {
  readonly refused: Readonly<Record<string, object>>
  readonly because: object
  readonly page: readonly object[]
  readonly answer: (description: string, schema: object) => object
  readonly ref: (name: string) => object
  readonly queryParameter: (name: string, description: string) => object
}

/** The paths of `quarantine.ts` and `tables.ts`. */
export function quarantinePaths(parts: Parts): Readonly<Record<string, object>> {
  const { refused, answer, ref, page, because, queryParameter } = parts
  const group = { name: 'group', in: 'path', required: true, schema: { type: 'string' } }
  return {
    '/api/v1/quarantine': {
      get: {
        summary: 'What waits for a person, grouped by what has to be put right; the largest group first',
        parameters: [queryParameter('since', 'Only groups with a message received since this moment')],
        responses: {
          '200': answer('', {
            type: 'object',
            properties: { items: { type: 'array', items: ref('QuarantineGroup') } },
          }),
          ...refused,
        },
      },
    },
    '/api/v1/tables': {
      get: {
        summary: 'Lookup tables of the channels as they run, and which values had no row, how often and when',
        responses: {
          '200': answer('', {
            type: 'object',
            properties: { items: { type: 'array', items: ref('TableStanding') } },
          }),
          ...refused,
        },
      },
    },
    '/api/v1/quarantine/{group}': {
      get: {
        summary: 'One group with its messages, newest first, and its release, where one is or was under way',
        parameters: [group, ...page],
        responses: { '200': answer('', ref('QuarantineGroup')), ...refused },
      },
    },
    '/api/v1/quarantine/{group}/test': {
      post: {
        summary:
          'What the channel as it runs now would make of the first 10,000 messages of the group; changes nothing',
        parameters: [group],
        responses: { '200': answer('', ref('QuarantineTest')), ...refused },
      },
    },
    '/api/v1/quarantine/{group}/release': {
      post: {
        summary:
          'All messages that wait in the group now go back to be decided again; the authorizations are judged again. A job does it',
        parameters: [group],
        requestBody: because,
        responses: { '202': answer('Under way', ref('QuarantineRelease')), ...refused },
      },
    },
  }
}

const number = { type: 'integer' }
const text = { type: 'string' }
const moment = { type: 'string', format: 'date-time' }

export const quarantineSchemas = {
  QuarantineGroup: {
    type: 'object',
    properties: {
      id: { ...text, description: '12 hex digits; the same channel and cause are always the same group' },
      channel: text,
      cause: { ...text, description: 'Stable key, such as lookup-miss:discharge-disposition:"ZZ"' },
      sentence: { ...text, description: 'The reason of the newest message' },
      count: number,
      firstAt: moment,
      lastAt: moment,
      remedy: text,
      samples: { type: 'array', items: text, description: 'Numbers of the newest messages' },
    },
  },
  TableStanding: {
    type: 'object',
    properties: {
      channel: text,
      table: text,
      rows: { type: ['integer', 'null'], description: 'Null where the channel does not use it any more' },
      misses: { ...number, description: 'Lookups without a row, also where the mapping went on without one' },
      lastMissAt: { type: ['string', 'null'], format: 'date-time' },
      values: {
        type: 'array',
        items: {
          type: 'object',
          properties: {
            kind: { enum: ['shown', 'hidden', 'other'] },
            value: {
              type: ['string', 'null'],
              description: 'Null where it may be PHI, or is one of too many',
            },
            count: number,
            firstAt: moment,
            lastAt: moment,
            hasRow: { type: 'boolean', description: 'The table has a row for it by now' },
          },
        },
      },
    },
  },
  QuarantineTest: {
    type: 'object',
    properties: {
      tested: number,
      trigger: number,
      identity: number,
      filtered: number,
      quarantined: number,
      withoutContent: { ...number, description: 'Past their retention: they cannot be released' },
      isPartial: { type: 'boolean', description: 'More wait than were tested' },
      reasons: { type: 'array', items: { type: 'object' } },
    },
  },
  QuarantineRelease: {
    type: 'object',
    properties: {
      id: text,
      wanted: number,
      released: number,
      withoutContent: number,
      actor: text,
      because: { type: ['string', 'null'] },
      startedAt: moment,
      endedAt: { type: ['string', 'null'], format: 'date-time' },
    },
  },
} as const
