// Jest runs our TypeScript as Node does: types are blanked out in place (node:module stripTypeScriptTypes), so line
// and column numbers in stack traces are those of the source. Types are checked by `tsc` in `npm run check`.
import { stripTypeScriptTypes } from 'node:module'

export default {
  process: (source) => ({ code: stripTypeScriptTypes(source) }),
}
