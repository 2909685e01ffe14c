import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { makeGuardedFetch } from '../../src/lib/guarded-fetch.ts'
import { makeRevocation } from '../../src/trust/revocation.ts'
import { servePki, type PkiServer } from '../neighbours/pki-server.ts'
import { makeCrl, serialOf } from '../pki/crl.ts'
import { makeRoot, pemOf, type Issued } from '../pki/pki.ts'
import type { CrlCase } from '../pki/revocations/crl-case.ts'
import { everyCrl } from '../pki/revocations/every-crl.ts'
import { certificateOf, statusOf } from '../trust/revocation-checks.ts'

/** openssl shares no code with ours: each of its verdicts has to agree, or the case says why it does not. */
let folder: string
let pki: PkiServer
beforeAll(async () => {
  if (spawnSync('openssl', ['version']).status !== 0)
    throw new Error('the openssl binary is missing: apt-get install openssl')
  folder = mkdtempSync(join(tmpdir(), 'revocation-'))
  pki = await servePki()
})
afterAll(async () => {
  await pki.close()
  rmSync(folder, { recursive: true, force: true })
})

function openssl(...words: string[]): string {
  const ran = spawnSync('openssl', words, { encoding: 'utf8', cwd: folder })
  if (ran.status !== 0) throw new Error(`openssl ${words.join(' ')}\n${ran.stdout}${ran.stderr}`)
  return ran.stdout + ran.stderr
}

function file(name: string, content: string | Buffer): string {
  const path = join(folder, name)
  writeFileSync(path, content)
  return path
}

const check = () =>
  makeRevocation({ fetch: makeGuardedFetch({ allowPrivateAddresses: true }), mode: 'hard-fail', graceMs: 0 })

for (const { about, cases } of everyCrl)
  describe(`openssl verify -crl_check: ${about}`, () => {
    test.each(cases.map((one) => [verdictOf(one), one.what, one] as const))('%s %s', (_, _what, given) => {
      const { accepts, said } = askOpenssl(given)
      expect({ said, accepts }).toEqual({ said, accepts: isAccepted(given) })
    })
  })

function isAccepted({ expected, opensslDiffersBecause }: CrlCase): boolean {
  return (expected === 'good') === (opensslDiffersBecause === undefined)
}

function verdictOf(given: CrlCase): string {
  const says = isAccepted(given) ? 'accepts' : 'refuses'
  return given.opensslDiffersBecause === undefined
    ? `${says}, as we do:`
    : `${says} and we do not (${given.opensslDiffersBecause}):`
}

function askOpenssl({ certificate, issuer, complete, delta, at }: CrlCase) {
  const lists = [complete, ...(delta === undefined ? [] : [delta])]
  const ran = spawnSync(
    'openssl',
    [
      'verify',
      '-crl_check',
      ...(delta === undefined ? [] : ['-use_deltas', '-extended_crl']),
      ...['-auth_level', '2', '-attime', String(at.getTime() / 1000)],
      ...['-CAfile', file('root.pem', issuer.certificatePem)],
      ...['-CRLfile', file('lists.pem', lists.map((list) => armoured(list)).join(''))],
      file('leaf.pem', pemOf(certificate)),
    ],
    { encoding: 'utf8' },
  )
  return { accepts: ran.status === 0, said: (ran.stdout + ran.stderr).trim() }
}

describe('openssl verify -crl_check_all', () => {
  const root = makeRoot({ keyType: 'ec256' })
  const authority = root.issueAuthority({ keyType: 'ec256', crlUrls: ['http://crl.example/root.crl'] })
  const leaf = authority.issue({ keyType: 'ec256', crlUrls: ['http://crl.example/authority.crl'] })
  const listed = ({ certificate }: Issued) => ({ revoked: [{ serial: serialOf(certificate) }] })

  test.each([
    ['accepts, as we do: nobody is revoked', makeCrl(root), makeCrl(authority), ['good', 'good']],
    ['refuses, as we do: the leaf is', makeCrl(root), makeCrl(authority, listed(leaf)), ['revoked', 'good']],
    [
      'refuses, as we do: the authority is',
      makeCrl(root, listed(authority)),
      makeCrl(authority),
      ['good', 'revoked'],
    ],
    ['refuses, as we do: the list of the root is gone', undefined, makeCrl(authority), ['good', 'unknown']],
    ['refuses, as we do: the list of the authority is gone', makeCrl(root), undefined, ['unknown', 'good']],
    [
      'refuses, as we do: the authority signs the list of the root',
      makeCrl(authority, { issuerName: root.subjectName }),
      makeCrl(authority),
      ['good', 'unknown'],
    ],
  ] as const)('%s', async (_, ofRoot, ofAuthority, expected) => {
    const lists = [ofRoot, ofAuthority].filter((list) => list !== undefined)
    const ran = spawnSync(
      'openssl',
      [
        ...['verify', '-crl_check_all', '-CAfile', file('all-root.pem', root.certificatePem)],
        ...['-untrusted', file('all-authority.pem', authority.certificatePem)],
        ...['-CRLfile', file('all-lists.pem', lists.map(armoured).join(''))],
        file('all-leaf.pem', leaf.certificatePem),
      ],
      { encoding: 'utf8' },
    )
    const places = {
      ...(ofRoot === undefined ? {} : { 'http://crl.example/root.crl': ofRoot }),
      ...(ofAuthority === undefined ? {} : { 'http://crl.example/authority.crl': ofAuthority }),
    }
    const ours = [
      await statusOf(places, leaf, authority, new Date()),
      await statusOf(places, authority, root, new Date()),
    ].map(({ status }) => status)
    expect(ours).toEqual(expected)
    expect({ said: ran.stderr, accepts: ran.status === 0 }).toEqual({
      said: ran.stderr,
      accepts: ours.every((status) => status === 'good'),
    })
  })
})

