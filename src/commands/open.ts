import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { readDirectAddress } from '../domain/direct-address.ts'
import { mimeParts, safeFileName, type MimePart } from '../lib/mime-parts.ts'
import { fieldValue } from '../lib/mime-reader.ts'
import { open as openMessage, type OpenedMessage, type SignerReport } from '../seal/open.ts'
import { readCertificate } from '../trust/certificate.ts'
import { judgeCertificates, type TrustPorts } from '../trust/judge-certificates.ts'
import { Findings, print, printJson, settingsFor, theOne, type Call, type Command } from './command.ts'
import { partnersNow } from './partners-now.ts'
import { partInWords, shown } from './shown.ts'

export const open: Command = {
  usage: `bluepost open FILE.eml
bluepost open FILE.eml --save FOLDER

Decrypts a Direct message with the keys of this installation, checks every signature and whether its certificate is
trusted for the sender, and prints the parts. --save writes them into FOLDER under harmless names, and only when a signature
is valid; a file that exists is never replaced. What is printed may be about a patient.

Exit 0: opened, and signed by somebody trusted for its From address. Exit 1: anything else, with the reason.`,
  options: { save: { type: 'string' } },
  async run(call) {
    const file = theOne(call, 'file')
    const settings = settingsFor(call)
    const { partners } = await partnersNow(settings, new Date())
    const keys = partners.keyRing.ownKeys(new Date())
    if (keys.length === 0)
      throw new Findings(
        ['there is no key to decrypt with; set `keys` in bluepost.yaml', ...partners.problems].join('\n'),
      )
    const read = await openMessage(fileContent(file), { keys })
    if (!read.opened) {
      if (call.isJson) printJson(read)
      else print(`${file} cannot be opened (${read.refusal}): ${read.because}\n  ${remedies[read.refusal]}`)
      return 1
    }
    const from = addressIn(fieldValue(read, 'from') ?? fieldValue({ fields: read.outerFields }, 'from'))
    const localDomain = settings.dataHolder?.address.domain.toLowerCase() ?? ''
    const signers = await Promise.all(
      read.signers.map((signer) => judged(signer, read, partners.trust, localDomain, from)),
    )
    const parts = mimeParts(read.message)
    const isVerified = read.signers.some((signer) => signer.valid)
    const names = saved(call, parts, isVerified)
    const isTrusted = signers.some((signer) => signer.isTrusted)
    const report = {
      opened: true,
      isVerified,
      isTrusted,
      headers: Object.fromEntries(
        ['From', 'To', 'Subject', 'Date', 'Message-ID'].map((name) => [name, fieldValue(read, name) ?? null]),
      ),
      isWrapped: read.isWrapped,
      cipher: read.cipher,
      keyTransport: read.keyTransport,
      recipients: read.recipients,
      signers,
      parts: parts.map(({ mediaType, fileName, content }, index) => ({
        mediaType,
        fileName: fileName ?? null,
        bytes: content.length,
        sha256: createHash('sha256').update(content).digest('hex'),
        ...(names === undefined ? {} : { savedAs: names[index] }),
      })),
    }
    if (call.isJson) printJson(report)
    else print(inWords(report, parts).join('\n'))
    return isTrusted ? 0 : 1
  },
}

const remedies = {
  'not-encrypted':
    'A Direct message is encrypted whole. Give the message as it was received, with its header.',
  unsigned: 'A message without a signature is from nobody. The sender’s HISP has to sign it.',
  malformed: 'It was damaged on the way, or is not complete. Ask for it again.',
  'no-key':
    'It was encrypted to another certificate. Add the key of that certificate to `keys`, an old one too.',
  'algorithm-refused':
    'The sender’s HISP has to use AES and RSA or ECDH as the Applicability Statement says.',
  undecryptable: 'It was altered on the way, or the private key does not belong to the certificate.',
} as const

/** Base64 of the largest message that is opened. */
const fileBytesMax = 384 * 1024 * 1024

function fileContent(file: string): Buffer {
  try {
    const { size } = statSync(file)
    if (size > fileBytesMax)
      throw new Findings(`${file} has ${size} bytes; a message has at most ${fileBytesMax}`)
    return readFileSync(file)
  } catch (error) {
    if (error instanceof Findings) throw error
    throw new Findings(
      `${file} cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unreadable'}); check the path and its permissions`,
    )
  }
}

/** The addr-spec of the one mailbox in a From field. */
function addressIn(from: string | undefined): string | undefined {
  return (/<([^<>]*)>\s*$/.exec(from ?? '')?.[1] ?? from)?.trim()
}

