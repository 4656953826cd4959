import { listen } from '../../../index.js'
import { options } from '../options.js'
const chunk = Buffer.alloc(1 << 16)
const headers = { 'content-length': 1 << 30 }
function* gibibyte() {
  for (let left = 1 << 14; left > 0; left--) yield chunk
}
for await (const connection of await listen(options)) {
  for await (const stream of connection) {
    for await (const { key } of stream) await stream.send(key, { headers, body: gibibyte() })
  }
}