function armoured(list: Buffer): string {
  const lines = list.toString('base64').match(/.{1,64}/g) ?? []
  return `-----BEGIN X509 CRL-----\n${lines.join('\n')}\n-----END X509 CRL-----\n`
}

describe('lists made by openssl ca', () => {
  /** A folder as `openssl ca` wants it, for an authority of ours. */
  function aCa(keyType: 'rsa2048' | 'ec256') {
    const issuer = makeRoot({ keyType })
    const names = { cert: 'ca.pem', key: 'ca.key', database: 'database.txt', number: 'crlnumber' }
    file(names.cert, issuer.certificatePem)
    file(names.key, issuer.privateKeyPem)
    file(names.database, '')
    file('database.txt.attr', 'unique_subject = no\n')
    file(names.number, '1000\n')
    file(
      'ca.cnf',
      [
        '[ca]\ndefault_ca = our',
        `[our]\ndatabase = ${folder}/database.txt\ncrlnumber = ${folder}/crlnumber`,
        `certificate = ${folder}/ca.pem\nprivate_key = ${folder}/ca.key`,
        'default_md = sha256\ndefault_crl_days = 2\npolicy = any\nserial = serial\ncrl_extensions = more',
        '[any]\ncommonName = optional',
        '[more]\nauthorityKeyIdentifier = keyid',
      ].join('\n'),
    )
    const revoke = (issued: Issued, ...words: string[]) =>
      openssl('ca', '-config', 'ca.cnf', '-revoke', file('gone.pem', issued.certificatePem), ...words)
    const list = () => {
      openssl('ca', '-config', 'ca.cnf', '-gencrl', '-out', 'list.pem')
      openssl('crl', '-in', 'list.pem', '-outform', 'DER', '-out', 'list.der')
      return readFileSync(join(folder, 'list.der'))
    }
    return { issuer, revoke, list }
  }

  test.each([
    ['rsa2048', [], undefined],
    ['ec256', ['-crl_reason', 'keyCompromise'], 'keyCompromise'],
    ['rsa2048', ['-crl_hold', 'holdInstructionReject'], 'certificateHold'],
    ['ec256', ['-crl_compromise', '20260101000000Z'], 'keyCompromise'],
    ['rsa2048', ['-crl_reason', 'superseded'], 'superseded'],
  ] as const)('%s %j', async (keyType, words, reason) => {
    const { issuer, revoke, list } = aCa(keyType)
    const crlUrls = [pki.url('/ca.crl')]
    const [kept, gone] = [issuer.issue({ keyType, crlUrls }), issuer.issue({ keyType, crlUrls })]
    pki.put('/ca.crl', { is: 'crl', bytes: list() })
    const ask = (issued: Issued) => check()(certificateOf(issued), certificateOf(issuer), [], new Date())
    expect(await ask(gone)).toMatchObject({ status: 'good' })
    revoke(gone, ...words)
    pki.put('/ca.crl', { is: 'crl', bytes: list() })
    expect(await ask(kept)).toMatchObject({ status: 'good', source: crlUrls[0] })
    const answer = await ask(gone)
    expect(answer).toMatchObject({ status: 'revoked', ...(reason === undefined ? {} : { reason }) })
    expect(answer).not.toHaveProperty(reason === undefined ? 'reason' : 'nothing')
  })
})

