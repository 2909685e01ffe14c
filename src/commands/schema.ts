import { existsSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { channelSchema } from '../channels/channel-schema.ts'
import { mappingSchema } from '../channels/mapping-schema.ts'
import type { JsonSchema } from '../channels/schema-parts.ts'
import { fromHere } from './channel-files.ts'
import { print, printJson, settingsFor, Usage, type Command } from './command.ts'

export const schema: Command = {
  usage: `bluepost schema              writes schema.json into the channel and the mapping folder of this installation
bluepost schema ../feeds     into ../feeds/channels and ../feeds/mappings
bluepost schema --json       prints both and writes nothing

JSON Schemas (2020-12) of the two kinds of files: an editor that knows them completes keys and shows what each means. The
first line of a file says where its schema is:  # yaml-language-server: $schema=schema.json`,
  options: {},
  run(call) {
    const [directory, ...rest] = call.positionals
    if (rest.length > 0) throw new Usage('give one directory, or none')
    if (call.isJson) {
      printJson({ channel: channelSchema, mapping: mappingSchema })
      return Promise.resolve(0)
    }
    const { channelsDirectory, mappingsDirectory } =
      directory === undefined ? settingsFor(call) : foldersIn(directory)
    for (const [folder, contents] of [
      [channelsDirectory, channelSchema],
      [mappingsDirectory, mappingSchema],
    ] as const) {
      const file = join(folder, 'schema.json')
      writeFileSync(file, schemaText(contents))
      print(`${fromHere(file)} written`)
    }
    return Promise.resolve(0)
  },
}

function foldersIn(directory: string): { channelsDirectory: string; mappingsDirectory: string } {
  const [channelsDirectory, mappingsDirectory] = ['channels', 'mappings'].map((name) =>
    resolve(directory, name),
  )
  for (const folder of [channelsDirectory!, mappingsDirectory!])
    if (!existsSync(folder)) throw new Usage(`${fromHere(folder)} does not exist`)
  return { channelsDirectory: channelsDirectory!, mappingsDirectory: mappingsDirectory! }
}

/** Longer lists are written one entry a line. */
const lineLengthMax = 110

/** The schema as text; short lists of words stand on one line, as in the files people write. */
export function schemaText(contents: JsonSchema): string {
  const text = JSON.stringify(contents, null, 2).replace(
    /^( *(?:"[^"]*": )?)\[\n([^[\]{}]*?)\n *\](,?)$/gm,
    (whole, before: string, entries: string, after: string) => {
      const line = `${before}[${entries.trim().replace(/\n */g, ' ')}]${after}`
      return line.length > lineLengthMax ? whole : line
    },
  )
  return `${text}\n`
}
