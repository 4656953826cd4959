import { listen } from '../../../index.js'
import { options } from '../options.js'

const listener = await listen({ ...options, limits: { bodyBytes: Infinity } })
for await (const connection of listener) {
  for await (const stream of connection) {
    for await (const { key, body } of stream) {
      let length = 0
      for await (const chunk of body) length += chunk.length
      await stream.send(key, { body: `${length}` })
    }
  }
}
