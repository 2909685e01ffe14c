import { constants, diffieHellman, privateDecrypt, sign, type KeyObject } from 'node:crypto'
import { oaepDecoded } from './oaep.ts'

/** A private key that may live in a device: only operations, never the key. */
export interface KeyHolder {
  readonly type: 'rsa' | 'ec'
  /** RSA PKCS#1 v1.5, or ECDSA in DER. */
  sign(hash: 'sha256' | 'sha384' | 'sha512', bytes: Uint8Array): Promise<Buffer>
  /**
   * RSA key transport. PKCS#1 v1.5 with bad padding is answered with random octets (implicit rejection) or refused.
   *
   * @throws Failed where a device cannot be reached; any other error means that nothing comes out
   */
  decrypt(encryptedKey: Uint8Array, padding: KeyPadding): Promise<Buffer>
  /** The raw shared secret of ECDH. */
  agree(peerPublicKey: KeyObject): Promise<Buffer>
}

export type OaepDigest = 'sha1' | 'sha224' | 'sha256' | 'sha384' | 'sha512'
/** The digest of OAEP, and that of MGF1 where it is another. */
export type KeyPadding = 'pkcs1' | `oaep-${OaepDigest}` | `oaep-${OaepDigest}-mgf1-${OaepDigest}`

/** A certificate of ours and its private key, with which messages to us may have been encrypted. */
export interface OwnKey {
  /** DER. */
  readonly certificate: Buffer
  readonly key: KeyHolder
}

/** A private key in the memory of this process. */
export function fileKeyHolder(privateKey: KeyObject): KeyHolder {
  return {
    type: privateKey.asymmetricKeyType === 'ec' ? 'ec' : 'rsa',
    sign: async (hash, bytes) => sign(hash, bytes, privateKey),
    decrypt: async (encryptedKey, padding) => {
      // OpenSSL answers bad padding with random octets that depend on key and ciphertext only (implicit rejection).
      if (padding === 'pkcs1')
        return privateDecrypt({ key: privateKey, padding: constants.RSA_PKCS1_PADDING }, encryptedKey)
      const [, digest = '', , maskDigest] = padding.split('-')
      if (maskDigest === undefined)
        return privateDecrypt(
          { key: privateKey, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: digest },
          encryptedKey,
        )
      const block = privateDecrypt({ key: privateKey, padding: constants.RSA_NO_PADDING }, encryptedKey)
      return oaepDecoded(block, digest, maskDigest)
    },
    agree: async (publicKey) => diffieHellman({ privateKey, publicKey }),
  }
}
