import { afterAll, beforeAll, expect, test } from '@jest/globals'
import type { FhirServerPorts } from '../../src/documents/fhir-door.ts'
import { fhirServer, isId } from '../../src/documents/fhir-server.ts'
import { aSetting, bundle, json, startAnswering, type AnsweringServer } from './answering-server.ts'

let clinic: AnsweringServer
let elsewhere: AnsweringServer
/** What the server was made to wait between attempts, instead of waiting. */
let pauses: number[] = []
const ports: FhirServerPorts = {
  pause: (ms) => Promise.resolve(pauses.push(ms)),
  now: () => new Date('2026-06-01T12:00:00Z'),
}

beforeAll(async () => {
  ;[clinic, elsewhere] = await Promise.all([startAnswering(), startAnswering()])
})
afterAll(() => Promise.all([clinic.close(), elsewhere.close()]))

function aServer(changes: Parameters<typeof aSetting>[1] = {}, morePorts: FhirServerPorts = {}) {
  pauses = []
  return fhirServer(aSetting(clinic.base, changes), { ...ports, ...morePorts })
}

const patient = (id: string) => ({ resourceType: 'Patient', id })

test('a resource is read by its id; one that is not there is undefined', async () => {
  clinic.answer((_, response) => json(response, patient('7')))
  expect(await aServer().read('Patient', '7')).toEqual(patient('7'))
  expect(clinic.asked[0]).toMatchObject({ method: 'GET', path: '/fhir/Patient/7' })
  expect(clinic.asked[0]!.headers.accept).toBe('application/fhir+json')

  for (const status of [404, 410]) {
    clinic.answer((_, response) => json(response, { resourceType: 'OperationOutcome' }, status))
    expect(await aServer().read('Patient', '7')).toBeUndefined()
  }
})

test('a base URL may end with slashes, and its path stays', async () => {
  clinic.answer((_, response) => json(response, patient('7')))
  await fhirServer(aSetting(`${clinic.base}//`), ports).read('Patient', '7')
  expect(clinic.asked[0]!.path).toBe('/fhir/Patient/7')
})

test.each([
  'ftp://host/fhir',
  'http://user:pw@host/fhir',
  'https://host/fhir?tenant=1',
  'https://host/fhir#x',
])('the base URL %s is refused at the start, with the key to correct', (baseUrl) => {
  expect(() => fhirServer(aSetting(baseUrl))).toThrow('fhirServers.clinic.baseUrl')
})

test.each(['../../admin?x=1#', '..', '.', '', 'a/b', 'a b', 'a?b', 'ä', 'x'.repeat(65), '%2e%2e'])(
  'the id “%s” never leaves its place in a URL: nothing is asked',
  async (id) => {
    clinic.answer((_, response) => json(response, patient(id)))
    expect(isId(id)).toBe(false)
    await expect(aServer().read('Patient', id)).rejects.toMatchObject({ code: 'fhir-refused' })
    expect(clinic.asked).toEqual([])
  },
)

test('an answer about another resource than the one asked for is refused', async () => {
  clinic.answer((_, response) => json(response, patient('8')))
  await expect(aServer().read('Patient', '7')).rejects.toMatchObject({ code: 'fhir-refused' })
})

test('search values arrive as they are, whatever characters they have', async () => {
  clinic.answer((_, response) => json(response, bundle([])))
  const identifier = 'urn:oid:1.2|A&B=C #1+\\,2\\|3%41é'
  await aServer().search('Patient', { identifier, _count: '5' })
  const url = new URL(clinic.asked[0]!.path, clinic.origin)
  expect(url.pathname).toBe('/fhir/Patient')
  expect([...url.searchParams]).toEqual([
    ['identifier', identifier],
    ['_count', '5'],
  ])
})

test('pages are followed, and only matches of the type are taken', async () => {
  clinic.answer(({ path }, response) => {
    const page = Number(new URL(path, clinic.origin).searchParams.get('page') ?? 1)
    const included = { resource: patient('included'), search: { mode: 'include' } }
    const other = { resource: { resourceType: 'OperationOutcome' }, search: { mode: 'outcome' } }
    const found = bundle(
      [patient(`p${page}`)],
      page < 3 ? `${clinic.base}/Patient?page=${page + 1}` : undefined,
    )
    json(response, { ...found, entry: [...(found as { entry: object[] }).entry, included, other, null, {}] })
  })
  const found = await aServer().search('Patient', { family: 'x' })
  expect(found.map(({ id }) => id)).toEqual(['p1', 'p2', 'p3'])
})

