import { frameBytesMax } from '../domain/limits.ts'
import { targets } from '../mapping/targets.ts'

/** A JSON Schema 2020-12, as far as this file needs one. */
export interface JsonSchema {
  readonly [keyword: string]: unknown
}

/** The format of channel and mapping files: checked against when they are loaded, and given to editors by `bluepost schema`. */
export function schemas(): { readonly channel: JsonSchema; readonly mapping: JsonSchema } {
  return { channel: channelSchema, mapping: mappingSchema }
}

/** Names of channels, mappings, tables and secrets: they are file names, too. */
export const namePattern = '^[a-z][a-z0-9-]{0,62}$'

const name = { type: 'string', pattern: namePattern, description: 'lower-case letters, digits and hyphens' }
const duration = {
  type: 'string',
  pattern: '^[0-9]+(ms|s|m|h|d|w)$',
  description: 'a number with a unit, such as 30s, 10m, 6h, 3d',
}
const code = { type: ['string', 'number', 'boolean'], description: 'a code' }
const codes = { type: 'array', items: code, minItems: 1, description: 'a list of codes, such as [A03, A13]' }
const path = { type: ['string', 'number'], description: 'a path such as PV1-19.1, or a FHIRPath expression' }
const paths = { type: 'array', items: path, minItems: 1, description: 'a list of paths' }
const text = { type: 'string', minLength: 1, description: 'a text' }
const flag = { type: 'boolean', description: 'true or false' }
const secret = { type: 'string', description: 'secret:NAME, where NAME is a secret of the settings' }

function object(
  description: string,
  properties: Record<string, JsonSchema>,
  required: readonly string[] = [],
): JsonSchema {
  return { type: 'object', description, properties, required, additionalProperties: false }
}

const questions = {
  field: { ...path, description: 'the value to look at, as an HL7v2 path such as PV1-36' },
  first: { ...paths, description: 'several paths; the first that gives a value is looked at' },
  fhirpath: { ...text, description: 'a FHIRPath expression: a yes-or-no question, or the value to look at' },
  is: { ...code, description: 'holds where the value is this one' },
  in: { ...codes, description: 'holds where the value is one of these' },
  not: { ...code, description: 'holds where the value is not this one; also where there is none' },
  notIn: { ...codes, description: 'holds where the value is none of these; also where there is none' },
  present: { ...flag, description: 'true: holds where there is a value; false: where there is none' },
  matches: { ...text, description: 'holds where the value matches this regular expression' },
  newerThan: { ...duration, description: 'holds where the time is less than this long ago' },
  all: {
    type: 'array',
    minItems: 1,
    items: { $ref: '#/$defs/condition' },
    description: 'a list of conditions',
  },
  any: {
    type: 'array',
    minItems: 1,
    items: { $ref: '#/$defs/condition' },
    description: 'a list of conditions',
  },
}

const condition = object('a condition, such as { field: MSH-9.2, is: A13 }', questions)

const rule = object('a filter rule, such as { field: MSH-11.1, is: P, else: "test message" }', {
  ...questions,
  when: { $ref: '#/$defs/condition', description: 'the rule is asked only of messages that satisfy this' },
  else: {
    ...text,
    description: 'the reason that is stored where the rule does not hold; never put patient data in it',
  },
  decision: {
    enum: ['filtered', 'quarantined'],
    description:
      'what becomes of a message that does not satisfy the rule; quarantined: a person has to look at it',
  },
})

const ack = object('how messages are acknowledged', {
  mode: { enum: ['auto', 'original', 'enhanced'], description: 'auto: chosen from MSH-15 and MSH-16' },
  after: {
    const: 'stored',
    description: 'acknowledged when the message is on disk; there is no other safe moment',
  },
  onStoreError: { const: 'retryable', description: 'AE or CE: the sender may send again' },
  onInvalid: { const: 'final', description: 'AR or CR: the sender must not send the same bytes again' },
})

