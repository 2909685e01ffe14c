const unitMs = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const

/**
 * Milliseconds of a duration as people write it in the files: a whole number and a unit, `500ms`, `30s`, `10m`, `24h`, `14d`.
 * Undefined where it is not one.
 */
export function readDurationMs(text: string): number | undefined {
  const parts = /^(\d{1,9})(ms|s|m|h|d)$/.exec(text.trim())
  return parts === null ? undefined : Number(parts[1]) * unitMs[parts[2] as keyof typeof unitMs]
}
