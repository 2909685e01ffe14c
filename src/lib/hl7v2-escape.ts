import { decodeBytes } from './hl7v2-charset.ts'
import type { Separators } from './hl7v2-separators.ts'

/**
 * Escape sequences of HL7 v2.5.1 ch. 2.7, and \P\ of v2.7. Unknown ones, and those that switch character sets or are
 * local (\C..\ \M..\ \Z..\), stay as they are.
 */
export function unescapeHl7(text: string, separators: Separators, charset = 'utf-8'): string {
  const { escape } = separators
  if (escape === undefined) return text
  let from = text.indexOf(escape)
  if (from === -1) return text
  let result = text.slice(0, from)
  while (from !== -1) {
    const to = text.indexOf(escape, from + 1)
    if (to === -1) break
    const meaning = meaningOf(text.slice(from + 1, to), separators, charset)
    if (meaning === undefined) {
      // Not a sequence: this escape character is literal, and the next one may begin a sequence.
      result += text.slice(from, to)
      from = to
      continue
    }
    result += meaning
    from = text.indexOf(escape, to + 1)
    result += from === -1 ? text.slice(to + 1) : text.slice(to + 1, from)
  }
  return from === -1 ? result : result + text.slice(from)
}

/**
 * The reverse of {@link unescapeHl7} for a leaf: what must be written so that exactly this text is read. Undefined where
 * the message has no escape character and the text needs one.
 */
export function escapeHl7(text: string, separators: Separators): string | undefined {
  const { escape } = separators
  let result = ''
  for (const character of text) {
    const letter = letterOf(character, separators)
    if (escape === undefined && (letter !== undefined || character < ' ')) return undefined
    if (letter !== undefined) result += `${escape}${letter}${escape}`
    else if (character < ' ')
      result += `${escape}X${character.charCodeAt(0).toString(16).padStart(2, '0').toUpperCase()}${escape}`
    else result += character
  }
  return result
}

function letterOf(character: string, separators: Separators): string | undefined {
  switch (character) {
    case separators.field:
      return 'F'
    case separators.component:
      return 'S'
    case separators.subcomponent:
      return 'T'
    case separators.repetition:
      return 'R'
    case separators.escape:
      return 'E'
    case separators.truncation:
      return 'P'
    default:
      return undefined
  }
}

/** A formatting command may ask for that many lines or blanks at most. */
const formattingRepeatMax = 99

function meaningOf(sequence: string, separators: Separators, charset: string): string | undefined {
  switch (sequence) {
    case 'F':
      return separators.field
    case 'S':
      return separators.component
    case 'T':
      return separators.subcomponent
    case 'R':
      return separators.repetition
    case 'E':
      return separators.escape
    case 'P':
      return separators.truncation
    case 'H':
    case 'N':
      return ''
    case '.br':
    case '.ce':
      return '\n'
    case '.fi':
    case '.nf':
      return ''
  }
  const command = /^\.(sp|sk|in|ti)([+-]?[0-9]{1,3})?$/.exec(sequence)
  if (command !== null) {
    const times = Math.min(formattingRepeatMax, Math.abs(Number(command[2] ?? 1)))
    return command[1] === 'sp' ? '\n'.repeat(times) : command[1] === 'sk' ? ' '.repeat(times) : ''
  }
  if (/^X(?:[0-9A-Fa-f]{2})+$/.test(sequence))
    return decodeBytes(Buffer.from(sequence.slice(1), 'hex'), charset)
  return undefined
}
