import { listen } from '../../../index.js'
import { options } from '../options.js'
const headers = { 'content-type': 'text/plain' }
const mebibyte = Buffer.alloc(1 << 20, 'x')
for await (const connection of await listen(options)) onConnection(connection).catch(console.error)

async function onConnection(connection) {
  for await (const stream of connection) onStream(stream).catch(console.error)
}

async function onStream(stream) {
  for await (const { key } of stream) await stream.send(key, { headers, body: mebibyte })
}
