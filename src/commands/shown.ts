import type { MimePart } from '../lib/mime-parts.ts'

const shownCharactersMax = 2000

/** A terminal obeys control characters, whoever sent them. */
export function shown(text: string): string {
  return text.replaceAll(/[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g, '�')
}

/** What a part is, in a line; and the beginning of its text where it is plain. */
export function partInWords(part: MimePart, number: number, more: string): string[] {
  const { mediaType, fileName, content } = part
  const name = fileName === undefined ? '' : ` “${shown(fileName)}”`
  const line = `Part ${number}: ${shown(mediaType)}${name}, ${content.length} bytes${more}`
  if (mediaType !== 'text/plain') return [line]
  const text = content.toString('utf8').slice(0, shownCharactersMax).trimEnd().split(/\r?\n/)
  return [line, ...text.map((one) => `  ${shown(one)}`)]
}
