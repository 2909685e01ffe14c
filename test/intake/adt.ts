/** An ADT^A03 with a control id and whatever else of MSH, as latin1 text. Fields count as in the standard. */
export function adt(controlId: string, msh: Readonly<Record<number, string>> = {}): string {
  const fields = [
    'MSH',
    '^~\\&',
    'ADT1',
    'ASHBY',
    'BLUEPOST',
    'ASHBY',
    '20260302113000-0500',
    '',
    'ADT^A03^ADT_A03',
  ]
  fields.push(controlId, 'P', '2.5.1')
  for (const [position, value] of Object.entries(msh)) {
    while (fields.length < Number(position)) fields.push('')
    fields[Number(position) - 1] = value
  }
  const segments = [
    fields.join('|'),
    'EVN|A03|20260302113000-0500',
    'PID|1||E1001^^^ASHBY^MR||Ross^Ellen||19560814|F',
  ]
  return segments.join('\r') + '\r'
}

/** The content as it goes on the wire. */
export function framed(content: string): string {
  return `\x0b${content}\x1c\r`
}

/** MSA-1 and MSA-2 of a reply, as `AA 42`. */
export function answer(reply: string): string {
  const msa = reply.split('\r').find((segment) => segment.startsWith('MSA'))
  if (msa === undefined) throw new Error(`a reply without MSA: ${reply}`)
  return `${msa.slice(4, 6)} ${msa.split(msa.charAt(3))[2]}`
}
