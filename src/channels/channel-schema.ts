import { frameBytesMax } from '../domain/limits.ts'
import { exportSourceSchema } from './export-source.ts'
import {
  ack,
  code,
  condition,
  duration,
  expectedEvent,
  flag,
  name,
  object,
  paths,
  rule,
  secret,
  text,
} from './schema-parts.ts'
import type { JsonSchema } from './schema-parts.ts'

/** The format of `channels/NAME.yaml`. */
export const channelSchema: JsonSchema = {
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
          type: {
            enum: ['mllp', 'http', 'fhir-subscription', 'fhir-poll', 'fhir-export', 'file-drop'],
            description: 'the kind of source',
          },
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
              release: {
                enum: [1, 2],
                description: 'of MLLP; 2: every frame is answered by a commit block (0x06 or 0x15) first',
              },
              ack: { $ref: '#/$defs/ack' },
            },
            ['type', 'listen'],
          ),
          object(
            'HL7v2 messages or FHIR resources by POST to /inbound/CHANNEL',
            {
              type: { const: 'http' },
              format: { enum: ['hl7v2', 'fhir'], description: 'what is posted; the mapping has to read it' },
              verify: object(
                'how a sender shows that it may feed the channel',
                { header: { ...text, description: 'the name of an HTTP header' }, secret },
                ['header', 'secret'],
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
            ['type', 'format', 'verify'],
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
          exportSourceSchema({ $ref: '#/$defs/ack' }),
          object(
            'a directory in which files are put',
            {
              type: { const: 'file-drop' },
              directory: {
                ...text,
                description: 'the directory; files are moved into it when they are whole',
              },
              pattern: { ...text, description: 'of file names, such as *.835; default: * (all)' },
              format: {
                enum: ['hl7v2', 'x12-835', 'ndjson'],
                description:
                  'hl7v2: messages and batches; x12-835: remittances; ndjson: one FHIR resource a line',
              },
              archive: {
                ...text,
                description: 'where files go that were taken; default: archive in the directory',
              },
              quarantine: {
                ...text,
                description: 'where files go that cannot be read; default: quarantine in the directory',
              },
              every: { ...duration, description: 'how often the directory is looked at; default: 10s' },
              ack: { $ref: '#/$defs/ack' },
            },
            ['type', 'directory', 'format'],
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
      map: { ...name, description: 'the name of a mapping; its file is mappings/NAME.yaml' },
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
      identity: {
        const: 'follow',
        description:
          'for ADT: merges, moves, links and deletions of records (A40, A45, A24, A29 and their like) are followed before any filter',
      },
      visits: {
        ...name,
        description:
          'channels with the same name here share visit, document and claim numbers; default: the name of the channel',
      },
      attach: {
        enum: ['summary', 'additional'],
        description:
          'documents in the message (OBX-5 of type ED, a claim): summary – its C-CDA is the clinical summary that is sent, a claim stands for it; additional – they go along with one; default: nothing is taken from messages',
      },
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
        maxItems: 500,
        description: 'a list of tests, 500 at most',
        items: object(
          'a test: a sample or an input, and what is expected',
          {
            name: text,
            now: { ...text, description: 'the moment of the test, such as 2026-03-02T12:00:00-05:00' },
            sample: {
              ...text,
              description: 'a file under samples/: an HL7v2 message, or a FHIR resource in JSON',
            },
            set: {
              type: 'object',
              additionalProperties: code,
              description:
                'values to set in the sample, such as { PV1-36: "07" } or, for FHIR, { "type.coding[0].code": pharmacy }',
            },
            input: { type: 'object', description: 'a FHIR resource' },
            expect: object(
              'what is expected',
              {
                decision: { enum: ['trigger', 'filtered', 'quarantined'], description: 'what becomes of it' },
                because: text,
                code: text,
                event: expectedEvent,
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