interface JudgedSigner {
  readonly subject: string | null
  readonly isValid: boolean
  readonly isTrusted: boolean
  /** Why it is not valid, or not trusted. */
  readonly because: string | null
  readonly digest: string
  readonly scheme: string | null
  /** Such as `RSA 2048`. */
  readonly key: string | null
  readonly signingTime: string | null
}

async function judged(
  signer: SignerReport,
  message: OpenedMessage,
  trust: TrustPorts,
  localDomain: string,
  from: string | undefined,
): Promise<JudgedSigner> {
  const certificates = message.certificates.flatMap((der) => {
    const reading = readCertificate(der)
    return reading.readable ? [reading.certificate] : []
  })
  const own = certificates.find((one) => signer.certificate?.equals(one.der))
  const verdict = (isTrusted: boolean, because?: string) => ({
    subject: own?.subject.text ?? null,
    isValid: signer.valid,
    isTrusted,
    because: because ?? null,
    digest: signer.digest,
    scheme: signer.scheme ?? null,
    key: signer.key ?? null,
    signingTime: signer.signingTime?.toISOString() ?? null,
  })
  if (!signer.valid || signer.certificate === undefined) return verdict(false, signer.because)
  const address = readDirectAddress(from ?? '')
  if (!address.valid)
    return verdict(false, 'its From is not one Direct address that a certificate could bind')
  const judgement = await judgeCertificates([signer.certificate], certificates, trust, {
    address: address.address,
    localDomain,
    direction: 'incoming',
    purpose: 'sign',
    at: new Date(),
  })
  return judgement.trusted.length > 0 ? verdict(true) : verdict(false, judgement.because)
}

/** The names under which the parts were written, or undefined where nobody asked for it. */
function saved(call: Call, parts: readonly MimePart[], isVerified: boolean): string[] | undefined {
  const folder = call.values['save']
  if (typeof folder !== 'string') return undefined
  if (!isVerified)
    throw new Findings('no signature is valid, so nothing is saved: anybody may have written it')
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    const taken = new Set<string>()
    return parts.map(({ fileName, mediaType, content }, index) => {
      const extension = mediaType === 'text/plain' ? 'txt' : mediaType === 'message/rfc822' ? 'eml' : 'bin'
      const name = safeFileName(fileName, `part-${index + 1}.${extension}`, taken)
      // Exclusive: neither replaces a file nor follows a link that lies there.
      writeFileSync(join(folder, name), content, { flag: 'wx', mode: 0o600 })
      return name
    })
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new Findings(
      code === 'EEXIST'
        ? `${folder} already has a file of that name; give an empty folder`
        : `${folder} cannot be written (${code ?? 'unwritable'}); check its permissions`,
    )
  }
}

interface Report {
  readonly headers: Readonly<Record<string, string | null>>
  readonly isWrapped: boolean
  readonly cipher: string
  readonly keyTransport: string
  readonly recipients: number
  readonly signers: readonly JudgedSigner[]
  readonly parts: readonly {
    readonly bytes: number
    readonly sha256: string
    readonly savedAs?: string | undefined
  }[]
}

function inWords(report: Report, parts: readonly MimePart[]): string[] {
  const lines = Object.entries(report.headers).map(([name, value]) => `${name}: ${shown(value ?? '–')}`)
  lines.push(
    '',
    `Encrypted with ${report.cipher}, key by ${report.keyTransport}, for ${report.recipients} certificate${report.recipients === 1 ? '' : 's'}${report.isWrapped ? '' : '; not wrapped, so its header was not signed'}`,
  )
  for (const { subject, isValid, isTrusted, because, ...made } of report.signers) {
    const verdict = isTrusted ? 'valid and trusted' : isValid ? 'valid, but not trusted' : 'NOT valid'
    const how = [made.key, made.scheme, made.digest, made.signingTime].filter((one) => one !== null)
    lines.push(
      `Signed by ${shown(subject ?? 'somebody whose certificate is missing')} (${how.join(', ')}): ${verdict}${because === null ? '' : `: ${shown(because)}`}`,
    )
  }
  for (const [index, part] of parts.entries()) {
    const { sha256, savedAs } = report.parts[index]!
    const more = `, SHA-256 ${sha256}${savedAs === undefined ? '' : `, saved as ${savedAs}`}`
    lines.push('', ...partInWords(part, index + 1, more))
  }
  return lines
}
