import { appendAudit, type AuditAction } from '../store/audit.ts'
import { addWish, dropWish, type Wish } from '../store/channel-wishes.ts'
import { inTransaction } from '../store/query.ts'
import type { OperatePorts, OperationOutcome } from './operate.ts'

export type Steering = 'pause' | 'resume' | 'stop' | 'start'

const steerings = {
  pause: { wish: 'paused', isWanted: true, audited: 'channel-paused', already: 'it is paused already' },
  resume: { wish: 'paused', isWanted: false, audited: 'channel-resumed', already: 'it is not paused' },
  stop: { wish: 'stopped', isWanted: true, audited: 'channel-stopped', already: 'it is stopped already' },
  start: {
    wish: 'stopped',
    isWanted: false,
    audited: 'channel-started',
    already: 'nobody stopped it; `enabled: false` is set and taken away in its file',
  },
} as const satisfies Record<
  Steering,
  { wish: Wish; isWanted: boolean; audited: AuditAction; already: string }
>

/**
 * What an operator does to a channel. Every process of the installation follows within a second or two, and after a restart.
 *
 * pause: messages are received, stored and acknowledged; none is decided until `resume`. stop: what is under way is finished, then
 * nothing is received until `start`.
 */
export function steerChannel(
  { dataSource, now }: OperatePorts,
  steering: Steering,
  channel: string,
  because: string | undefined,
  actor: string,
): Promise<OperationOutcome> {
  const { wish, isWanted, audited, already } = steerings[steering]
  return inTransaction(dataSource, async (query): Promise<OperationOutcome> => {
    const at = now()
    const isNew = isWanted
      ? await addWish(query, { channel, wish, at, actor, because: because ?? null })
      : await dropWish(query, channel, wish)
    if (!isNew) return { outcome: 'refused', because: already }
    await appendAudit(query, [
      { at, actor, action: audited, subject: `channel:${channel}`, detail: { because: because ?? null } },
    ])
    return { outcome: 'done', state: isWanted ? wish : 'running' }
  })
}
