import { transmissionStates } from '../domain/transmission.ts'
import { quarantinePaths } from './openapi-quarantine.ts'
import { ref, schemas } from './openapi-schemas.ts'

const problem = {
  description: 'What is wrong, and what to do',
  content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
}
const refused = { '401': problem, '403': problem, '404': problem }
const body = (name: string) => ({
  required: true,
  content: { 'application/json': { schema: { $ref: `#/components/schemas/${name}` } } },
})
const answer = (description: string, schema: object) => ({
  description,
  content: { 'application/json': { schema } },
})
const mail = (description: string) => ({
  description,
  content: { 'message/rfc822': { schema: { type: 'string', format: 'binary' } } },
})
const listOf = (name: string) => ({
  type: 'object',
  properties: {
    items: { type: 'array', items: ref(name) },
    next: { type: 'string', description: 'Pass as `before` for the next page' },
  },
})
const id = { name: 'id', in: 'path', required: true, schema: { type: 'string' } }
const queryParameter = (name: string, description: string) => ({
  name,
  in: 'query',
  description,
  schema: { type: 'string' },
})
const page = [
  queryParameter('limit', 'Rows, at most 200'),
  queryParameter('before', '`next` of the page before'),
]
const because = {
  content: {
    'application/json': {
      schema: { type: 'object', properties: { because: { type: 'string', maxLength: 500 } } },
    },
  },
}

