import { spawnSync } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { domain, ellen, type ChainCase } from '../pki/chains/chain-case.ts'
import { everyChain } from '../pki/chains/every-chain.ts'
import { issueFor, makeRoot, pemOf } from '../pki/pki.ts'

/** `openssl verify` shares no code with ours: each verdict has to agree with it, or say why it does not. */
let folder: string
beforeAll(() => {
  if (spawnSync('openssl', ['version']).status !== 0)
    throw new Error('the openssl binary is missing: apt-get install openssl')
  folder = mkdtempSync(join(tmpdir(), 'chains-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

for (const { about, cases } of everyChain)
  describe(about, () => {
    test.each(cases.map((one) => [verdictOf(one), one.what, one] as const))(
      'openssl %s %s',
      (_, _what, given) => {
        const { accepts, said } = askOpenssl(given)
        expect({ said, accepts }).toEqual({ said, accepts: isAccepted(given) })
      },
    )
  })

function isAccepted({ expected, openssl }: ChainCase): boolean {
  return (expected === 'trusted') === (openssl.differsBecause === undefined)
}

function verdictOf(given: ChainCase): string {
  const { differsBecause } = given.openssl
  const says = isAccepted(given) ? 'accepts' : 'refuses'
  return differsBecause === undefined ? `${says}, as we do:` : `${says} and we do not (${differsBecause}):`
}

function askOpenssl({ leaf, pool, anchors, address, purpose, at, openssl }: ChainCase) {
  const file = (name: string, ders: readonly Buffer[]) => {
    const path = join(folder, name)
    writeFileSync(path, pemOf(...ders))
    return path
  }
  const ran = spawnSync(
    'openssl',
    [
      'verify',
      '-partial_chain',
      ...(openssl.laxBecause === undefined ? ['-x509_strict'] : []),
      ...['-auth_level', '2'],
      ...['-purpose', purpose === 'sign' ? 'smimesign' : 'smimeencrypt'],
      ...(openssl.also.includes('-verify_hostname') ? [] : bindingOf(leaf, address)),
      ...['-attime', String(Math.floor(at.getTime() / 1000))],
      ...openssl.also,
      ...['-trusted', file('anchors.pem', anchors)],
      ...(pool.length === 0 ? [] : ['-untrusted', file('pool.pem', pool)]),
      file('leaf.pem', [leaf]),
    ],
    { encoding: 'utf8' },
  )
  return { accepts: ran.status === 0, said: (ran.stdout + ran.stderr).trim() }
}

/** openssl is told which of the two bindings to check; we find out ourselves. */
function bindingOf(leaf: Buffer, address: string): string[] {
  const names = new X509Certificate(leaf).subjectAltName ?? ''
  return names.includes('DNS:')
    ? ['-verify_hostname', address.slice(address.lastIndexOf('@') + 1)]
    : ['-verify_email', address]
}

test('strict openssl likes what the test PKI issues by default', () => {
  for (const keyType of ['rsa2048', 'ec256'] as const)
    for (const signaturePadding of ['pkcs1', 'pss'] as const) {
      const root = makeRoot({ keyType })
      const issuer = root.issueAuthority({ keyType, signaturePadding, crlUrls: ['http://crl.example/a'] })
      for (const name of [ellen, domain]) {
        const leaf = issueFor(issuer, name, {
          keyType,
          policies: ['1.3.6.1.4.1.41179.2.3'],
          caIssuersUrls: ['http://aia.example/a.cer'],
          ocspUrls: ['http://ocsp.example/'],
        })
        const asked = askOpenssl({
          what: 'default',
          leaf: leaf.certificate,
          pool: [issuer.certificate],
          anchors: [root.certificate],
          address: ellen,
          purpose: 'sign',
          at: new Date(),
          expected: 'trusted',
          openssl: { also: [] },
        })
        expect(asked.said).toContain('leaf.pem: OK')
      }
    }
})
