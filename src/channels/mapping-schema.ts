import { targets } from '../mapping/targets.ts'
import { code, condition, flag, name, object, path, paths, text } from './schema-parts.ts'
import type { JsonSchema } from './schema-parts.ts'

/** The format of `mappings/NAME.yaml`. */
export const mappingSchema: JsonSchema = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  $id: 'https://bluepost.dev/schema/mapping.json',
  title: 'bluepost mapping',
  ...object(
    'a mapping: rows that turn a message into a trigger event',
    {
      mapping: { ...name, description: 'the name of the mapping; the file is NAME.yaml' },
      version: { const: 1, description: 'the version of this format' },
      input: { enum: ['hl7v2', 'fhir', 'x12'], description: 'what is read' },
      output: { const: 'trigger-event/1', description: 'what is made' },
      rows: { type: 'array', minItems: 1, items: { $ref: '#/$defs/row' }, description: 'a list of rows' },
    },
    ['mapping', 'version', 'input', 'output', 'rows'],
  ),
  $defs: {
    condition,
    row: object(
      'a row, such as { to: encounter.class, from: PV1-2, table: patient-class }',
      {
        to: { ...text, description: `what is filled: ${Object.keys(targets).join(', ')}` },
        from: { ...path, description: 'where the value stands' },
        first: { ...paths, description: 'several places; the first that gives a value' },
        value: { ...code, description: 'a fixed value' },
        each: { ...path, description: 'a repeating field; `rows` read each repetition' },
        keep: { $ref: '#/$defs/condition', description: 'which repetitions count' },
        rows: {
          type: 'array',
          minItems: 1,
          items: { $ref: '#/$defs/row' },
          description: 'rows whose paths stand inside the repetition, such as "4.1"',
        },
        as: { enum: ['text', 'datetime', 'date', 'assigner'], description: 'how the value is read' },
        table: { ...name, description: 'the name of a lookup table; its file is mappings/tables/NAME.csv' },
        miss: {
          enum: ['quarantine', 'skip'],
          description: 'what a value means that the table does not have; skip: as if there were none',
        },
        required: { ...flag, description: 'true: without a value the message is quarantined' },
        when: { $ref: '#/$defs/condition', description: 'the row is used only where this holds' },
      },
      ['to'],
    ),
  },
}
