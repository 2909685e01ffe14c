import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { readNotification } from '../../src/intake/fhir-notification.ts'

const parameters = (...parts: object[]) => ({
  resourceType: 'Bundle',
  type: 'history',
  entry: [{ resource: { resourceType: 'Parameters', parameter: parts } }],
})
const status = (fields: object, ...entries: object[]) => ({
  resourceType: 'Bundle',
  type: 'subscription-notification',
  entry: [{ resource: { resourceType: 'SubscriptionStatus', ...fields } }, ...entries],
})

test('an empty body says that something changed, and not what', () => {
  for (const body of [undefined, null, '', 7, [], {}])
    expect(readNotification(body)).toEqual({ type: 'event', focuses: [], eventNumbers: [] })
})

test('a resource names itself (R4 rest-hook with payload)', () => {
  expect(readNotification({ resourceType: 'Encounter', id: '7', status: 'finished' })).toMatchObject({
    type: 'event',
    focuses: ['Encounter/7'],
  })
})

test('Backport R4: numbers are texts, references have a name of their own', () => {
  expect(
    readNotification(
      parameters(
        { name: 'subscription', valueReference: { reference: 'Subscription/s1' } },
        { name: 'status', valueCode: 'active' },
        { name: 'type', valueCode: 'event-notification' },
        { name: 'events-since-subscription-start', valueString: '9007199254740993' },
        {
          name: 'notification-event',
          part: [
            { name: 'event-number', valueString: '9007199254740993' },
            { name: 'focus', valueReference: { reference: 'Encounter/7' } },
          ],
        },
      ),
    ),
  ).toEqual({
    type: 'event',
    subscription: 'Subscription/s1',
    focuses: ['Encounter/7'],
    // Beyond what a JavaScript number can tell apart.
    eventNumbers: [9007199254740993n],
    eventsSinceStart: 9007199254740993n,
  })
})

test('a server that writes the subscription as a text, and numbers as numbers, is read as well', () => {
  expect(
    readNotification(
      parameters(
        { name: 'subscription', valueString: 'Subscription/s1' },
        { name: 'type', valueCode: 'heartbeat' },
        { name: 'events-since-subscription-start', valueUnsignedInt: 5 },
      ),
    ),
  ).toMatchObject({ type: 'heartbeat', subscription: 'Subscription/s1', eventsSinceStart: 5n })
})

test('R4B and R5: several events in one notification', () => {
  expect(
    readNotification(
      status(
        {
          type: 'event-notification',
          eventsSinceSubscriptionStart: '12',
          notificationEvent: [
            { eventNumber: '11', focus: { reference: 'Encounter/a' } },
            { eventNumber: 12, focus: { reference: 'Encounter/b' } },
          ],
          subscription: { reference: 'https://clinic.example/fhir/Subscription/s1' },
        },
        { resource: { resourceType: 'Encounter', id: 'a' } },
      ),
    ),
  ).toMatchObject({
    focuses: ['Encounter/a', 'Encounter/b'],
    eventNumbers: [11n, 12n],
    eventsSinceStart: 12n,
  })
})

test('ballots before R5 named the focus beside the status only', () => {
  expect(
    readNotification(
      status(
        { notificationType: 'event-notification', eventsInNotification: 1 },
        { fullUrl: 'https://clinic.example/fhir/Encounter/a', request: { method: 'POST', url: 'Encounter' } },
      ),
    ),
  ).toMatchObject({ type: 'event', focuses: ['https://clinic.example/fhir/Encounter/a'] })
})

test('handshakes, heartbeats and errors are told apart', () => {
  const typeOf = (fields: object) => readNotification(status(fields)).type
  expect(typeOf({ type: 'handshake', eventsSinceSubscriptionStart: '0' })).toBe('handshake')
  expect(typeOf({ type: 'heartbeat', eventsSinceSubscriptionStart: '3' })).toBe('heartbeat')
  expect(typeOf({ type: 'query-status', status: 'error', error: [{ text: 'x' }] })).toBe('error')
})

test('a message names its focus ($process-message)', () => {
  expect(
    readNotification({
      resourceType: 'Bundle',
      type: 'message',
      entry: [
        { resource: { resourceType: 'MessageHeader', focus: [{ reference: 'Encounter/e1' }] } },
        { resource: { resourceType: 'Encounter', id: 'e1' } },
      ],
    }),
  ).toMatchObject({ focuses: ['Encounter/e1'] })
})

test('whatever the JSON, it is read as something, and never fails', () => {
  fc.assert(
    fc.property(
      fc.jsonValue(),
      fc.constantFrom('Parameters', 'SubscriptionStatus', 'MessageHeader'),
      (value, type) => {
        const shapes = [
          value,
          { resourceType: 'Bundle', entry: value },
          { resourceType: 'Bundle', entry: [{ resource: value }] },
          {
            resourceType: 'Bundle',
            entry: [{ resource: { resourceType: type, parameter: value, notificationEvent: value } }],
          },
          {
            resourceType: 'Bundle',
            entry: [{ resource: { resourceType: type, parameter: [value], focus: value } }, value],
          },
        ]
        for (const shape of shapes) {
          const { focuses, eventNumbers } = readNotification(shape)
          expect(focuses.every((focus) => typeof focus === 'string')).toBe(true)
          expect(eventNumbers.every((number) => typeof number === 'bigint')).toBe(true)
        }
      },
    ),
    { numRuns: 2000 },
  )
})

const corpus = process.env['BLUEPOST_CORPUS']
const expected: Record<string, object> = {
  'candle__r4_Bundle-notification-handshake.json': { type: 'handshake', focuses: [] },
  'candle__r4_Bundle-notification-id.json': { type: 'event' },
  'inferno__empty_notification_bundle_example.json': { type: 'event' },
  'inferno__full_resource_notification_bundle_example.json': { type: 'event' },
  'inferno__handshake_bundle_example.json': { type: 'handshake', focuses: [] },
  'inferno__heartbeat_bundle_example.json': { type: 'heartbeat' },
  'inferno__id_only_notification_bundle_example.json': { type: 'event' },
  'alerts__discharge-notification-message-bundle-01.json': { type: 'event' },
  'alerts__admit-notification-message-bundle-01.json': { type: 'event' },
}

// Where BLUEPOST_CORPUS names the folder that holds them; without it this checks nothing.
test('notifications of other servers', () => {
  if (corpus === undefined) return
  const folder = join(corpus, 'fhir-subscription')
  const parsed = (name: string): unknown =>
    JSON.parse(readFileSync(join(folder, name), 'utf8').replace(/^\ufeff/, ''))
  for (const [name, wanted] of Object.entries(expected)) {
    const read = readNotification(parsed(name))
    expect([name, read]).toMatchObject([name, wanted])
    // An event that names its focus is fetched; an empty one is searched for.
    if (read.type === 'event')
      expect([name, read.focuses.length > 0]).toEqual([name, !/__empty|^alerts__/.test(name)])
  }
  for (const name of readdirSync(folder)) if (name.endsWith('.json')) readNotification(parsed(name))
})
