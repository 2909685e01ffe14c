import { makeSealer, type Sealer, type Signer } from '../seal/seal.ts'

/** What an old sealer has begun, it finishes; a record of 100 MB to a slow disk takes minutes. */
const drainMsOfReplaced = 600_000

/**
 * A sealer whose keys may change while it runs: each message is signed by those that sign at its date. Threads with the
 * keys of before finish what they have begun.
 *
 * @param threads per set of keys
 * @param signersAt such as those of the key ring
 */
export function makeRollingSealer(threads: number, signersAt: (at: Date) => readonly Signer[]): Sealer {
  let current: { readonly of: readonly Signer[]; readonly sealer: Sealer } | undefined
  const replaced = new Set<Sealer>()
  let isClosed = false

  const sealerAt = (at: Date) => {
    const signers = signersAt(at)
    if (current !== undefined && isSame(current.of, signers)) return current.sealer
    if (current !== undefined) replace(current.sealer)
    const sealer = makeSealer({ threads, signers })
    current = { of: signers, sealer }
    return sealer
  }
  const replace = (sealer: Sealer) => {
    replaced.add(sealer)
    void sealer.close(drainMsOfReplaced).finally(() => replaced.delete(sealer))
  }

  return {
    seal(order, options) {
      if (isClosed) throw new Error('the sealer is closed')
      return sealerAt(order.date).seal(order, options)
    },
    async close(drainMsMax) {
      isClosed = true
      const all = [...replaced, ...(current === undefined ? [] : [current.sealer])]
      await Promise.all(all.map((sealer) => sealer.close(drainMsMax)))
    },
  }
}

function isSame(before: readonly Signer[], now: readonly Signer[]): boolean {
  return (
    before.length === now.length &&
    now.every(({ certificate }, index) => before[index]!.certificate.equals(certificate))
  )
}