const channelSchema: JsonSchema = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  $id: 'https://bluepost.dev/schema/channel.json',
  title: 'bluepost channel',
  ...object(
    'a channel: one source, what is filtered, how it is mapped',
    {
      channel: { ...name, description: 'the name of the channel; the file is NAME.yaml' },
      version: { const: 1, description: 'the version of this format' },
      title: text,
      owner: { ...text, description: 'who answers for this channel' },
      enabled: { ...flag, description: 'false: nothing listens, nothing is fetched, what is stored is kept' },
      timezone: {
        ...text,
        description:
          'IANA name such as America/New_York, for times without a zone; default: the zone of the system',
      },
      source: {
        type: 'object',
        description: 'where messages come from',
        required: ['type'],
        properties: {
          type: { enum: ['mllp', 'fhir-subscription', 'fhir-poll'], description: 'the kind of source' },
        },
        discriminator: { propertyName: 'type' },
        oneOf: [
          object(
            'HL7v2 over MLLP',
            {
              type: { const: 'mllp' },
              listen: object(
                'where the channel listens',
                {
                  host: { ...text, description: 'an address of this machine; 0.0.0.0 for all' },
                  port: {
                    type: 'integer',
                    minimum: 0,
                    maximum: 65535,
                    description: 'a port, 1 to 65535; 0: any free one',
                  },
                },
                ['host', 'port'],
              ),
              tls: object(
                'TLS; without it, listen on a loopback address or a protected network only',
                {
                  cert: secret,
                  key: secret,
                  clientCa: secret,
                  clientAuth: {
                    enum: ['none', 'required'],
                    description: 'required: senders show a certificate',
                  },
                },
                ['cert', 'key'],
              ),
              encoding: {
                ...text,
                description: 'the character set of messages with an empty MSH-18, such as UNICODE UTF-8',
              },
              maxMessageBytes: {
                type: 'integer',
                minimum: 1024,
                maximum: frameBytesMax,
                description: `a size in bytes, 1024 to ${frameBytesMax}`,
              },
              ack: { $ref: '#/$defs/ack' },
            },
            ['type', 'listen'],
          ),
          object(
            'notifications of a FHIR server',
            {
              type: { const: 'fhir-subscription' },
              server: { ...name, description: 'a FHIR server of the settings' },
              topic: { ...text, description: 'the canonical URL of the SubscriptionTopic' },
              fallbackCriteria: { ...text, description: 'the search for R4 servers without topics' },
              payload: {
                enum: ['empty', 'id-only', 'full-resource'],
                description: 'what a notification carries; the resource is fetched in any case',
              },
              verify: object(
                'how a notification shows that it comes from the server',
                { header: { ...text, description: 'the name of an HTTP header' }, secret },
                ['header', 'secret'],
              ),
              heartbeat: duration,
              gaps: { enum: ['replay', 'ignore'], description: 'replay: missing events are asked for' },
              sweep: object(
                'a regular search for what was never notified',
                { every: duration, lookback: duration },
                ['every', 'lookback'],
              ),
              ack: { $ref: '#/$defs/ack' },
            },
            ['type', 'server', 'verify'],
          ),
          object(
            'a FHIR server that is asked regularly',
            {
              type: { const: 'fhir-poll' },
              server: { ...name, description: 'a FHIR server of the settings' },
              query: { ...text, description: 'a search with {cursor} for where the last answer ended' },
              every: duration,
              cursor: object(
                'what moves forward from answer to answer',
                {
                  field: { ...text, description: 'an element of the resource, such as meta.lastUpdated' },
                  overlap: {
                    ...duration,
                    description: 'how much is read again each time; repeats are dropped',
                  },
                },
                ['field'],
              ),
              ack: { $ref: '#/$defs/ack' },
            },
            ['type', 'server', 'query', 'every', 'cursor'],
          ),
        ],
      },
      order: object('messages with the same values here are decided one after the other', { key: paths }, [
        'key',
      ]),
      dedupe: object(
        'what makes two messages the same',
        {
          key: paths,
          window: duration,
          onSame: { enum: ['replay-ack', 'drop'], description: 'replay-ack: the same acknowledgement again' },
          onDifferent: { enum: ['process', 'quarantine'], description: 'same key, other bytes' },
        },
        ['key', 'window'],
      ),
      filter: object(
        'what a message must satisfy',
        {
          all: {
            type: 'array',
            minItems: 1,
            items: { $ref: '#/$defs/rule' },
            description: 'a list of rules, asked in order',
          },
        },
        ['all'],
      ),
      map: { ...name, description: 'the mapping: mappings/NAME.yaml' },
      hold: object(
        'quiet time before anything is prepared',
        {
          for: duration,
          cancelWhen: { const: 'cancels', description: 'an event that cancels withdraws what it takes back' },
          merge: {
            const: 'patient',
            description: 'events of one patient within the time become one transmission',
          },
        },
        ['for'],
      ),
      on: object('what becomes of messages that cannot be mapped', {
        mappingError: { const: 'quarantine', description: 'they wait for a person' },
        lookupMiss: { const: 'quarantine', description: 'they wait for a person' },
      }),
      alerts: {
        type: 'array',
        description: 'a list of alerts',
        items: object(
          'an alert, such as { when: silent, for: 30m, notify: ops }',
          {
            when: { enum: ['silent', 'quarantined'], description: 'what is watched' },
            for: duration,
            over: { type: 'integer', minimum: 0, description: 'a number of messages' },
            within: duration,
            between: {
              type: 'string',
              pattern: '^([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-3]):[0-5][0-9]$',
              description: 'hours of the day, such as 06:00-22:00',
            },
            notify: { ...text, description: 'who is told' },
          },
          ['when', 'notify'],
        ),
      },
      retention: object(
        'how long what is kept',
        { content: duration, metadata: duration, errors: duration },
        ['content', 'metadata', 'errors'],
      ),
      tests: {
        type: 'array',
        description: 'a list of tests',
        items: object(
          'a test: a sample or an input, and what is expected',
          {
            name: text,
            now: { ...text, description: 'the moment of the test, such as 2026-03-02T12:00:00-05:00' },
            sample: { ...text, description: 'a file under samples/' },
            set: {
              type: 'object',
              additionalProperties: code,
              description: 'values to set in the sample, such as { PV1-36: "07" }',
            },
            input: { type: 'object', description: 'a FHIR resource' },
            expect: object(
              'what is expected',
              {
                decision: { enum: ['trigger', 'filtered', 'quarantined'], description: 'what becomes of it' },
                because: text,
                code: text,
                event: { type: 'object', description: 'parts of the trigger event' },
                ack: {
                  enum: ['AA', 'AE', 'AR', 'CA', 'CE', 'CR'],
                  description: 'the code of the acknowledgement',
                },
              },
              ['decision'],
            ),
          },
          ['name', 'expect'],
        ),
      },
    },
    ['channel', 'version', 'source', 'filter', 'map', 'retention'],
  ),
  $defs: { ack, condition, rule },
}

