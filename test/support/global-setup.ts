import { setTimeout } from 'node:timers/promises'
interface X { a: string }
export default async function setup(): Promise<void> { const x: X = { a: 'set' }; await setTimeout(1); process.env['PROBE'] = x.a }
