// Graceful shutdown at each level: of the listener by SIGTERM, of one connection or one stream by a request for it.
//   node --import @oxc-node/core/register examples/shutdown.ts
//   curl -v http://127.0.0.1:8080/connection http://127.0.0.1:8080/    (curl has to connect again)
import { setTimeout } from 'node:timers/promises'
import { listen } from 'hyperpull'
import type { Connection, IncomingRequest, Stream } from 'hyperpull'

const listener = await listen({ port: Number(process.env.PORT ?? 8080) })
if ('port' in listener.address) console.log(`listening on http://127.0.0.1:${listener.address.port}`)

process.once('SIGTERM', async () => {
  console.log('draining')
  const { completed, aborted } = await listener.drain({ deadlineMs: 10_000 })
  console.log(`completed ${completed}, aborted ${aborted}`)
})

for await (const connection of listener) onConnection(connection).catch(console.error)

async function onConnection(connection: Connection): Promise<void> {
  void connection.closed.then(({ code }) => console.log(`connection ${connection.id}: ${code}`))
  for await (const stream of connection) onStream(stream).catch(console.error)
}

async function onStream(stream: Stream): Promise<void> {
  for await (const request of stream) await stream.send(request.key, await respond(request))
}

async function respond({ path, query, stream }: IncomingRequest): Promise<{ body: string }> {
  if (path === '/slow') {
    console.log('slow')
    await setTimeout(Number(query))
    return { body: 'answered, however long the drain had to wait\n' }
  }
  // Not awaited: a drain is done when this very request has been answered.
  if (path === '/connection') void stream.connection.drain()
  if (path === '/stream') void stream.drain()
  return { body: `the last answer of this ${path.slice(1) || 'request'}\n` }
}
