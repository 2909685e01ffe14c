import { describe, expect, test } from '@jest/globals'
import { readRoutes, routeFor } from '../../src/edge/route.ts'
import { makeSmtpEdge } from '../../src/edge/smtp-edge.ts'

const read = (route: object) => {
  const reading = readRoutes([{ domain: 'direct.somephr.example', url: 'smtp://mx.example', ...route }])
  return reading.valid ? [...reading.routes.values()][0] : reading.problems
}

describe('edge.routes', () => {
  test('TLS is required and verified for a host name unless the route says otherwise', () => {
    expect(read({})).toEqual({
      host: 'mx.example',
      port: 25,
      implicitTls: false,
      starttls: 'required',
      verify: true,
    })
    expect(read({ url: 'smtps://mx.example' })).toMatchObject({ port: 465, implicitTls: true, verify: true })
    expect(read({ url: 'smtp://127.0.0.1:2626' })).toMatchObject({
      host: '127.0.0.1',
      port: 2626,
      verify: false,
    })
    expect(read({ url: 'smtp://[::1]:2626' })).toMatchObject({ host: '::1', verify: false })
    expect(read({ url: 'smtp://10.0.0.1', user: 'a', password: 'b' })).toMatchObject({ verify: true })
    expect(read({ verify: false })).toMatchObject({ verify: false, starttls: 'required' })
  })

  test('a route that takes clear text verifies no certificate', () => {
    expect(read({ starttls: 'opportunistic' })).toMatchObject({ verify: false, starttls: 'opportunistic' })
    expect(read({ starttls: 'none' })).toMatchObject({ verify: false, starttls: 'none' })
  })

  test.each([
    [{ url: 'mx.example' }, 'must look like'],
    [{ url: 'http://mx.example' }, 'must look like'],
    [{ url: 'lmtp://mx.example' }, 'must look like'],
    [{ url: 'smtp://user:secret@mx.example' }, 'no credentials'],
    [{ url: 'smtp://mx.example/path' }, 'ends after the port'],
    [{ url: 'smtps://mx.example', starttls: 'none' }, 'no meaning'],
    [{ user: 'a', password: 'b', starttls: 'none' }, 'needs TLS'],
    [{ verify: true, starttls: 'opportunistic' }, 'needs TLS'],
    [{ user: 'a' }, 'go together'],
    [{ domain: 'not a domain' }, 'recipient domain'],
  ])('%j is a problem, named with its route', (route, words) => {
    const problems = read(route) as string[]
    expect(problems).toEqual([expect.stringContaining(words)])
    expect(problems[0]).toContain('edge.routes["')
    expect(problems[0]).not.toContain('secret')
  })

  test('a domain’s own route comes before *', () => {
    const reading = readRoutes([
      { domain: '*', url: 'smtp://relay.example' },
      { domain: 'Direct.SomePHR.example', url: 'smtp://mx.example' },
    ])
    if (!reading.valid) throw new Error(reading.problems.join())
    expect(routeFor(reading.routes, 'direct.somephr.EXAMPLE')?.host).toBe('mx.example')
    expect(routeFor(reading.routes, 'other.example')?.host).toBe('relay.example')
    expect(routeFor(new Map(), 'other.example')).toBeUndefined()
  })

  test('every problem is reported at once', () => {
    expect(() =>
      makeSmtpEdge({
        type: 'sta',
        name: 'x.example',
        routes: [
          { domain: 'a.example', url: 'nonsense' },
          { domain: 'b.example', url: 'smtp://b.example', user: 'u' },
        ],
      }),
    ).toThrow(/a\.example[\s\S]*b\.example/)
  })

  test('an external HISP needs the route for everything', () => {
    expect(() => makeSmtpEdge({ type: 'smtp', name: 'x.example' })).toThrow('needs a route for *')
  })
})
