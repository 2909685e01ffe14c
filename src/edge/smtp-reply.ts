/** Whether a reply code says no: not yet (4xx) or for good (5xx). */
export function isFailureCode(code: number | undefined): code is number {
  return code !== undefined && code >= 400 && code <= 599
}

/** What is kept of a reply, for people. */
const replyCharactersMax = 500

/** A peer’s words as one line without control and direction characters, shortened: fit for a page and a database. */
export function plain(text: string | undefined): string {
  return (text ?? '')
    .replace(/[\p{Cc}\p{Cf}\s]+/gu, ' ')
    .trim()
    .slice(0, replyCharactersMax)
}
