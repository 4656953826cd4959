// A server with a native side that panics where it is told to, for 83.faults.spec.ts. It is its own client, and prints what came of it.
// FAULT is JSON: the points, and the rounds in each of which every point panics once: at the earliest when the victim's request comes, or, with
// `ownEvent`, when it is answered, in an event of its own.
import { createRequire } from 'node:module'
import { setImmediate } from 'node:timers/promises'
import { listen, PullError } from '../index.js'
import type { Connection, Listener, Stream } from '../index.js'
import { h1Client, h2Client } from './_client.js'
import type { TestClient } from './_client.js'
import { portOf } from './_server.js'

const { injectFault } = createRequire(import.meta.url)(process.env.HYPERPULL_ADDON!) as { injectFault(point: string): void }
const { points, rounds, ioThreads, ownEvent } = JSON.parse(process.env.FAULT!) as { points: string[]; rounds: number; ioThreads: number; ownEvent?: boolean }

const uncaught: string[] = []
process.on('uncaughtException', (error) => void uncaught.push(error.message))

/** Why it failed, or what `told` makes of its value. */
async function outcome<T>(what: () => T | Promise<T>, told: (value: T) => string): Promise<string> {
  try {
    return told(await what())
  } catch (error) {
    return error instanceof PullError ? error.code : 'lost'
  }
}

const sends = new Set<string>()
const closes = new Set<string>()

async function onStream(stream: Stream): Promise<void> {
  for await (const request of stream) {
    const body = await outcome(() => request.body!.bytes(), (bytes) => `${request.path} ${bytes.length}`)
    if (ownEvent && request.path === '/victim') {
      await setImmediate()
      points.forEach(injectFault)
    }
    const send = await outcome(() => stream.send(request.key, { body }), () => 'sent')
    if (request.path === '/victim') sends.add(send)
  }
}

async function onConnection(connection: Connection): Promise<void> {
  void connection.closed.then(({ code, message }) => void closes.add(code === 'internal' ? message : code))
  for await (const stream of connection) void onStream(stream)
}

async function serve(listener: Listener): Promise<void> {
  for await (const connection of listener) void onConnection(connection).catch(() => {}) // told by connection.closed
}

// So few places that one which is not given back would soon be missed.
const options = { port: 0, ioThreads, limits: { connections: 4, requestsInFlight: 2 } }
const listener = await listen(options)
const served = outcome(() => serve(listener), () => 'null')
const body = Buffer.alloc(300_000, 'b')
const exchange = (client: TestClient, path: string) => outcome(() => client.fetch({ method: 'POST', path, body }), ({ text }) => text)

const neighbours = [h1Client(portOf(listener)), h2Client(portOf(listener))]
const victims: string[] = []
const others: string[] = []
for (let round = 0; round < rounds; round++) {
  for (const neighbour of neighbours) others.push(await exchange(neighbour, '/neighbour'))
  if (!ownEvent) points.forEach(injectFault)
  const victim = round % 2 ? h1Client(portOf(listener)) : h2Client(portOf(listener))
  victims.push(points.includes('listen') ? await outcome(() => listen(options), () => 'listens') : await exchange(victim, '/victim'))
  victim.close()
  for (const neighbour of neighbours) others.push(await exchange(neighbour, '/neighbour'))
}
for (const neighbour of neighbours) neighbour.close()
const late = h1Client(portOf(listener))
const after = await exchange(late, '/after')
late.close()
await listener.drain()
const unusual = [...closes].filter((code) => !['peer-closed', 'drained'].includes(code))
const { connectionsOpen, requestsInFlight, requestsTotal, responsesSent, responsesFailed } = listener.stats()

const next = await listen(options)
void serve(next)
const client = h2Client(portOf(next))
const anew = await exchange(client, '/anew')
client.close()
await next.close()

const distinct = (texts: string[]) => [...new Set(texts)]
console.log(
  JSON.stringify({
    victims: distinct(victims),
    others: distinct(others),
    after,
    anew,
    sends: [...sends],
    closes: unusual,
    uncaught,
    served: await served,
    left: { connectionsOpen, requestsInFlight, unaccounted: requestsTotal - responsesSent - responsesFailed },
  }),
)