test.each(['Patient?page=2', '/fhir/Patient?page=2'])('a next link may be relative: %s', async (next) => {
  clinic.answer(({ path }, response) =>
    json(response, path.includes('page=2') ? bundle([patient('2')]) : bundle([patient('1')], next)),
  )
  await aServer().search('Patient', {})
  expect(clinic.asked[1]!.path).toBe('/fhir/Patient?page=2')
})

test('a server whose pages never end is left after five', async () => {
  clinic.answer((_, response, nth) =>
    json(response, bundle([patient(`p${nth}`)], `${clinic.base}/Patient?n=${nth}`)),
  )
  expect(await aServer().search('Patient', {})).toHaveLength(5)
  expect(clinic.asked).toHaveLength(5)
})

test('a next page on another host is not asked, and our credentials stay at home', async () => {
  elsewhere.answer((_, response) => json(response, bundle([])))
  clinic.answer((_, response) => json(response, bundle([patient('1')], `${elsewhere.base}/Patient?page=2`)))
  const server = aServer({ auth: { type: 'bearer', token: 's3cret' } })
  await expect(server.search('Patient', {})).rejects.toMatchObject({
    code: 'fhir-refused',
    because: expect.stringContaining(elsewhere.origin),
  })
  expect(elsewhere.asked).toEqual([])
})

test('a redirect is followed on the same origin, a few times, and nowhere else', async () => {
  clinic.answer(({ path }, response) =>
    path.startsWith('/moved')
      ? json(response, patient('7'))
      : void response.writeHead(307, { location: '/moved/Patient/7' }).end(),
  )
  expect(await aServer().read('Patient', '7')).toEqual(patient('7'))

  clinic.answer(
    (_, response) => void response.writeHead(302, { location: `${elsewhere.base}/Patient/7` }).end(),
  )
  await expect(aServer({ attachmentOrigins: [elsewhere.origin] }).read('Patient', '7')).rejects.toMatchObject(
    {
      code: 'fhir-refused',
      because: expect.stringContaining('redirects to another host'),
    },
  )
  expect(elsewhere.asked).toEqual([])

  clinic.answer((_, response, nth) => void response.writeHead(302, { location: `/again/${nth}` }).end())
  await expect(aServer().read('Patient', '7')).rejects.toMatchObject({ code: 'fhir-refused' })
  expect(clinic.asked).toHaveLength(4)
})

test.each([429, 502, 503, 504])(
  '%i is asked again, with growing pauses, three times in all',
  async (status) => {
    clinic.answer((_, response) => void response.writeHead(status).end())
    await expect(aServer().read('Patient', '7')).rejects.toMatchObject({
      code: 'fhir-unavailable',
      detail: { status },
    })
    expect(clinic.asked).toHaveLength(3)
    expect(pauses).toEqual([500, 2000])
  },
)

test.each([
  ['seconds', '2', 2000],
  ['an HTTP date', 'Mon, 01 Jun 2026 12:00:07 GMT', 7000],
  ['a date in the past', 'Mon, 01 Jun 2026 11:00:00 GMT', 0],
  ['nonsense', 'soon', 500],
])('Retry-After is honoured: %s', async (_, header, pauseMs) => {
  clinic.answer((__, response, nth) =>
    nth === 1 ? void response.writeHead(503, { 'retry-after': header }).end() : json(response, patient('7')),
  )
  expect(await aServer().read('Patient', '7')).toEqual(patient('7'))
  expect(pauses).toEqual([pauseMs])
})

test('a server that wants a long pause is left alone, and the pause is handed on', async () => {
  clinic.answer((_, response) => void response.writeHead(503, { 'retry-after': '120' }).end())
  await expect(aServer().read('Patient', '7')).rejects.toMatchObject({
    code: 'fhir-unavailable',
    detail: { status: 503, retryAfterMs: 120_000 },
  })
  expect(clinic.asked).toHaveLength(1)
})

test('what was posted is not posted again by itself', async () => {
  clinic.answer((_, response) => void response.writeHead(503).end())
  const parameters = { resourceType: 'Parameters' }
  await expect(aServer().operation('DocumentReference', '$docref', parameters)).rejects.toMatchObject({
    code: 'fhir-unavailable',
  })
  expect(clinic.asked).toHaveLength(1)
})

test.each([
  [400, 'fhir-refused'],
  [401, 'fhir-refused'],
  [403, 'fhir-refused'],
  [406, 'fhir-refused'],
  [408, 'fhir-unavailable'],
  [500, 'fhir-unavailable'],
])('%i means %s, and of what the server says only the issue code is told', async (status, code) => {
  const outcome = {
    resourceType: 'OperationOutcome',
    issue: [{ code: 'forbidden', diagnostics: 'Ellen Ross' }, { code: 'ELLEN ROSS' }, null],
  }
  clinic.answer((_, response) => json(response, outcome, status))
  const failure = await aServer()
    .read('Patient', '7')
    .catch((error: unknown) => error)
  expect(failure).toMatchObject({
    code,
    because: expect.stringContaining(`clinic answered ${status} (forbidden)`),
  })
  expect(String(failure)).not.toMatch(/Ellen|ELLEN/)
})