const mappingSchema: JsonSchema = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  $id: 'https://bluepost.dev/schema/mapping.json',
  title: 'bluepost mapping',
  ...object(
    'a mapping: rows that turn a message into a trigger event',
    {
      mapping: { ...name, description: 'the name of the mapping; the file is NAME.yaml' },
      version: { const: 1, description: 'the version of this format' },
      input: { enum: ['hl7v2', 'fhir'], description: 'what is read' },
      output: { const: 'trigger-event/1', description: 'what is made' },
      rows: { type: 'array', minItems: 1, items: { $ref: '#/$defs/row' }, description: 'a list of rows' },
    },
    ['mapping', 'version', 'input', 'output', 'rows'],
  ),
  $defs: {
    condition,
    row: object(
      'a row, such as { to: encounter.class, from: PV1-2, table: patient-class }',
      {
        to: { ...text, description: `what is filled: ${Object.keys(targets).join(', ')}` },
        from: { ...path, description: 'where the value stands' },
        first: { ...paths, description: 'several places; the first that gives a value' },
        value: { ...code, description: 'a fixed value' },
        each: { ...path, description: 'a repeating field; `rows` read each repetition' },
        keep: { $ref: '#/$defs/condition', description: 'which repetitions count' },
        rows: {
          type: 'array',
          minItems: 1,
          items: { $ref: '#/$defs/row' },
          description: 'rows whose paths stand inside the repetition, such as "4.1"',
        },
        as: { enum: ['text', 'datetime', 'date', 'assigner'], description: 'how the value is read' },
        table: { ...name, description: 'a lookup table: mappings/tables/NAME.csv' },
        miss: {
          enum: ['quarantine', 'skip'],
          description: 'what a value means that the table does not have; skip: as if there were none',
        },
        required: { ...flag, description: 'true: without a value the message is quarantined' },
        when: { $ref: '#/$defs/condition', description: 'the row is used only where this holds' },
      },
      ['to'],
    ),
  },
}
