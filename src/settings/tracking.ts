import { BlockList, isIP } from 'node:net'
import { inboundMailBytesMax } from '../domain/limits.ts'
import type { Section } from './section.ts'

export interface TrackingSettings {
  readonly processedWithinMs: number
  readonly deliveredWithinMs: number
  readonly requestDelivery: boolean
  readonly messageBytesMax: number
  /** What becomes of messages that are no notifications. */
  readonly inbox: 'keep' | 'refuse'
  /** Whether what SMTP was told about a message must be what is signed inside it. */
  readonly envelope: 'compare' | 'ignore'
  /** Whether this peer is a mail server of our own, whose bounces are believed. */
  readonly isOwnRelay: (peer: string) => boolean
}

export function readTracking(root: Section): TrackingSettings {
  const section = root.section('tracking', [
    'processedWithin',
    'deliveredWithin',
    'requestDelivery',
    'messageBytesMax',
    'inbox',
    'envelope',
    'relays',
  ])
  return {
    processedWithinMs: section?.duration('processedWithin') ?? 3_600_000,
    deliveredWithinMs: section?.duration('deliveredWithin') ?? 3_600_000,
    requestDelivery: section?.boolean('requestDelivery') ?? true,
    messageBytesMax: section?.integer('messageBytesMax', 65_536, inboundMailBytesMax) ?? inboundMailBytesMax,
    inbox: section?.oneOf('inbox', ['keep', 'refuse']) ?? 'keep',
    envelope: section?.oneOf('envelope', ['compare', 'ignore']) ?? 'compare',
    isOwnRelay: readRelays(section),
  }
}

/**
 * Addresses and networks of our own mail servers, `unix` for the local socket. Where such a server also takes mail from
 * strangers, their bounces look like its own: then only the Message-ID, which strangers do not know, protects.
 */
function readRelays(section: Section | undefined): (peer: string) => boolean {
  const relays = new BlockList()
  let isUnix = false
  for (const text of section?.texts('relays') ?? []) {
    const [address = '', prefix, ...more] = text.split('/')
    const version = isIP(address)
    const bits = version === 4 ? 32 : 128
    const length = prefix === undefined ? bits : /^\d{1,3}$/.test(prefix) ? Number(prefix) : NaN
    if (text === 'unix') isUnix = true
    else if (version !== 0 && more.length === 0 && length <= bits)
      relays.addSubnet(address, length, version === 4 ? 'ipv4' : 'ipv6')
    else
      section?.problem(
        'relays',
        `“${text}” is not an IP address or network`,
        'write 192.0.2.25, 192.0.2.0/28, 2001:db8::25, or unix for a local socket',
      )
  }
  return (peer) => {
    if (peer === 'unix') return isUnix
    const version = isIP(peer)
    return version !== 0 && relays.check(peer, version === 4 ? 'ipv4' : 'ipv6')
  }
}