test.each([
  ['a login page', 'text/html', '<html>Ellen Ross</html>'],
  ['cut JSON', 'application/fhir+json', '{"resourceType":"Pat'],
  ['JSON that is no resource', 'application/json', '{"id":"7"}'],
  ['a list', 'application/json', '[]'],
  ['nothing', 'application/json', ''],
  ['an OperationOutcome', 'application/fhir+json', '{"resourceType":"OperationOutcome"}'],
])('200 with %s is a refusal', async (_, contentType, body) => {
  clinic.answer((__, response) => void response.writeHead(200, { 'content-type': contentType }).end(body))
  const failure = await aServer()
    .search('Patient', {})
    .catch((error: unknown) => error)
  expect(failure).toMatchObject({ code: 'fhir-refused' })
  expect(String(failure)).not.toContain('Ellen')
})

test('a byte order mark before the JSON does not matter', async () => {
  clinic.answer((_, response) => void response.end(`\uFEFF${JSON.stringify(patient('7'))}`))
  expect(await aServer().read('Patient', '7')).toEqual(patient('7'))
})

test.each([400, 404, 405, 422, 501])(
  'an operation answered with %i is one the server does not have',
  async (status) => {
    clinic.answer((_, response) => json(response, { resourceType: 'OperationOutcome' }, status))
    expect(await aServer().operation('DocumentReference', '$docref', { patient: '7' })).toBeUndefined()
    expect(clinic.asked[0]).toMatchObject({
      method: 'GET',
      path: '/fhir/DocumentReference/$docref?patient=7',
    })
  },
)

test('parameters go by POST where there is more to say', async () => {
  clinic.answer((_, response) => json(response, bundle([{ resourceType: 'DocumentReference', id: 'd' }])))
  const parameters = { resourceType: 'Parameters', parameter: [{ name: 'patient', valueId: '7' }] }
  expect(await aServer().operation('DocumentReference', '$docref', parameters)).toHaveLength(1)
  expect(clinic.asked[0]).toMatchObject({ method: 'POST', path: '/fhir/DocumentReference/$docref' })
  expect(clinic.asked[0]!.headers['content-type']).toContain('json')
  expect(JSON.parse(clinic.asked[0]!.body)).toEqual(parameters)
})

test('a server that says nothing is given up after its time, attempt by attempt', async () => {
  clinic.answer(() => {})
  await expect(aServer({ timeoutMs: 50 }).read('Patient', '7')).rejects.toMatchObject({
    code: 'fhir-unavailable',
    because: expect.stringContaining('within 50 ms'),
  })
  expect(clinic.asked).toHaveLength(3)
})

test('a server that begins and never ends is given up as well', async () => {
  clinic.answer((_, response) => void response.writeHead(200).write('{'))
  await expect(aServer({ timeoutMs: 50 }).read('Patient', '7')).rejects.toMatchObject({
    code: 'fhir-unavailable',
  })
})

test('a connection that breaks is tried again', async () => {
  clinic.answer((_, response, nth) => (nth === 1 ? void response.destroy() : json(response, patient('7'))))
  expect(await aServer().read('Patient', '7')).toEqual(patient('7'))
})

test('where nobody listens the reason names the host and the system’s word, and no path', async () => {
  const gone = await startAnswering()
  await gone.close()
  const failure = await fhirServer(aSetting(gone.base), ports)
    .read('Patient', '7')
    .catch((error: unknown) => error)
  expect(failure).toMatchObject({
    code: 'fhir-unavailable',
    because: expect.stringContaining('ECONNREFUSED'),
  })
  expect(String(failure)).not.toContain('Patient')
})

test('stopping ends what is underway, also between two attempts', async () => {
  const stop = new AbortController()
  clinic.answer(() => stop.abort())
  await expect(aServer({}, { signal: stop.signal }).read('Patient', '7')).rejects.toMatchObject({
    code: 'fhir-unavailable',
    because: expect.stringContaining('stopping'),
  })

  const later = new AbortController()
  clinic.answer((_, response) => {
    response.on('close', () => later.abort())
    response.writeHead(503).end()
  })
  const { pause: _, ...real } = ports
  const server = fhirServer(aSetting(clinic.base), { ...real, signal: later.signal })
  await expect(server.read('Patient', '7')).rejects.toMatchObject({
    code: 'fhir-unavailable',
    because: expect.stringContaining('stopping'),
  })
})
