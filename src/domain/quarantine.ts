/** Whatever an analyst writes as a reason, its cause stays a key and not a text. */
const causeCharactersMax = 200

/**
 * Why a message waits for a person, as a key: the same for all messages that one correction sets free, and never PHI.
 * `lookup-miss:discharge-disposition:"ZZ"`, `required-missing:encounter.id`, `datetime-unreadable:PV1-45`, `hl7-charset`.
 *
 * @param code the stable code of the quarantine
 * @param where the path, target or table row that it is about, where there is one
 */
export function causeOf(code: string, where?: string): string {
  return where === undefined ? code : `${code}:${where}`.slice(0, causeCharactersMax)
}

/** What a person does about a cause, before the messages are released. */
export function remedyOf(cause: string): string {
  const colon = cause.indexOf(':')
  const code = colon < 0 ? cause : cause.slice(0, colon)
  const where = colon < 0 ? '' : cause.slice(colon + 1)
  switch (code) {
    case 'lookup-miss':
      return lookupRemedy(where)
    case 'required-missing':
      return `give the row for ${where} another source, or have the sender fill what it reads`
    case 'datetime-unreadable':
    case 'date-unreadable':
    case 'age-unknown':
      return `have the sender correct ${where}, or read the time from another place that the message has`
    case 'value-refused':
      return `have the sender correct ${where}, or read another place`
    case 'needs-a-person':
      return 'decide by your policy; releasing them helps only where the rule of the channel was changed'
    case 'fhirpath-failed':
    case 'mapping-failed':
      return 'bluepost try MESSAGE shows which expression fails; correct the channel or its mapping'
    case 'channel-missing':
      return 'restore or correct the file of the channel, and let the engine load it'
    case 'content-missing':
      return 'the content is gone: have the sender send it again where it still matters'
    case 'undecidable':
      return 'the log has the place; report it, and release them after the upgrade that mends it'
    case 'acknowledgment-received':
      return 'have the sender direct its acknowledgments elsewhere; nothing is to be released'
    default:
      return 'the sender has to correct its messages and send them again; releasing helps only where the channel reads them otherwise now'
  }
}

function lookupRemedy(where: string): string {
  const colon = where.indexOf(':')
  const table = where.slice(0, colon)
  const what = where.slice(colon + 1)
  const row = what.startsWith('"') ? `a row for ${what}` : `a row for the value of ${what}`
  return `add ${row} to mappings/tables/${table}.csv, or write miss: skip where the value does not matter`
}
