import { transmissionStates } from '../domain/transmission.ts'
import { triggerKinds } from '../domain/trigger-event.ts'
import { quarantineSchemas } from './openapi-quarantine.ts'

/** A schema of the description, by its name. */
export const ref = (name: string) => ({ $ref: `#/components/schemas/${name}` })

/** What the API takes and gives. */
export const schemas = {
  ...quarantineSchemas,
  Problem: {
    type: 'object',
    description: 'RFC 9457',
    properties: {
      status: { type: 'integer' },
      title: { type: 'string' },
      detail: { type: 'string' },
      errors: {
        type: 'array',
        items: {
          type: 'object',
          properties: {
            where: { type: 'string', description: 'JSON Pointer' },
            what: { type: 'string' },
          },
        },
      },
    },
  },
  Patient: {
    type: 'object',
    required: ['identifiers', 'family', 'birthDate'],
    properties: {
      identifiers: {
        type: 'array',
        minItems: 1,
        items: {
          type: 'object',
          required: ['system', 'value'],
          properties: {
            system: {
              type: 'string',
              description: 'urn:oid:… or another URI, or an alias of the settings',
            },
            value: { type: 'string' },
            type: { type: 'string', description: 'HL7 table 0203' },
          },
        },
      },
      family: { type: 'string' },
      given: { type: 'string' },
      previousFamilies: { type: 'array', items: { type: 'string' } },
      birthDate: { type: 'string', format: 'date' },
    },
  },
  AuthorizationRequest: {
    type: 'object',
    required: ['patient', 'destinations', 'identityAssurance'],
    properties: {
      patient: ref('Patient'),
      destinations: {
        type: 'array',
        minItems: 1,
        maxItems: 20,
        items: { type: 'string', description: 'Direct address' },
      },
      frequency: {
        type: 'string',
        description: 'once | continuous | interval: P1M (ISO 8601: years, months, weeks, days)',
        default: 'continuous',
      },
      triggers: { type: 'array', items: { enum: triggerKinds } },
      validFrom: { type: 'string', format: 'date-time' },
      validUntil: { type: 'string', format: 'date-time' },
      sensitiveData: { enum: ['excluded', 'included'], default: 'excluded' },
      identityAssurance: {
        type: 'object',
        required: ['method', 'verifiedBy'],
        properties: {
          method: { enum: ['portal-login', 'in-person', 'known-to-provider', 'written', 'oral'] },
          verifiedBy: { type: 'string' },
          verifiedAt: { type: 'string', format: 'date-time' },
        },
      },
      evidence: { type: 'string', description: 'Where the signed request can be found' },
    },
  },
  AuthorizationChange: {
    type: 'object',
    minProperties: 1,
    properties: {
      destinations: { type: 'array', items: { type: 'string' } },
      frequency: { type: 'string' },
      triggers: { type: 'array', items: { enum: triggerKinds } },
      validUntil: { type: ['string', 'null'] },
      sensitiveData: { enum: ['excluded', 'included'] },
    },
  },
  Authorization: {
    allOf: [
      ref('AuthorizationRequest'),
      {
        type: 'object',
        properties: {
          id: { type: 'string' },
          version: { type: 'integer' },
          status: { enum: ['active', 'revoked'] },
          revokedAt: { type: ['string', 'null'] },
        },
      },
    ],
  },
  Transmission: {
    type: 'object',
    properties: {
      id: { type: 'string' },
      authorizationId: { type: 'string' },
      destination: { type: 'string' },
      cause: { type: 'string' },
      state: { enum: transmissionStates },
      ambiguous: { type: 'boolean' },
      code: { type: ['string', 'null'] },
      because: { type: ['string', 'null'] },
      messageId: { type: ['string', 'null'] },
      submittedAt: { type: ['string', 'null'] },
      processedAt: { type: ['string', 'null'] },
      deliveredAt: { type: ['string', 'null'] },
      threeFacts: {
        type: 'object',
        description: 'With one transmission: each fact by what is known of it alone',
        properties: {
          acceptedByNextHop: ref('Fact'),
          processedByHisp: ref('Fact'),
          delivered: ref('Fact'),
        },
      },
      notices: {
        type: 'array',
        description: 'With one transmission: one per time it failed, oldest first',
        items: ref('FailureNotice'),
      },
    },
  },
  Fact: {
    type: 'object',
    properties: {
      is: { enum: ['yes', 'awaited', 'not-yet', 'no', 'unknown', 'not-asked'] },
      at: { type: 'string', format: 'date-time' },
      isLate: { type: 'boolean', description: 'It came after we had given up' },
    },
  },
  FailureNotice: {
    type: 'object',
    properties: {
      at: { type: 'string', format: 'date-time' },
      recipient: { type: 'string' },
      status: { type: 'string', description: 'RFC 3463: 5.7.31, 5.7.11, 5.4.71, 5.4.72, 5.5.0' },
      code: { type: 'string' },
      because: { type: 'string' },
      advice: { type: 'string' },
      originalMessageId: { type: 'string' },
    },
  },
  InboxMessage: {
    type: 'object',
    properties: {
      id: { type: 'string' },
      receivedAt: { type: 'string', format: 'date-time' },
      sender: { type: 'string', description: 'To which a trusted signer is bound' },
      recipient: { type: 'string' },
      messageId: { type: ['string', 'null'] },
      state: { enum: ['kept', 'refused'] },
      bytes: { type: 'integer' },
      signerFingerprints: { type: 'array', items: { type: 'string' } },
      isForgotten: { type: 'boolean', description: 'Past its retention' },
      answers: {
        type: 'array',
        description: 'With one message: the MDNs it was answered with',
        items: {
          type: 'object',
          properties: {
            disposition: { enum: ['processed', 'dispatched', 'failed'] },
            recipient: { type: 'string' },
            messageId: { type: 'string' },
            state: { enum: ['waiting', 'sealed', 'sent', 'failed'] },
            code: { type: ['string', 'null'] },
            because: { type: ['string', 'null'] },
            attempts: { type: 'integer' },
            endedAt: { type: ['string', 'null'] },
          },
        },
      },
    },
  },
  DestinationStanding: {
    type: 'object',
    properties: {
      address: { type: 'string', description: 'Lower case' },
      outcome: {
        enum: ['trusted', 'untrusted', 'absent', 'unavailable', null],
        description: 'Null until the first look has ended',
      },
      because: { type: ['string', 'null'] },
      since: { type: ['string', 'null'], format: 'date-time', description: 'Of the outcome' },
      probedAt: { type: ['string', 'null'], format: 'date-time' },
      nextProbeAt: { type: 'string', format: 'date-time' },
      endsAt: {
        type: ['string', 'null'],
        format: 'date-time',
        description: 'When nothing can be sent any more, unless a certificate is renewed',
      },
      endsFirst: { type: ['string', 'null'], description: 'Subject of the certificate that ends then' },
      trace: { type: 'array', description: 'With one destination', items: { type: 'object' } },
    },
  },
  Trust: {
    type: 'object',
    properties: {
      anchors: {
        type: 'array',
        items: {
          type: 'object',
          properties: {
            subject: { type: 'string' },
            sha256: { type: 'string', description: 'Fingerprint, hexadecimal' },
            notBefore: { type: 'string', format: 'date-time' },
            notAfter: { type: 'string', format: 'date-time' },
            state: { enum: ['valid', 'expired', 'not-yet-valid'] },
            source: { type: 'string', description: 'File, or name of the bundle' },
            direction: { enum: ['both', 'incoming', 'outgoing'] },
            domain: { type: ['string', 'null'] },
            policies: { type: 'array', items: { type: 'string' } },
          },
        },
      },
      bundles: {
        type: 'array',
        items: {
          type: 'object',
          properties: {
            name: { type: 'string' },
            from: { type: ['string', 'null'], description: 'URL or file; null: imported by hand' },
            direction: { enum: ['both', 'incoming', 'outgoing'] },
            domain: { type: ['string', 'null'] },
            policies: { type: 'array', items: { type: 'string' } },
            anchors: { type: 'integer' },
            form: { type: ['string', 'null'] },
            isSignerRequired: { type: 'boolean' },
            sha256: { type: ['string', 'null'] },
            fetchedAt: { type: ['string', 'null'], format: 'date-time' },
            checkedAt: { type: ['string', 'null'], format: 'date-time' },
            nextCheckAt: { type: ['string', 'null'], format: 'date-time' },
            dropped: { type: 'array', items: { type: 'string' } },
            error: { type: ['object', 'null'] },
            pending: { type: ['object', 'null'] },
            alarms: { type: 'array', items: { type: 'string' } },
          },
        },
      },
    },
  },
} as const
