import { expect } from '@jest/globals'
import type { InboxMessage } from './hisp-orders.ts'

declare module 'expect' {
  interface Matchers<R> {
    /** The inbox holds a message with this very document: same bytes, by SHA-256. */
    toContainDocument(document: { sha256: string } | undefined): R
  }
}

expect.extend({
  toContainDocument(inbox: readonly InboxMessage[], document: { sha256: string } | undefined) {
    const hashes = inbox.flatMap((message) => message.attachments.map(({ sha256 }) => sha256))
    const pass = document !== undefined && hashes.includes(document.sha256)
    return {
      pass,
      message: () =>
        `expected the inbox ${pass ? 'not ' : ''}to contain the document ${document?.sha256}; it holds ${inbox.length} messages with ${hashes.join(', ') || 'no attachments'}`,
    }
  },
})
