import { createHash, randomBytes } from 'node:crypto'
import { base64InLines, base64Lines, base64LinesLength } from '../lib/base64-lines.ts'
import { freeMemory } from '../lib/free-memory.ts'
import { field } from '../lib/mime-writer.ts'
import { micalgs, usualAlgorithms, type Algorithms, type Digest } from './algorithms.ts'
import { makeEnvelope, type Random } from './envelope.ts'
import { makePayload, outerFields } from './payload.ts'
import { wrongLength, type Addressing, type PlainOrder } from './seal-order.ts'
import { makeSignature, type Signature, type Signer } from './signature.ts'

/** Document octets that go through base64, hash, cipher and base64 together, while they are in the processor's cache. */
const stepBytes = 57 * 1152

/**
 * Seals one message in one pass: document bytes go in as they come, sealed bytes come out, and neither is ever held
 * whole. All lengths are computed before the first byte, so the envelope is DER with definite lengths.
 *
 * @param document the bytes of document number `index`, exactly as many as the order announces
 * @param emit takes sealed bytes; the next ones are made when it has resolved
 * @returns octets of the sealed message
 * @throws UnsafeText for values that cannot stand in a message; Error for certificates and keys that cannot be used
 */
export async function sealing(
  order: PlainOrder,
  signature: Signature,
  document: (index: number) => AsyncIterable<Uint8Array>,
  emit: (sealed: Buffer) => void | Promise<void>,
  options: { random?: Random; announce?: (bytes: number) => void } = {},
): Promise<number> {
  const random = options.random ?? randomBytes
  const payload = makePayload(order, random)
  const pass = startPass(order, payload.bytes, signature, random)
  options.announce?.(pass.bytes)
  let emitted = 0
  const give = (sealed: Buffer) => {
    if (sealed.length === 0) return
    emitted += sealed.length
    return emit(sealed)
  }
  await give(pass.begin())
  for (const piece of payload.pieces) {
    if (typeof piece !== 'number') {
      await give(pass.write(piece))
      continue
    }
    const announced = order.documents[piece]!.bytes
    const lines = base64Lines()
    let came = 0
    for await (const chunk of document(piece)) {
      came += chunk.length
      if (came > announced) break
      for (let from = 0; from < chunk.length; from += stepBytes) {
        const encoded = lines.push(chunk.subarray(from, from + stepBytes))
        if (encoded.length === 0) continue
        const sealed = pass.write(encoded)
        freeMemory(encoded)
        await give(sealed)
      }
    }
    if (came !== announced) throw wrongLength(piece, announced)
    await give(pass.write(lines.end()))
  }
  await give(await pass.end())
  if (emitted !== pass.bytes) throw new Error(`sealed ${emitted} bytes where ${pass.bytes} were announced`)
  return emitted
}

/**
 * Seals a message that is there as a whole, such as a notification of our own. `message` is a complete RFC 5322
 * message with CRLF line ends.
 */
export async function sealMessage(
  message: Buffer,
  order: Addressing,
  signers: readonly Signer[] | Signature,
  random: Random = randomBytes,
): Promise<Buffer> {
  const signature = 'signedData' in signers ? signers : makeSignature(signers)
  const pass = startPass(order, message.length, signature, random)
  return Buffer.concat([pass.begin(), pass.write(message), await pass.end()])
}

/** One message on its way through hash, cipher and base64. */
interface Pass {
  /** Octets of the sealed message. */
  readonly bytes: number
  begin(): Buffer
  /** The next octets of the inner message. */
  write(message: Buffer): Buffer
  /** Signs, and gives the rest. */
  end(): Promise<Buffer>
}

function startPass(order: Addressing, messageBytes: number, signature: Signature, random: Random): Pass {
  if (order.recipients.length === 0) throw new Error('there is no recipient certificate to encrypt to')
  const algorithms: Algorithms = { ...usualAlgorithms, ...order.algorithms }
  const digests = signature.digests(algorithms.digest)
  const boundary = `=_signed_${random(12).toString('hex')}`
  const entityHead = Buffer.from(
    field(
      'Content-Type',
      `multipart/signed; protocol="application/pkcs7-signature"; micalg=${micalgOf(digests)}; boundary="${boundary}"`,
    ) + `\r\n--${boundary}\r\n`,
    'latin1',
  )
  // Applicability Statement: the whole message is wrapped, so that its Subject and other headers are signed and secret.
  const wrapHead = Buffer.from('Content-Type: message/rfc822\r\n\r\n', 'latin1')
  const signatureHead = Buffer.from(
    `\r\n--${boundary}\r\n` +
      'Content-Type: application/pkcs7-signature; name="smime.p7s"\r\n' +
      'Content-Transfer-Encoding: base64\r\n' +
      'Content-Disposition: attachment; filename="smime.p7s"\r\n\r\n',
    'latin1',
  )
  const closing = Buffer.from(`--${boundary}--\r\n`, 'latin1')
  const signatureLength = base64LinesLength(signature.bytesMax(digests, order.date))
  const plainBytes =
    entityHead.length +
    wrapHead.length +
    messageBytes +
    signatureHead.length +
    signatureLength +
    closing.length

  const envelope = makeEnvelope(order.recipients, plainBytes, algorithms, random)
  const outer = Buffer.from(
    outerFields(order) +
      field('Content-Type', `application/pkcs7-mime; smime-type=${envelope.smimeType}; name="smime.p7m"`) +
      'Content-Transfer-Encoding: base64\r\n' +
      'Content-Disposition: attachment; filename="smime.p7m"\r\n\r\n',
    'latin1',
  )
  const hashes = digests.map((digest) => createHash(digest))
  const lines = base64Lines()
  const encrypted = (plain: Buffer) => {
    const cipherText = envelope.cipher.update(plain)
    const sealed = lines.push(cipherText)
    freeMemory(cipherText)
    return sealed
  }
  return {
    bytes: outer.length + base64LinesLength(envelope.bytes),
    begin() {
      for (const hash of hashes) hash.update(wrapHead)
      const head = lines.push(envelope.head)
      return Buffer.concat([outer, head, encrypted(Buffer.concat([entityHead, wrapHead]))])
    },
    write(message) {
      for (const hash of hashes) hash.update(message)
      return encrypted(message)
    },
    async end() {
      const contentDigests = new Map(digests.map((digest, index) => [digest, hashes[index]!.digest()]))
      const signed = base64InLines(await signature.signedData(contentDigests, order.date))
      // ECDSA signatures vary in length and the lengths are written already: blank lines after the closing delimiter,
      // which belong to nothing (RFC 2046 §5.1.1, epilogue), make up the difference, which is always even.
      const epilogue = Buffer.from('\r\n'.repeat((signatureLength - signed.length) / 2), 'latin1')
      const rest = Buffer.concat([signatureHead, signed, closing, epilogue])
      return Buffer.concat([encrypted(rest), lines.push(envelope.end()), lines.end()])
    },
  }
}

/** RFC 8551 §3.5.3.2: several are separated by commas, which a parameter must quote (RFC 2045 §5.1). */
function micalgOf(digests: readonly Digest[]): string {
  const names = digests.map((digest) => micalgs[digest])
  return names.length === 1 ? names[0]! : `"${names.join(',')}"`
}
