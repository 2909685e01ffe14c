import { readFileSync } from 'node:fs'
import { SaxesParser } from 'saxes'
import { expect, test } from '@jest/globals'

/** Every element with text, by its path below `channel`. Throws where the file is not well-formed. */
function valuesIn(xml: string): Map<string, string[]> {
  const values = new Map<string, string[]>()
  const path: string[] = []
  let text = ''
  const parser = new SaxesParser()
  parser.on('error', (error) => {
    throw error
  })
  parser.on('opentag', ({ name, attributes }) => {
    path.push(name)
    text = ''
    const { class: type } = attributes as { class?: string }
    if (type !== undefined) values.set(`${path.join('/')}@class`, [type])
  })
  parser.on('text', (more) => (text += more))
  parser.on('closetag', () => {
    const key = path.join('/')
    if (text.trim() !== '') values.set(key, [...(values.get(key) ?? []), text.trim()])
    path.pop()
    text = ''
  })
  parser.write(xml).close()
  return values
}

test('the Mirth channel queues without end, in order, byte for byte, and minds what bluepost answers', () => {
  const values = valuesIn(readFileSync('docs/feeders/mirth-adt-to-bluepost.xml', 'utf8'))
  const of = (path: string) => values.get(`channel/${path}`)
  const destination = 'destinationConnectors/connector/properties'
  const queue = `${destination}/destinationConnectorProperties`
  expect({
    queued: of(`${queue}/queueEnabled`),
    first: of(`${queue}/sendFirst`),
    retries: of(`${queue}/retryCount`),
    threads: of(`${queue}/threadCount`),
    validated: of(`${queue}/validateResponse`),
    ignored: of(`${destination}/ignoreResponse`),
    onTimeout: of(`${destination}/queueOnResponseTimeout`),
    what: of(`${destination}/template`),
    framing: of(`${destination}/transmissionModeProperties@class`),
    begin: of(`${destination}/transmissionModeProperties/startOfMessageBytes`),
    end: of(`${destination}/transmissionModeProperties/endOfMessageBytes`),
  }).toEqual({
    queued: ['true'],
    first: ['false'],
    retries: ['0'],
    threads: ['1'],
    validated: ['true'],
    ignored: ['false'],
    onTimeout: ['true'],
    what: ['${message.rawData}'],
    framing: ['com.mirth.connect.plugins.mllpmode.MLLPModeProperties'],
    begin: ['0B'],
    end: ['1C0D'],
  })
  const validation =
    'destinationConnectors/connector/responseTransformer/inboundProperties/responseValidationProperties'
  expect([
    of(`${validation}/successfulACKCode`),
    of(`${validation}/errorACKCode`),
    of(`${validation}/rejectedACKCode`),
    of(`${validation}/validateMessageControlId`),
  ]).toEqual([['AA,CA'], ['AE,CE'], ['AR,CR'], ['true']])
})

test('the subscriptions in the page are JSON, and name the path that is listened on', () => {
  const page = readFileSync('docs/feeders/README.md', 'utf8')
  const examples = [...page.matchAll(/```json\n(.*?)```/gs)].map(([, json]) => JSON.parse(json!) as unknown)
  expect(examples).toHaveLength(2)
  for (const example of examples)
    expect(example).toMatchObject({
      resourceType: 'Subscription',
      criteria: 'Encounter?status=finished',
      channel: {
        type: 'rest-hook',
        endpoint: expect.stringMatching(/\/fhir\/subscription\/encounter-finished$/),
        header: [expect.stringMatching(/^X-Subscription-Secret: /)],
      },
    })
})
