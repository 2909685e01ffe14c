import { makeDataSource } from './src/store/data-source.ts'

// For the TypeORM command line (migration:show, migration:create): node node_modules/typeorm/cli.js … -d ormconfig.ts
// bluepost itself never reads this file; `bluepost migrate` works on the embedded database too.
const url = process.env['DATABASE_URL']
if (!url) throw new Error('ormconfig.ts: set DATABASE_URL to the database the TypeORM command shall work on')

export default makeDataSource(url)