describe('openssl ocsp as the responder', () => {
  let responder: ChildProcess | undefined
  const stop = async () => {
    if (responder === undefined || responder.exitCode !== null) return
    responder.kill('SIGKILL')
    await once(responder, 'exit')
  }
  afterAll(stop)

  /** On a free port, with an index in which one is valid and one is revoked; the third is in no book. */
  async function aResponder(
    issuer: Issued,
    signer: Issued,
    known: readonly [Issued, Issued],
    words: string[],
  ) {
    await stop()
    const hex = (issued: Issued) => {
      const text = serialOf(issued.certificate).toString(16).toUpperCase()
      return text.length % 2 === 1 ? `0${text}` : text
    }
    file('index.txt.attr', 'unique_subject = no\n')
    file(
      'index.txt',
      [
        `V\t361231235959Z\t\t${hex(known[0])}\tunknown\t/CN=kept`,
        `R\t361231235959Z\t260101000000Z,superseded\t${hex(known[1])}\tunknown\t/CN=gone`,
        '',
      ].join('\n'),
    )
    const port = await freePort()
    file('responder.key', signer.privateKeyPem)
    responder = spawn(
      'openssl',
      [
        ...['ocsp', '-port', String(port), '-index', 'index.txt'],
        ...['-CA', file('issuer.pem', issuer.certificatePem)],
        ...['-rsigner', file('responder.pem', signer.certificatePem), '-rkey', 'responder.key'],
        ...words,
      ],
      { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] },
    )
    await waits(responder)
    return `http://127.0.0.1:${port}/`
  }

  async function freePort(): Promise<number> {
    const server = net.createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as net.AddressInfo
    server.close()
    await once(server, 'close')
    return port
  }

  /** It serves one connection at a time, and one that says nothing holds it up: so nobody knocks to find out. */
  async function waits(child: ChildProcess): Promise<void> {
    let said = ''
    for (const stream of [child.stdout!, child.stderr!])
      stream.on('data', (text: Buffer) => {
        said += text.toString()
        if (said.includes('waiting for OCSP client')) child.emit('waits')
      })
    const ended = once(child, 'exit').then(() => Promise.reject(new Error(`openssl ocsp: ${said}`)))
    await Promise.race([once(child, 'waits'), ended])
    ended.catch(() => {})
  }

  test.each([
    ['the authority itself', 'rsa2048', 'none', ['-nmin', '60']],
    ['a delegate', 'rsa2048', 'delegate', ['-nmin', '60']],
    ['a delegate with an EC key', 'ec256', 'delegate', ['-nmin', '60']],
    ['a delegate, named by its key', 'rsa2048', 'delegate', ['-nmin', '60', '-resp_key_id']],
    ['without nextUpdate', 'ec256', 'delegate', []],
    ['signed with SHA-384', 'rsa2048', 'delegate', ['-nmin', '60', '-rmd', 'sha384']],
  ] as const)('%s (%s): good, revoked and unknown', async (_, keyType, who, words) => {
    const issuer = makeRoot({ keyType })
    const signer =
      who === 'none'
        ? issuer
        : issuer.issue({
            keyType,
            name: 'Responder',
            keyUsage: ['digitalSignature'],
            extendedKeyUsage: ['1.3.6.1.5.5.7.3.9'],
          })
    // The place has to be in the certificate before the responder knows its port: it is told to the check by a detour.
    const path = '/ocsp'
    const ocspUrls = [pki.url(path)]
    const issue = () => issuer.issue({ keyType, ocspUrls })
    const [kept, gone, stranger] = [issue(), issue(), issue()]
    const url = await aResponder(issuer, signer, [kept, gone], [...words])
    const guarded = makeGuardedFetch({ allowPrivateAddresses: true })
    const asking = makeRevocation({
      fetch: (_place, order) => guarded(url, order),
      mode: 'hard-fail',
      graceMs: 0,
    })
    const ask = (issued: Issued) => asking(certificateOf(issued), certificateOf(issuer), [], new Date())
    expect(await ask(kept)).toMatchObject({ status: 'good', source: ocspUrls[0] })
    expect(await ask(gone)).toEqual({
      status: 'revoked',
      source: ocspUrls[0],
      since: new Date('2026-01-01T00:00:00Z'),
      reason: 'superseded',
    })
    expect(await ask(stranger)).toMatchObject({
      status: 'unknown',
      because: expect.stringContaining('does not know the certificate'),
    })
  })

  test('a responder that signs with SHA-1 is not believed', async () => {
    const issuer = makeRoot({ keyType: 'rsa2048' })
    const issued = issuer.issue({ ocspUrls: ['http://ocsp.example/'] })
    const url = await aResponder(issuer, issuer, [issued, issuer.issue()], ['-nmin', '60', '-rmd', 'sha1'])
    const guarded = makeGuardedFetch({ allowPrivateAddresses: true })
    const asking = makeRevocation({ fetch: (_, order) => guarded(url, order), mode: 'hard-fail', graceMs: 0 })
    expect(await asking(certificateOf(issued), certificateOf(issuer), [], new Date())).toMatchObject({
      status: 'unknown',
      because: expect.stringContaining('SHA1'),
    })
  })
})

test('openssl ocsp believes the responder of these tests, so that what it says to us is OCSP', async () => {
  const issuer = makeRoot({ keyType: 'rsa2048' })
  const issued = issuer.issue()
  pki.put('/live', { is: 'ocsp', authority: issuer, about: () => ({ status: 'revoked', reason: 1 }) })
  const ran = spawn(
    'openssl',
    [
      ...['ocsp', '-url', pki.url('/live'), '-issuer', file('live.pem', issuer.certificatePem)],
      ...['-cert', file('live-leaf.pem', issued.certificatePem), '-CAfile', 'live.pem'],
    ],
    { cwd: folder },
  )
  let said = ''
  ran.stdout.on('data', (text: Buffer) => (said += text.toString()))
  ran.stderr.on('data', (text: Buffer) => (said += text.toString()))
  await once(ran, 'close')
  expect(said).toContain('Response verify OK')
  expect(said).toMatch(/live-leaf.pem: revoked[^]*Reason: keyCompromise/)
})
