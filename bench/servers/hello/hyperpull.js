import { listen } from '../../../index.js'
import { options } from '../options.js'
const headers = { 'content-type': 'text/plain' }
const listener = await listen(options)
for await (const connection of listener) void onConnection(connection)

async function onConnection(connection) {
  for await (const stream of connection) void onStream(stream)
}

async function onStream(stream) {
  for await (const { key } of stream) await stream.send(key, { headers, body: 'Hello, World!' })
}
