// The server of the soak: in a process of its own, whose memory is what is looked at.
//   GET /                  a few bytes
//   GET /download?BYTES    that many, made as the client takes them
//   POST                   reads the body, answers its length
//   an upgrade             an echo
import { listen } from '../../../index.js'
import type { Connection, IncomingRequest, OutgoingResponse, Stream } from '../../../index.js'

const listener = await listen({ port: 0 })
process.once('disconnect', () => void listener.drain({ deadlineMs: 5000 }))

const piece = Buffer.alloc(16 << 10, 'hyperpull ')

function* download(bytes: number): Generator<Uint8Array> {
  for (let left = bytes; left > 0; left -= piece.length) yield piece.subarray(0, Math.min(left, piece.length))
}

async function respond(request: IncomingRequest): Promise<OutgoingResponse> {
  if (request.path === '/download') return { body: download(Number(request.query)) }
  let bytes = 0
  for await (const chunk of request.body ?? []) bytes += chunk.length
  return { headers: { 'content-type': 'text/plain' }, body: `${bytes} bytes` }
}

async function onStream(stream: Stream): Promise<void> {
  for await (const request of stream) {
    if (request.upgrade !== null) {
      const socket = await stream.upgrade(request.key)
      socket.on('error', () => {}) // the peer has gone
      socket.pipe(socket)
    } else {
      try {
        await stream.send(request.key, await respond(request))
      } catch {
        stream.reset() // the peer has gone, or is about to
      }
    }
  }
}

async function onConnection(connection: Connection): Promise<void> {
  for await (const stream of connection) void onStream(stream).catch(() => {}) // the peer's
}

process.send!({ port: 'port' in listener.address ? listener.address.port : 0 })
for await (const connection of listener) void onConnection(connection).catch(() => {})
