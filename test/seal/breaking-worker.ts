import { parentPort } from 'node:worker_threads'
import '../../src/seal/worker.ts'

/** The real sealing thread, until an order asks it to break. */
parentPort!.on('message', (message: { what: string; order?: { subject: string } }) => {
  if (message.order?.subject === 'throw') throw new Error('broken on purpose')
  if (message.order?.subject === 'exit') process.exit(3)
})
