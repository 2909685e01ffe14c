import type { KeyObject } from 'node:crypto'
import { fileKeyHolder, type OwnKey } from '../../src/seal/own-key.ts'

/** A key pair as the opening side takes it. */
export function ownKey(pair: { readonly certificate: Buffer; readonly privateKey: KeyObject }): OwnKey {
  return { certificate: pair.certificate, key: fileKeyHolder(pair.privateKey) }
}
