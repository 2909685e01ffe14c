import { globSync, readFileSync, statSync } from 'node:fs'
import { relative } from 'node:path'
import type { TrustSettings } from './settings/trust.ts'
import { readAnchors, type AnchorGroup, type TrustAnchor } from './trust/anchors.ts'

/** Certificates and bundles are small; what is larger is not one. */
const fileBytesMax = 16 * 1024 * 1024

export interface AnchorFiles {
  readonly groups: readonly AnchorGroup[]
  /** Sentences: which file, what is wrong, what helps. */
  readonly problems: readonly string[]
}

/** Reads the anchors of `trust.anchors`. What is wrong with one file leaves the others in use. */
export function readAnchorFiles({ anchors }: TrustSettings, at: Date): AnchorFiles {
  const problems: string[] = []
  const groups = anchors.map(({ files, direction, domain, policies }): AnchorGroup => {
    const paths = /[*?[\]{}]/.test(files) ? globSync(files).sort() : [files]
    if (paths.length === 0)
      problems.push(`trust.anchors: no file fits ${shown(files)}: put the anchors’ PEM or DER files there`)
    const found = paths.flatMap((path): TrustAnchor[] => {
      const source = shown(path)
      const content = readWhole(path)
      if (typeof content === 'string') {
        problems.push(`trust.anchors: ${source}: ${content}`)
        return []
      }
      const reading = readAnchors([{ name: source, bytes: content }], at)
      for (const { because } of reading.problems)
        problems.push(`trust.anchors: ${source}: ${because}: replace it by a current one, or take it out`)
      return reading.anchors.map((certificate) =>
        policies.length === 0 ? { certificate, source } : { certificate, source, policies },
      )
    })
    return { anchors: found, direction, ...(domain === undefined ? {} : { domain }) }
  })
  return { groups, problems }
}

/** The content, or why there is none. */
export function readWhole(path: string): Buffer | string {
  try {
    if (statSync(path).size > fileBytesMax)
      return `larger than ${fileBytesMax} bytes: name a certificate file`
    return readFileSync(path)
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? 'unreadable'
    return `cannot be read (${code}): check the path and its permissions`
  }
}

/** Paths as people wrote them, where they lie below the working directory. */
export function shown(path: string): string {
  const short = relative(process.cwd(), path)
  return short.startsWith('..') ? path : short
}
