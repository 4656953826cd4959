// WebSocket echo: `ws` on the upgraded stream. The answer to the handshake is sent here, the frames are for `ws`.
//   node --import @oxc-node/core/register examples/websocket.ts
//   npx wscat -c ws://127.0.0.1:8080/
import { createHash } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { listen } from 'hyperpull'
import type { Connection, IncomingRequest, Stream, UpgradedStream } from 'hyperpull'
import { WebSocketServer } from 'ws'
import type { WebSocket } from 'ws'

const wss = new WebSocketServer({ noServer: true, maxPayload: 16 << 20, handleProtocols: (offered) => offered.has('echo') && 'echo' })
const listener = await listen({ port: Number(process.env.PORT ?? 8080) })
if ('port' in listener.address) console.log(`listening on http://127.0.0.1:${listener.address.port}`)
process.once('SIGTERM', () => {
  listener.drain()
  for (const socket of wss.clients) socket.close(1001)
})
for await (const connection of listener) onConnection(connection).catch(console.error)

async function onConnection(connection: Connection): Promise<void> {
  for await (const stream of connection) onStream(stream).catch(console.error)
}

async function onStream(stream: Stream): Promise<void> {
  for await (const request of stream) {
    if (isHandshake(request)) {
      const socket = adopt(request, await stream.upgrade(request.key, { headers: accept(request) }))
      socket.on('message', (data, binary) => socket.send(data, { binary }))
      socket.on('error', console.error)
    } else await stream.send(request.key, { status: 426, headers: { upgrade: 'websocket', 'sec-websocket-version': '13' } })
  }
}

function isHandshake({ upgrade, httpVersion, headers }: IncomingRequest): boolean {
  const whole = headers.get('sec-websocket-version') === '13' && headers.get('sec-websocket-key')?.length === 24
  return upgrade === 'websocket' && httpVersion === '1.1' && whole
}

/** RFC 6455 section 4.2.2: what the 101 must say. */
function accept({ headers }: IncomingRequest): Record<string, string> {
  const key = headers.get('sec-websocket-key')
  const digest = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
  const echo = headers.get('sec-websocket-protocol')?.split(/ *, */).includes('echo')
  return { 'sec-websocket-accept': digest, ...(echo ? { 'sec-websocket-protocol': 'echo' } : {}) }
}

/** Hands the stream over to `ws`, but for its first write: that is a 101 of its own, and one has been sent. */
function adopt({ method, headers }: IncomingRequest, tunnel: UpgradedStream): WebSocket {
  const { write } = tunnel
  tunnel.write = () => {
    tunnel.write = write
    return true
  }
  let socket: WebSocket | undefined
  wss.handleUpgrade({ method, headers: headers.toObject() } as IncomingMessage, tunnel, Buffer.alloc(0), (ready) => (socket = ready))
  return socket! // the callback is not a later one
}
