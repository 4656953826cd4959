// Clients in a process of their own: COUNT connections to PORT of one KIND. Prints 'ready' when all have done what they came for, and
// stays until SIGTERM, when each connection is reset: who does not read would not see a FIN behind what it has not read.
//   upload      POST /idle, and as much of its body as is let out: 128 KiB of what never ends
//   h2-upload   as many streams as fill the window of the connection, each with as much as its own window lets out
//   deaf        GET DOWNLOAD, and reads nothing of it
//   h2-deaf     the same, with a window for all of it
import { FrameClient, INITIAL_WINDOW_SIZE, SETTINGS, WINDOW_UPDATE, data, get, post, windowUpdate } from './_frames.js'
import { RawClient } from './_raw.js'

const { COUNT = '1', PORT, KIND = '', DOWNLOAD = '' } = process.env
const AT_ONCE = 100
const port = Number(PORT)
const body = Buffer.alloc(128 << 10)
const clients: Array<RawClient | FrameClient> = []

const kinds: Record<string, () => Promise<RawClient | FrameClient>> = {
  async upload() {
    const client = await RawClient.connect(port)
    await client.write('POST /idle HTTP/1.1\r\nhost: a\r\ncontent-length: 100000000\r\n\r\n')
    // Not awaited: the kernel need not take all of it.
    client.write(body).catch(() => {})
    return client
  },
  async 'h2-upload'() {
    const client = await FrameClient.connect(port)
    // What it may send: RFC 9113 section 6.9.2. The first frames tell, before the answer to the ping of `connect`.
    const settings = client.frames.find(({ type }) => type === SETTINGS)!.payload
    let stream = 65_535
    for (let at = 0; at < settings.length; at += 6) if (settings.readUInt16BE(at) === INITIAL_WINDOW_SIZE) stream = settings.readUInt32BE(at + 2)
    const more = client.frames.filter((frame) => frame.type === WINDOW_UPDATE && frame.stream === 0)
    let left = more.reduce((sum, { payload }) => sum + payload.readUInt32BE(0), 65_535)
    for (let id = 1; left > 0; id += 2) {
      await client.write(post(id, '/idle'))
      for (let window = Math.min(stream, left); window > 0; ) {
        const length = Math.min(window, 16_384)
        await client.write(data(id, body.subarray(0, length)))
        window -= length
        left -= length
      }
    }
    if (!(await client.ping())) throw new Error('a full window is no fault')
    return client
  },
  async deaf() {
    const client = await RawClient.connect(port)
    client.socket.pause()
    await client.write(`GET ${DOWNLOAD} HTTP/1.1\r\nhost: a\r\n\r\n`)
    return client
  },
  async 'h2-deaf'() {
    const client = await FrameClient.connect(port, { deaf: true, settings: { [INITIAL_WINDOW_SIZE]: 0x7fff_ffff } })
    await client.write(windowUpdate(0, 0x7fff_0000), get(1, DOWNLOAD))
    return client
  },
}

const act = kinds[KIND]!
for (let left = Number(COUNT); left > 0; left -= AT_ONCE) {
  clients.push(...(await Promise.all(Array.from({ length: Math.min(left, AT_ONCE) }, act))))
}
setInterval(() => {}, 1_000_000) // a socket that is not read does not keep the process
process.once('SIGTERM', () => {
  for (const { socket } of clients) socket.resetAndDestroy()
  process.exit()
})
console.log(`ready: ${clients.length}`)
