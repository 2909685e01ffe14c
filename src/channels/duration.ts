const units = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 } as const

/** Ten years: longer spans are typing errors. */
const durationMsMax = 3_660 * units.d

/** `10m`, `3d`, `500ms` in milliseconds; undefined where it is no time span. */
export function readDuration(text: string): number | undefined {
  const found = /^([0-9]{1,9})(ms|s|m|h|d|w)$/.exec(text)
  if (found === null) return undefined
  const ms = Number(found[1]) * units[found[2] as keyof typeof units]
  return ms <= durationMsMax ? ms : undefined
}
