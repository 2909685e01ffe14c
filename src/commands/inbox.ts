import { writeFileSync } from 'node:fs'
import type { DataSource } from 'typeorm'
import { mimeParts } from '../lib/mime-parts.ts'
import { fieldValue, readEntity } from '../lib/mime-reader.ts'
import {
  describeInboxMessage,
  readIgnoredContent,
  readInboxContent,
  type Content,
} from '../pipeline/read-inbox.ts'
import { listIgnoredMail, listInbox } from '../store/inbox.ts'
import { queryOf } from '../store/query.ts'
import {
  Findings,
  operatorName,
  print,
  printJson,
  settingsFor,
  Usage,
  type Call,
  type Command,
} from './command.ts'
import { onDatabase } from './on-database.ts'
import { partInWords, shown } from './shown.ts'

const rowsMax = 50

export const inbox: Command = {
  usage: `bluepost inbox list               messages that others sent us, newest first
bluepost inbox list --ignored     mail that was answered by silence, with the reason
bluepost inbox show ID            what it says, and what we answered
bluepost inbox save ID FILE       the message, decrypted, as a file that did not exist
bluepost inbox save ID FILE --ignored   ignored mail as it came

Notifications about our own messages are not here: \`bluepost explain\` tells them with their transmission. Show and save may
bring out what is about a patient; that you did stands in the audit with your name.`,
  options: { ignored: { type: 'boolean' }, before: { type: 'string' } },
  run: (call) =>
    onDatabase(settingsFor(call), (dataSource) => {
      const [action, ...words] = call.positionals
      if (action === 'list' && words.length === 0) return list(call, dataSource)
      if (action === 'show' && words.length === 1) return show(call, dataSource, uuid(words[0]!))
      if (action === 'save' && words.length === 2) return save(call, dataSource, uuid(words[0]!), words[1]!)
      throw new Usage('say list, show ID, or save ID FILE')
    }),
}

async function list(call: Call, dataSource: DataSource): Promise<number> {
  const query = queryOf(dataSource)
  const before = call.values['before']
  const page = { limit: rowsMax, before: typeof before === 'string' ? uuid(before) : undefined }
  const isIgnored = call.values['ignored'] === true
  const lines = isIgnored
    ? (await listIgnoredMail(query, page)).map((mail) => ({
        row: mail,
        text: `${mail.receivedAt.toISOString()}  ${mail.id}  from <${shown(mail.envelopeFrom)}> at ${mail.peer}: ${shown(mail.because ?? '')}`,
      }))
    : (await listInbox(query, page)).map((message) => ({
        row: message,
        text: `${message.receivedAt.toISOString()}  ${message.id}  ${message.state}  ${message.bytes} bytes from ${shown(message.sender)} to ${message.recipient}`,
      }))
  if (call.isJson) printJson(lines.map(({ row }) => row))
  else if (lines.length === 0) print(isIgnored ? 'No mail was ignored.' : 'The inbox is empty.')
  else print(lines.map(({ text }) => text).join('\n'))
  if (!call.isJson && lines.length === rowsMax)
    print(`Older ones: bluepost inbox list${isIgnored ? ' --ignored' : ''} --before ${lines.at(-1)!.row.id}`)
  return 0
}

async function show(call: Call, dataSource: DataSource, id: string): Promise<number> {
  const ports = { dataSource, now: () => new Date() }
  const found = await describeInboxMessage(ports, id)
  if (found === undefined) throw new Findings(`there is no message ${id} in the inbox`)
  if (call.isJson) {
    printJson(found)
    return 0
  }
  const lines = [
    `Received ${found.receivedAt.toISOString()} for ${found.recipient}, signed for ${shown(found.sender)} by somebody trusted.`,
    ...found.answers.map(
      ({ disposition, recipient, state, because }) =>
        `Answered ${disposition} to ${shown(recipient)}: ${state}${because === null ? '' : `, ${shown(because)}`}.`,
    ),
    ...(found.answers.length === 0 ? ['No answer was due.'] : []),
  ]
  if (found.state === 'refused' || found.isForgotten) lines.push('Nothing of its content is kept.')
  else {
    const message = await bytesOf(await readInboxContent(ports, id, operatorName()))
    const entity = readEntity(message)
    for (const name of ['From', 'To', 'Date', 'Subject', 'Message-ID'])
      lines.push(`${name}: ${shown(fieldValue(entity, name) ?? '–')}`)
    for (const [index, part] of mimeParts(message).entries())
      lines.push('', ...partInWords(part, index + 1, ''))
  }
  print(lines.join('\n'))
  return 0
}

async function save(call: Call, dataSource: DataSource, id: string, file: string): Promise<number> {
  const ports = { dataSource, now: () => new Date() }
  const read = call.values['ignored'] === true ? readIgnoredContent : readInboxContent
  const message = await bytesOf(await read(ports, id, operatorName()))
  try {
    // Exclusive: neither replaces a file nor follows a link that lies there.
    writeFileSync(file, message, { flag: 'wx', mode: 0o600 })
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new Findings(
      code === 'EEXIST' ? `${file} exists; give another name` : `${file} cannot be written (${code ?? '?'})`,
    )
  }
  if (call.isJson) printJson({ file, bytes: message.length })
  else print(`${message.length} bytes are in ${file}.`)
  return 0
}

async function bytesOf(content: Content): Promise<Buffer> {
  if (!content.found) throw new Findings(content.because)
  const chunks: Buffer[] = []
  for await (const chunk of content.chunks) chunks.push(chunk)
  return Buffer.concat(chunks)
}

function uuid(text: string): string {
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text))
    throw new Findings(`${text} is not the id of a message`)
  return text
}
