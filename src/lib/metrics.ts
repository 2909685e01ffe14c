import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client'

/**
 * What /metrics shows. Labels are channels, states and codes of our own: never an id, an address or anything a sender chose.
 */
export class Metrics {
  readonly registry = new Registry()
  readonly received: Counter<'channel' | 'outcome'>
  readonly decided: Counter<'channel' | 'state' | 'outcome'>
  readonly lookupMisses: Counter<'table'>
  readonly transmissions: Counter<'outcome'>
  readonly notifications: Counter<'effect'>
  readonly files: Counter<'channel' | 'outcome'>
  readonly ackSeconds: Histogram<'channel'>
  readonly channelsRefused: Gauge<'channel'>
  readonly connections: Gauge<'channel'>
  readonly open: Gauge<'state'>
  readonly oldestDueSeconds: Gauge
  readonly certificateDays: Gauge<'use'>
  readonly destinations: Gauge<'outcome'>
  readonly destinationsEnding: Gauge<'days'>
  readonly bundleAnchors: Gauge<'bundle'>
  readonly bundleAgeSeconds: Gauge<'bundle'>
  readonly bundleAlarms: Gauge<'bundle'>

  constructor() {
    const registers = [this.registry]
    collectDefaultMetrics({ register: this.registry, prefix: 'bluepost_' })
    this.received = new Counter({
      name: 'bluepost_messages_received_total',
      help: 'Messages received: answered as decided, unreadable (AR) or lost (AE: not stored, the sender has to send again).',
      labelNames: ['channel', 'outcome'],
      registers,
    })
    this.decided = new Counter({
      name: 'bluepost_messages_decided_total',
      help: 'Messages decided: triggered, filtered or quarantined, and what came of it.',
      labelNames: ['channel', 'state', 'outcome'],
      registers,
    })
    this.lookupMisses = new Counter({
      name: 'bluepost_lookup_misses_total',
      help: 'Lookups that found no row in a table, also where the mapping goes on without one. `bluepost tables` names the values.',
      labelNames: ['table'],
      registers,
    })
    this.transmissions = new Counter({
      name: 'bluepost_transmission_steps_total',
      help: 'Steps of transmissions by where they ended.',
      labelNames: ['outcome'],
      registers,
    })
    this.notifications = new Counter({
      name: 'bluepost_notifications_total',
      help: 'Notifications by effect: moved, late, already-known, ignored.',
      labelNames: ['effect'],
      registers,
    })
    this.files = new Counter({
      name: 'bluepost_files_total',
      help: 'Files taken from directories: archived, or quarantined because they cannot be read.',
      labelNames: ['channel', 'outcome'],
      registers,
    })
    this.ackSeconds = new Histogram({
      name: 'bluepost_ack_seconds',
      help: 'From the last byte of a frame to its acknowledgement.',
      labelNames: ['channel'],
      buckets: [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5],
      registers,
    })
    this.channelsRefused = new Gauge({
      name: 'bluepost_channel_files_refused',
      help: '1 where the files of a channel, as they are now, cannot be used: what ran before goes on, or nothing runs.',
      labelNames: ['channel'],
      registers,
    })
    this.connections = new Gauge({
      name: 'bluepost_mllp_connections',
      help: 'Open MLLP connections.',
      labelNames: ['channel'],
      registers,
    })
    this.open = new Gauge({
      name: 'bluepost_transmissions_open',
      help: 'Transmissions that are not at their end, by state.',
      labelNames: ['state'],
      registers,
    })
    this.oldestDueSeconds = new Gauge({
      name: 'bluepost_transmission_overdue_seconds',
      help: 'How long the oldest due transmission has been waiting.',
      registers,
    })
    this.certificateDays = new Gauge({
      name: 'bluepost_certificate_days_left',
      help: 'Days until the first signing certificate expires (sign), the last one others may encrypt to (decrypt), the first anchor (anchor).',
      labelNames: ['use'],
      registers,
    })
    this.destinations = new Gauge({
      name: 'bluepost_destinations',
      help: 'Active destinations by what the last look ahead found: trusted, untrusted, absent (no certificate), unavailable (nobody could say), unprobed. `bluepost destinations` names them.',
      labelNames: ['outcome'],
      registers,
    })
    this.destinationsEnding = new Gauge({
      name: 'bluepost_destinations_ending',
      help: 'Active destinations that can receive for at most so many days, unless their certificates are renewed.',
      labelNames: ['days'],
      registers,
    })
    this.bundleAnchors = new Gauge({
      name: 'bluepost_trust_bundle_anchors',
      help: 'Anchors of each trust bundle in use.',
      labelNames: ['bundle'],
      registers,
    })
    this.bundleAgeSeconds = new Gauge({
      name: 'bluepost_trust_bundle_age_seconds',
      help: 'Since each trust bundle was last confirmed by its source.',
      labelNames: ['bundle'],
      registers,
    })
    this.bundleAlarms = new Gauge({
      name: 'bluepost_trust_bundle_alarms',
      help: 'Things wrong with each trust bundle: failing, stale, waiting for a person, expired anchors. `bluepost trust list` names them.',
      labelNames: ['bundle'],
      registers,
    })
  }
}
