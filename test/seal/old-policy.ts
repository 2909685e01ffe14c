import { directPolicy, type OpeningPolicy } from '../../src/seal/opening-policy.ts'

/** For samples of the years before: what Direct refuses today, and nothing but tests may accept. */
export const oldPolicy: OpeningPolicy = {
  contentCiphers: new Set([...directPolicy.contentCiphers, 'des-ede3-cbc']),
  digests: new Set([...directPolicy.digests, 'sha1', 'md5']),
  rsaBitsMin: 512,
}
