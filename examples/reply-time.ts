// A log of reply times: `send` resolves when the kernel has taken the last byte, so the time is the whole one.
//   node --import @oxc-node/core/register examples/reply-time.ts
//   curl http://127.0.0.1:8080/?1000000
import { listen } from 'hyperpull'
import type { Connection, Stream } from 'hyperpull'

const listener = await listen({ port: Number(process.env.PORT ?? 8080) })
if ('port' in listener.address) console.log(`listening on http://127.0.0.1:${listener.address.port}`)
process.once('SIGTERM', () => listener.drain())

for await (const connection of listener) onConnection(connection).catch(console.error)

async function onConnection(connection: Connection): Promise<void> {
  for await (const stream of connection) onStream(stream).catch(console.error)
}

async function onStream(stream: Stream): Promise<void> {
  for await (const { key, method, target, query } of stream) {
    try {
      const { bytes, receivedAt, sentAt } = await stream.send(key, { body: Buffer.alloc(Number(query) || 13, 'x') })
      console.log(`${method} ${target}: ${bytes} bytes, reply time ${(sentAt - receivedAt).toFixed(3)} ms`)
    } catch (error) {
      console.log(`${method} ${target}: not sent, ${error}`)
    }
  }
}
