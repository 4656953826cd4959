// The pull loop. Nothing is accepted, let in or read before it is asked for; what is not awaited runs beside the rest.
//   node --import @oxc-node/core/register examples/hello.ts
//   curl http://127.0.0.1:8080/    curl --http2-prior-knowledge http://127.0.0.1:8080/
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
  for await (const request of stream) {
    await stream.send(request.key, { headers: { 'content-type': 'text/plain' }, body: 'Hello, World!\n' })
  }
}