/** OpenAPI 3.1 of what `server.ts` serves. */
export const description = {
  openapi: '3.1.0',
  info: {
    title: 'bluepost',
    version: '1',
    description:
      'Continuous transmit of patient records over Direct secure messaging. Send an API key or an OIDC access token as `Authorization: Bearer …`.',
  },
  security: [{ bearer: [] }],
  paths: {
    '/api/v1/authorizations': {
      get: {
        summary: 'List authorizations, or find those of a patient',
        parameters: [queryParameter('identifier', 'Authority and value: urn:oid:1.2.3.4|E1001'), ...page],
        responses: { '200': answer('Newest first', listOf('Authorization')), ...refused },
      },
      post: {
        summary: 'Set up a patient’s transmit request; a `once` request is sent at once',
        requestBody: body('AuthorizationRequest'),
        responses: { '201': answer('Stored', ref('Authorization')), '422': problem, ...refused },
      },
    },
    '/api/v1/authorizations/{id}': {
      get: {
        summary: 'One authorization with its history and what looking ahead found for its destinations',
        parameters: [id],
        responses: { '200': answer('', ref('Authorization')), ...refused },
      },
      patch: {
        summary: 'Change frequency, destinations, triggers or validity',
        parameters: [id],
        requestBody: body('AuthorizationChange'),
        responses: {
          '200': answer('Changed', ref('Authorization')),
          '409': problem,
          '422': problem,
          ...refused,
        },
      },
    },
    '/api/v1/authorizations/{id}/revoke': {
      post: {
        summary: 'Revoke: prospective and immediate',
        parameters: [id],
        requestBody: because,
        responses: { '200': answer('Revoked', ref('Authorization')), '409': problem, ...refused },
      },
    },
    '/api/v1/transmissions': {
      get: {
        summary: 'What became of the triggers',
        parameters: [
          queryParameter('authorization', 'Authorization id'),
          queryParameter('message', 'Number of the received message'),
          queryParameter('state', transmissionStates.join(', ')),
          ...page,
        ],
        responses: { '200': answer('Newest first', listOf('Transmission')), ...refused },
      },
    },
    '/api/v1/transmissions/{id}': {
      get: {
        summary:
          'One transmission with its occurrences, attempts, notifications, documents, trust trace and explanation',
        parameters: [id],
        responses: { '200': answer('', ref('Transmission')), ...refused },
      },
    },
    '/api/v1/transmissions/{id}/notice': {
      get: {
        summary: 'Its newest failure as a delivery status notification (RFC 3464)',
        parameters: [id],
        responses: { '200': mail('The notice'), ...refused },
      },
    },
    ...Object.fromEntries(
      [
        ['retry', 'Try a failed transmission again; the authorization is judged again'],
        ['release', 'Let a held transmission go on; the authorization is judged again'],
        ['withdraw', 'Take an unsent transmission back'],
      ].map(([action, summary]) => [
        `/api/v1/transmissions/{id}/${action}`,
        {
          post: {
            summary,
            parameters: [id],
            requestBody: because,
            responses: {
              '200': answer('Done', { type: 'object', properties: { state: { type: 'string' } } }),
              '409': problem,
              ...refused,
            },
          },
        },
      ]),
    ),
    '/api/v1/messages': {
      get: {
        summary: 'What came in, and what was made of it',
        parameters: [
          queryParameter('channel', 'Channel name'),
          queryParameter('state', 'received, triggered, filtered, quarantined'),
          queryParameter('controlId', 'MSH-10'),
          ...page,
        ],
        responses: { '200': answer('Newest first', { type: 'object' }), ...refused },
      },
    },
    '/api/v1/messages/{id}': {
      get: {
        summary: 'One message explained',
        parameters: [id],
        responses: { '200': answer('', { type: 'object' }), ...refused },
      },
    },
    '/api/v1/messages/{id}/replay': {
      post: {
        summary: 'Decide a filtered or quarantined message again',
        parameters: [id],
        requestBody: because,
        responses: {
          '200': answer('Done', { type: 'object', properties: { state: { type: 'string' } } }),
          '409': problem,
          ...refused,
        },
      },
    },
    ...quarantinePaths({ refused, answer, ref, page, because, queryParameter }),
    '/api/v1/fragments': {
      get: {
        summary: 'What came in and could not be read as a message at all, with the reason',
        parameters: page,
        responses: { '200': answer('', { type: 'object' }), ...refused },
      },
    },
    '/api/v1/fragments/{id}': {
      get: {
        summary: 'One fragment with its bytes in base64',
        parameters: [id],
        responses: { '200': answer('', { type: 'object' }), ...refused },
      },
    },
    '/api/v1/inbox': {
      get: {
        summary:
          'Messages that others sent us and that are no notifications; their content is not in the list',
        parameters: page,
        responses: { '200': answer('Newest first', listOf('InboxMessage')), ...refused },
      },
    },
    '/api/v1/inbox/{id}': {
      get: {
        summary: 'One of them, with what we answered',
        parameters: [id],
        responses: { '200': answer('', ref('InboxMessage')), ...refused },
      },
    },
    '/api/v1/inbox/{id}/raw': {
      get: {
        summary: 'The message itself, decrypted; reading it is audited',
        parameters: [id],
        responses: { '200': mail('The message'), ...refused },
      },
    },
    '/api/v1/inbox/ignored': {
      get: {
        summary: 'Mail that was answered by silence, with the reason that the sender was not told',
        parameters: page,
        responses: { '200': answer('Newest first', { type: 'object' }), ...refused },
      },
    },
    '/api/v1/inbox/ignored/{id}/raw': {
      get: {
        summary: 'That mail as it came; reading it is audited',
        parameters: [id],
        responses: { '200': mail('The mail'), ...refused },
      },
    },
    '/api/v1/channels': {
      get: {
        summary: 'Channels as they run: state, revision, whether the files can be used, what waits',
        responses: { '200': answer('By name', { type: 'object' }), ...refused },
      },
    },
    '/api/v1/channels/reload': {
      post: {
        summary:
          'Takes the channel files as they are now; a channel whose files cannot be used goes on as it was',
        responses: {
          '200': answer('What became of each: same, changed, added, removed, refused', { type: 'object' }),
          ...refused,
        },
      },
    },
    ...Object.fromEntries(
      [
        ['pause', 'Receives, stores and acknowledges, and decides nothing until resume'],
        ['resume', 'Decides again, what waits first'],
        ['stop', 'Finishes what is under way, then receives nothing until start'],
        ['start', 'Receives again'],
      ].map(([steering, summary]) => [
        `/api/v1/channels/{name}/${steering}`,
        {
          post: {
            summary,
            parameters: [{ name: 'name', in: 'path', required: true, schema: { type: 'string' } }],
            requestBody: because,
            responses: {
              '200': answer('The channel as it runs now', { type: 'object' }),
              '409': problem,
              ...refused,
            },
          },
        },
      ]),
    ),
    '/api/v1/destinations': {
      get: {
        summary: 'What looking ahead found for the addresses that active requests name, in their order',
        parameters: [
          queryParameter('outcome', 'trusted, untrusted, absent or unavailable'),
          queryParameter('endingWithinDays', 'Only those that can receive for at most so many days'),
          queryParameter('after', 'The last address of the page before'),
          queryParameter('limit', '1 to 200, 50 if absent'),
        ],
        responses: { '200': answer('', listOf('DestinationStanding')), ...refused },
      },
    },
    '/api/v1/destinations/{address}': {
      get: {
        summary: 'One destination, with each step of its last look',
        parameters: [{ name: 'address', in: 'path', required: true, schema: { type: 'string' } }],
        responses: { '200': answer('', ref('DestinationStanding')), ...refused },
      },
    },
    '/api/v1/trust': {
      get: {
        summary:
          'Whom the installation trusts: anchors with expiry and source, bundles with what is wrong with them',
        responses: { '200': answer('', ref('Trust')), ...refused },
      },
    },
    '/api/v1/audit': {
      get: {
        summary: 'Who did what',
        parameters: [
          queryParameter('authorization', 'Authorization id'),
          queryParameter('subject', 'Such as transmission:ID'),
          queryParameter('action', 'Such as disclosure'),
          ...page,
        ],
        responses: { '200': answer('Newest first', { type: 'object' }), ...refused },
      },
    },
    '/api/v1/audit/verification': {
      get: {
        summary: 'Whether the chain over the audit holds',
        responses: {
          '200': answer('', { type: 'object', properties: { intact: { type: 'boolean' } } }),
          ...refused,
        },
      },
    },
  },
  components: {
    securitySchemes: { bearer: { type: 'http', scheme: 'bearer' } },
    schemas,
  },
} as const
