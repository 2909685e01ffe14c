const unitMs = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 } as const

/** Ten years: longer spans are typing errors. */
const durationMsMax = 3_660 * unitMs.d

/**
 * Milliseconds of a duration as people write it in the files: a whole number and a unit, `500ms`, `30s`, `10m`, `24h`, `14d`,
 * `2w`. Undefined where it is not one, or longer than ten years.
 */
export function readDurationMs(text: string): number | undefined {
  const parts = /^(\d{1,9})(ms|s|m|h|d|w)$/.exec(text.trim())
  if (parts === null) return undefined
  const ms = Number(parts[1]) * unitMs[parts[2] as keyof typeof unitMs]
  return ms <= durationMsMax ? ms : undefined
}
