import { randomBytes } from 'node:crypto'
import type { SealOrder } from '../../src/seal/seal-order.ts'
import { sealing } from '../../src/seal/sealing.ts'
import { makeSignature, type Signer } from '../../src/seal/signature.ts'
import { issueFor, makeRoot, type Authority, type CertificateWishes, type Issued } from '../pki/pki.ts'

export const sender = 'transmit@direct.ashby.example'
export const ellensPhr = 'ellen.ross@direct.somephr.example'

export interface Town {
  readonly root: Authority
  readonly authority: Authority
  readonly ashby: Issued & Signer
  readonly phr: Issued
  member(address: string, wishes?: CertificateWishes): Issued
  signer(wishes?: CertificateWishes): Issued & Signer
}

/** A root, an intermediate, the data holder's signing certificate and the certificate of Ellen's PHR. */
export function aTown(): Town {
  const root = makeRoot({ name: 'Somewhere Root' })
  const authority = root.issueAuthority({ name: 'Somewhere Authority' })
  const member = (address: string, wishes?: CertificateWishes) => issueFor(authority, address, wishes)
  const signer = (wishes?: CertificateWishes) => ({
    ...member(sender, wishes),
    intermediates: [authority.certificate],
  })
  return { root, authority, member, signer, ashby: signer(), phr: member(ellensPhr) }
}

export function anOrder(town: Town, wishes: Partial<SealOrder> = {}): SealOrder {
  return {
    from: sender,
    to: [ellensPhr],
    messageId: '<tx-7f3c@direct.ashby.example>',
    date: new Date('2026-11-22T17:00:00Z'),
    subject: 'Clinical summary',
    dataHolder: 'Ashby Medical Center',
    patientName: 'Ellen Ross',
    recurring: true,
    documents: [aDocument(Buffer.from('<ClinicalDocument xmlns="urn:hl7-org:v3"/>\n'))],
    recipients: [town.phr.certificate],
    ...wishes,
  }
}

export function aDocument(content: Buffer, fileName = 'ccd.xml', mediaType = 'application/xml') {
  return {
    fileName,
    mediaType,
    bytes: content.length,
    chunks: async function* () {
      for (let from = 0; from < content.length; from += 50_000) yield content.subarray(from, from + 50_000)
    },
  }
}

/** Sealed in this thread, as a whole. */
export async function sealedHere(
  order: SealOrder,
  signers: readonly Signer[],
  random: (bytes: number) => Buffer = randomBytes,
): Promise<Buffer> {
  const chunks: Buffer[] = []
  const bytes = await sealing(
    order,
    makeSignature(signers),
    (index) => order.documents[index]!.chunks(),
    (chunk) => void chunks.push(chunk),
    { random },
  )
  const sealed = Buffer.concat(chunks)
  if (sealed.length !== bytes) throw new Error('the announced length is wrong')
  return sealed
}
