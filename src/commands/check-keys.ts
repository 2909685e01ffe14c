import { verify, X509Certificate } from 'node:crypto'
import { Failed } from '../domain/failure.ts'
import { expiryDays } from '../engine/followed-keys.ts'
import type { KeyRing, RingSigner } from '../key-ring.ts'
import type { Finding } from './check.ts'

/** What signs and decrypts now, what ends soon, and whether devices that sign answer. */
export async function checkKeys(keyRing: KeyRing, at: Date): Promise<Finding[]> {
  const signers = keyRing.signers(at)
  const decrypting = keyRing.ownKeys(at).length
  const findings: Finding[] = []
  if (signers.length > 0)
    findings.push({
      about: 'keys',
      outcome: 'good',
      what: `${signers.length} signing, ${decrypting} decrypting`,
    })
  for (const signer of signers) findings.push(...(await checkDevice(signer)))
  for (const { use, name, daysLeft } of keyRing.expiries(at)) {
    if (daysLeft >= expiryDays.warning) continue
    const words = daysLeft < 0 ? `ended ${-daysLeft} days ago` : `ends in ${daysLeft} days`
    findings.push({ about: use, outcome: 'wrong', what: `${name}: the certificate ${words}: renew it` })
  }
  return findings
}

/** A device is asked for a signature, which its certificate has to verify. */
async function checkDevice({ certificate, privateKey }: RingSigner): Promise<Finding[]> {
  if (!('sign' in privateKey)) return []
  const probe = Buffer.from('bluepost check')
  try {
    const signature = await privateKey.sign('sha256', probe)
    const isGood = verify('sha256', probe, new X509Certificate(certificate).publicKey, signature)
    const what = isGood
      ? 'the device with the signing key signs'
      : 'the device signs with another key than that of the certificate: check `key:` and `certificate:`'
    return [{ about: 'keys', outcome: isGood ? 'good' : 'wrong', what }]
  } catch (error) {
    if (!(error instanceof Failed)) throw error
    return [{ about: 'keys', outcome: 'wrong', what: error.because }]
  }
}
