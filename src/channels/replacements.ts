import { createHmac } from 'node:crypto'

/**
 * Words, numbers and days of one message, replaced by made-up ones: the same by the same, of the same length and case, so that what
 * belonged together still does. Nobody can go back without the seed, which is not kept.
 */
export class Replacements {
  /** Every word and number that was replaced, in lower case. */
  readonly originals = new Set<string>()
  private readonly seed: Buffer
  private readonly made = new Map<string, string>()
  readonly shiftDays: number

  constructor(seed: Buffer) {
    this.seed = seed
    // Between two months and ten years back: ages stay plausible, days do not.
    this.shiftDays = -(60 + (this.bytes('shift').readUInt32BE(0) % 3_590))
  }

  /** Words and numbers of a text; what stands between them stays. Days are moved, all by as many. */
  text(text: string): string {
    return text.replaceAll(
      /(?<!\p{N})\d{4}-\d{2}-\d{2}(?!\p{N})|[\p{L}\p{M}\p{N}]+/gu,
      (token) =>
        this.moment(token) ??
        token
          .split('-')
          .map((part) => this.token(part))
          .join('-'),
    )
  }

  /** A moment written in digits (YYYYMMDD…) or as ISO 8601, moved; undefined where it is none. */
  moment(text: string): string | undefined {
    const parts = /^(\d{4})(-?)(\d{2})\2(\d{2})(.*)$/s.exec(text)
    if (parts === null) return undefined
    const [, year, dash, month, day, rest] = parts as unknown as [
      string,
      string,
      string,
      string,
      string,
      string,
    ]
    if (
      !/^(?:|\d{2}(?:\d{2}(?:\d{2}(?:\.\d+)?)?)?(?:[+-]\d{4})?|T[\d:.]*(?:Z|[+-]\d{2}:?\d{2})?)$/.test(rest)
    )
      return undefined
    const at = new Date(Date.UTC(Number(year), Number(month) - 1, Number(day)))
    const isDay = at.getUTCMonth() === Number(month) - 1 && at.getUTCDate() === Number(day)
    if (!isDay || Number(year) < 1880 || Number(year) > 2100) return undefined
    at.setUTCDate(at.getUTCDate() + this.shiftDays)
    this.originals.add(`${year}${month}${day}`)
    const moved = at.toISOString().slice(0, 10)
    return `${dash === '-' ? moved : moved.replaceAll('-', '')}${rest}`
  }

  private token(token: string): string {
    const key = token.toLowerCase()
    this.originals.add(key)
    let replaced = this.made.get(key)
    for (let attempt = 0; replaced === undefined; attempt++) {
      const candidate = this.madeUp(key, attempt)
      // Short ones may run out of others; nobody is known by two letters.
      if (attempt > 20 || !this.originals.has(candidate)) replaced = candidate
    }
    this.made.set(key, replaced)
    return [...token].map((character, at) => cased(replaced[at] ?? 'x', character)).join('')
  }

  private madeUp(key: string, attempt: number): string {
    const characters = [...key]
    let isVowel = false
    return characters
      .map((character, at) => {
        const byte = this.bytes(`${attempt} ${key} ${at}`).readUInt32BE(0)
        if (/\p{N}/u.test(character)) {
          isVowel = false
          // A leading zero stays one, and no other begins with it: lengths and patterns of numbers.
          return at === 0 ? (character === '0' ? '0' : String(1 + (byte % 9))) : String(byte % 10)
        }
        isVowel = !isVowel
        const from = isVowel ? 'bdfgklmnprstvz' : 'aeiou'
        return from[byte % from.length]!
      })
      .join('')
  }

  private bytes(about: string): Buffer {
    return createHmac('sha256', this.seed).update(about).digest()
  }
}

function cased(made: string, like: string): string {
  return like !== like.toLowerCase() ? made.toUpperCase() : made
}
