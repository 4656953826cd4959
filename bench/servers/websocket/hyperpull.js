import { listen } from '../../../index.js'
import { options } from '../options.js'
import { accept, adopt } from './adopt.js'
for await (const connection of await listen(options)) onConnection(connection).catch(console.error)

async function onConnection(connection) {
  for await (const stream of connection) for await (const request of stream) await onRequest(stream, request)
}

async function onRequest(stream, request) {
  const tunnel = await stream.upgrade(request.key, { headers: accept(request) })
  adopt(request, tunnel, (socket) => socket.on('message', (data, binary) => socket.send(data, { binary })))
}
