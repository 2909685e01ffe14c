import type { ValuePath } from '../domain/channel.ts'

/**
 * Fields whose values are codes about the message or the visit, never about the person: these may be quoted. Everything
 * else, and anything that does not look like a code, is not.
 */
const codeFields = new Set(
  `MSH-9 MSH-11 MSH-12 MSH-15 MSH-16 MSH-18 EVN-1 EVN-4 PV1-2 PV1-4 PV1-10 PV1-14 PV1-18 PV1-36 PV2-3 TXA-2 TXA-17
   TXA-18 TXA-19 ORC-1 ORC-5 OBR-24 OBR-25 OBX-2 OBX-11`.split(/\s+/),
)

/** As above, of X12: transaction, version, status of a claim. */
const x12CodeElements = new Set('ISA-15 GS-1 GS-8 ST-1 CLP-2 CLP-6 TA1-4 NM1-8'.split(' '))

/** The value where it may be shown. */
export function quotable(path: ValuePath, value: string): string | undefined {
  const isCodePlace =
    path.type === 'hl7v2'
      ? codeFields.has(`${path.path.segment}-${path.path.field}`)
      : path.type === 'x12' &&
        path.path.through === undefined &&
        x12CodeElements.has(`${path.path.segment}-${path.path.element}`)
  const isCode = isCodePlace && /^[A-Za-z0-9_.+-]{1,20}$/.test(value)
  return isCode ? value : undefined
}
