import { styleText } from 'node:util'

export type Look = '' | 'green' | 'red' | 'dim'

/** Lines in the order of what they tell, although they are heard of in another. */
export class Teller {
  readonly #began: number
  #waiting: { at: number; room: string; text: string; look: Look }[] = []

  constructor(began: number) {
    this.#began = began
  }

  tell(at: number, room: string, text: string, look: Look = ''): void {
    this.#waiting.push({ at, room, text, look })
  }

  flush(until: number): void {
    const ripe = this.#waiting.filter(({ at }) => at <= until).sort((a, b) => a.at - b.at)
    this.#waiting = this.#waiting.filter(({ at }) => at > until)
    for (const { at, room, text, look } of ripe) line(look, room, text, at - this.#began)
  }
}

const roomWidth = 11
const timeWidth = 9

export function line(look: Look, room: string, text: string, afterMs?: number): void {
  const time = (afterMs === undefined ? '' : `${count(afterMs)} ms`).padStart(timeWidth)
  const name = room.padEnd(roomWidth)
  const isColoured = process.stdout.isTTY === true && !('NO_COLOR' in process.env)
  const paint = (style: Parameters<typeof styleText>[0], painted: string) =>
    isColoured ? styleText(style, painted) : painted
  const said = look === '' ? text : paint(look, text)
  process.stdout.write(`${`${paint('dim', time)}  ${paint('bold', name)} ${said}`.trimEnd()}\n`)
}

export function count(value: number): string {
  return value.toLocaleString('en-US')
}

export function milliseconds(value: number): string {
  return value >= 10_000 ? seconds(value) : `${count(Math.round(value))} ms`
}

export function seconds(valueMs: number): string {
  return `${(valueMs / 1000).toFixed(1)} s`
}

export function short(hash: string): string {
  return `${hash.slice(0, 16)}…`
}
