import net from 'node:net'
import packet from 'dns-packet'

/** The PKIX certificates at a name, PEM: DNS over TCP (RFC 4398; RFC 7766). */
export function askCert(name: string, port: number): Promise<string[]> {
  return new Promise((resolve, reject) => {
    const query = packet.streamEncode({
      type: 'query',
      id: Math.floor(Math.random() * 65536),
      flags: packet.RECURSION_DESIRED,
      questions: [{ type: 'CERT', name, class: 'IN' }],
    })
    const socket = net.connect(port, '127.0.0.1', () => socket.write(query))
    let answer = Buffer.alloc(0)
    socket.setTimeout(5000, () => socket.destroy(new Error(`DNS did not answer about ${name}`)))
    socket.on('error', reject)
    socket.on('close', () => resolve([]))
    socket.on('data', (chunk: Buffer) => {
      answer = Buffer.concat([answer, chunk])
      if (answer.length < 2 || answer.length < 2 + answer.readUInt16BE(0)) return
      socket.end()
      resolve(
        (packet.streamDecode(answer).answers ?? [])
          .filter((record) => (record.type as string) === 'CERT')
          .map((record) => Buffer.from((record as unknown as { data: Uint8Array }).data))
          .filter((data) => data.readUInt16BE(0) === 1)
          .map((data) => pem(data.subarray(5))),
      )
    })
  })
}

function pem(der: Buffer): string {
  return `-----BEGIN CERTIFICATE-----\n${der.toString('base64').replace(/.{64}/g, '$&\n')}\n-----END CERTIFICATE-----\n`
}
