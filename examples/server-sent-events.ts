// Server-sent events: the time, over and over, until the client leaves or the server drains.
//   node --import @oxc-node/core/register examples/server-sent-events.ts
//   curl -N http://127.0.0.1:8080/
import { setTimeout } from 'node:timers/promises'
import { serve } from 'hyperpull'
import type { IncomingRequest, OutgoingResponse } from 'hyperpull'

const interval = Number(process.env.INTERVAL ?? 1000)
const draining = new AbortController()
for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => draining.abort())

async function* events(request: IncomingRequest): AsyncGenerator<string> {
  const signal = AbortSignal.any([request.signal, draining.signal])
  const last = Number(request.headers.get('last-event-id') ?? 0)
  for (let id = last + 1; !signal.aborted; id++) {
    yield `id: ${id}\ndata: ${new Date().toISOString()}\n\n`
    await setTimeout(interval, null, { signal }).catch(() => {})
  }
  yield 'event: end\ndata: bye\n\n'
}

function respond(request: IncomingRequest): OutgoingResponse {
  return { headers: { 'content-type': 'text/event-stream', 'cache-control': 'no-store' }, body: events(request) }
}

const server = await serve({ port: Number(process.env.PORT ?? 8080) }, respond)
const { address } = server.listener
if ('port' in address) console.log(`listening on http://127.0.0.1:${address.port}`)
