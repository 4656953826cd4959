// Priority in user code: at most WORKERS requests in work, and of those that wait the most urgent goes first.
// The urgency is the client's word (RFC 9218), but what stands under /batch/ always waits for the rest.
//   node --import @oxc-node/core/register examples/priority-queue.ts
//   curl -H 'priority: u=0' http://127.0.0.1:8080/now & curl http://127.0.0.1:8080/batch/1
import { setTimeout } from 'node:timers/promises'
import { listen } from 'hyperpull'
import type { Connection, IncomingRequest, Stream } from 'hyperpull'

const workers = Number(process.env.WORKERS ?? 2)
const queues: IncomingRequest[][] = Array.from({ length: 9 }, () => []) // urgency 0 to 7, then the batch
let working = 0

const listener = await listen({ port: Number(process.env.PORT ?? 8080) })
if ('port' in listener.address) console.log(`listening on http://127.0.0.1:${listener.address.port}`)
process.once('SIGTERM', () => listener.drain())
for await (const connection of listener) onConnection(connection).catch(console.error)

async function onConnection(connection: Connection): Promise<void> {
  for await (const stream of connection) onStream(stream).catch(console.error)
}

async function onStream(stream: Stream): Promise<void> {
  for await (const request of stream) {
    queues[request.path.startsWith('/batch/') ? 8 : request.priority.urgency]!.push(request)
    work()
  }
}

/** Begins as many of the waiting requests as may run. */
function work(): void {
  for (const queue of queues) {
    while (working < workers && queue.length > 0) {
      working++
      void handle(queue.shift()!)
        .catch(console.error)
        .finally(() => {
          working--
          work()
        })
    }
  }
}

async function handle({ stream, key, target, signal }: IncomingRequest): Promise<void> {
  if (signal.aborted) return // the client has not waited
  await setTimeout(Number(process.env.COST ?? 50))
  await stream.send(key, { headers: { 'x-working': working }, body: `${target} is done\n` })
}
