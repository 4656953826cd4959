// A server in a process of its own for those who mean it ill: it tells what has become of them.
//   GET /memory         resident bytes now, and the most there ever were
//   GET /requests       how many /hold requests came, and how many of their signals have aborted
//   GET /closed?PORT    why the connection from that port ended, once it has
//   GET /hold           answered by a head alone; ends with the exchange
//   GET /idle           not answered, its body not read
//   all other           reads the body, answers its length
// OPTIONS in the environment is JSON for `listen`.
import { listen } from '../index.js'
import type { CloseReason, Connection, IncomingRequest, Stream } from '../index.js'

const listener = await listen({ port: 0, ioThreads: 1, ...JSON.parse(process.env.OPTIONS ?? '{}') })
if ('port' in listener.address) console.log(`listening on http://127.0.0.1:${listener.address.port}`)

const reasons = new Map<number, Promise<CloseReason>>()
let held = 0
let aborted = 0

async function tell(request: IncomingRequest): Promise<string> {
  if (request.path === '/memory') return JSON.stringify({ now: process.memoryUsage.rss(), most: process.resourceUsage().maxRSS * 1024 })
  if (request.path === '/requests') return JSON.stringify({ held, aborted })
  if (request.path === '/closed') return JSON.stringify((await reasons.get(Number(request.query))) ?? null)
  let bytes = 0
  for await (const chunk of request.body ?? []) bytes += chunk.length
  return String(bytes)
}

async function onStream(stream: Stream): Promise<void> {
  for await (const request of stream) {
    if (request.path === '/hold' || request.path === '/idle') {
      held++
      request.signal.addEventListener('abort', () => aborted++)
      if (request.path === '/hold') stream.start(request.key, { status: 200 })
    } else {
      await stream.send(request.key, { body: await tell(request) })
    }
  }
}

async function onConnection(connection: Connection): Promise<void> {
  if ('port' in connection.remote) reasons.set(connection.remote.port, connection.closed)
  for await (const stream of connection) void onStream(stream).catch(() => {}) // the peer's: that is what it is here for
}

for await (const connection of listener) void onConnection(connection).catch(() => {})
