import net from 'node:net'

/**
 * The load of the intake benchmark, in a process of its own: lock-step MLLP senders (each sends its next message when
 * the last is acknowledged). Every message has a control id of its own. Told what to do, and reports, over IPC.
 */
export interface LoadOrder {
  readonly port: number
  readonly senders: number
  readonly warmUpMs: number
  readonly measureMs: number
  /** Distinguishes the control ids of this run from those of all others. */
  readonly run: number
}

export interface LoadReport {
  readonly acknowledged: number
  readonly measuredMs: number
  readonly p50Ms: number
  readonly p99Ms: number
}

const idDigits = 20

/** An ADT of 1.5 KB with room for a control id, as a frame. */
export function frameWithRoom(): { frame: Buffer; idAt: number } {
  const id = '0'.repeat(idDigits)
  const segments = [
    `MSH|^~\\&|ADT|ASHBY|BLUEPOST|ASHBY|20260302113000-0500||ADT^A03^ADT_A03|${id}|P|2.5.1|||||USA|UNICODE UTF-8`,
    'EVN|A03|20260302113000-0500|||JSMITH^Smith^Joan^^^^^^ASHBY|20260302113000-0500',
    'PID|1||E1001^^^ASHBY&1.2.3.4&ISO^MR~999-12-3456^^^SSA^SS||Ross^Ellen^M^^^^L||19560814|F|||17 Mill Road^^Ashby^MA^01431^USA^H||^PRN^PH^^1^978^5550142|||M|CHR|E1001-7^^^ASHBY&1.2.3.4&ISO^AN|||||||||||N',
    'PD1||||1234567890^Feelgood^Frank^^^^MD^^NPI',
    'NK1|1|Ross^Peter|SPO^Spouse^HL70063|17 Mill Road^^Ashby^MA^01431^USA^H|^PRN^PH^^1^978^5550143',
    'PV1|1|I|4WEST^412^2^ASHBY^^^^MAIN|E|||1234567890^Feelgood^Frank^^^^MD^^NPI|2345678901^Jones^Mary^^^^MD^^NPI|3456789012^Lee^Ann^^^^MD^^NPI|MED||||7|||1234567890^Feelgood^Frank^^^^MD^^NPI|IP|V7788^^^ASHBY&1.2.3.4&ISO^VN|MCR|||||||||||||||01|HOME||REG|ASHBY|||||20260228081500-0500|20260302113000-0500',
    'PV2||PRIVATE|^Shortness of breath|||||||3',
    'DG1|1||I50.9^Heart failure, unspecified^I10|||A',
    'AL1|1|DA|70618^Penicillin^RXNORM|MO|Hives|20100101',
    'IN1|1|MCR^Medicare|1EG4TE5MK73|Medicare^^^^^^XX|PO Box 100^^Boston^MA^02101|||||||19560814|20210801||MC|Ross^Ellen^M|SEL|19560814|17 Mill Road^^Ashby^MA^01431^USA',
  ]
  const text = segments.join('\r') + '\r'
  const content = text + `ZBL|${'x'.repeat(Math.max(0, 1536 - text.length - 5))}\r`
  const frame = Buffer.from(`\x0b${content}\x1c\r`, 'latin1')
  return { frame, idAt: frame.indexOf(id) }
}

async function load(order: LoadOrder): Promise<LoadReport> {
  const latencies: number[] = []
  let sent = 0
  let startedAt = Infinity
  let isOver = false
  let owed = 0
  const sockets = await Promise.all(
    Array.from({ length: order.senders }, () => {
      const { frame, idAt } = frameWithRoom()
      const socket = net.connect({ host: '127.0.0.1', port: order.port, noDelay: true })
      let sentAt = 0
      const send = (): void => {
        frame.write(`${order.run}-${sent++}`.padStart(idDigits, 'B'), idAt, 'latin1')
        owed++
        sentAt = performance.now()
        socket.write(frame)
      }
      socket.on('data', (chunk) => {
        if (chunk[chunk.length - 2] !== 0x1c) return
        const at = performance.now()
        if (sentAt >= startedAt && !isOver) latencies.push(at - sentAt)
        owed--
        if (!isOver) send()
      })
      return new Promise<{ socket: net.Socket; send: () => void }>((resolve, reject) => {
        socket.once('error', reject)
        socket.once('connect', () => resolve({ socket, send }))
      })
    }),
  )
  for (const { send } of sockets) send()
  await pause(order.warmUpMs)
  startedAt = performance.now()
  await pause(order.measureMs)
  isOver = true
  const measuredMs = performance.now() - startedAt
  while (owed > 0) await pause(5)
  for (const { socket } of sockets) socket.end()
  latencies.sort((a, b) => a - b)
  const share = (part: number): number =>
    latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * part))] ?? NaN
  return { acknowledged: latencies.length, measuredMs, p50Ms: share(0.5), p99Ms: share(0.99) }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

if (import.meta.main)
  process.on('message', (order: LoadOrder) => {
    load(order).then(
      (report) => process.send?.(report),
      (error: unknown) => {
        process.stderr.write(`the load failed: ${String(error)}\n`)
        process.exit(1)
      },
    )
  })
