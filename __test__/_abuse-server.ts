// A server in a process of its own for those who mean it ill: it tells what has become of them.
//   GET /memory           resident bytes now, and the most there ever were
//   GET /requests         how many /hold and /idle requests came, and how many of their signals have aborted
//   GET /closed?PORT      why the connection from that port ended, once it has
//   GET /state            what is open: descriptors, loops, handlers, stats(); how the handlers' promises were rejected
//   GET /hold             answered by a head alone; ends with the exchange
//   GET /idle             not answered, its body not read
//   GET /work             says 103, then answers when its signal has aborted
//   GET /download?BYTES   that many bytes, made as the client takes them; /whole?BYTES: there whole, the same for all
//   GET /file?PATH        a file
//   GET /hoard?COUNT      takes all descriptors that there are, but so many
//   POST /refuse          answered 403, its body not read
//   all other             reads the body, answers its length, or 400 when it breaks off
// OPTIONS in the environment is JSON for `listen`.
import { once } from 'node:events'
import { closeSync, openSync, readFileSync, readdirSync } from 'node:fs'
import { listen } from '../index.js'
import type { CloseReason, Connection, IncomingRequest, OutgoingResponse, Stream } from '../index.js'
import { ioThreads } from './_io-threads.js'

const listener = await listen({ port: 0, ioThreads, ...JSON.parse(process.env.OPTIONS ?? '{}') })
if ('port' in listener.address) console.log(`listening on http://127.0.0.1:${listener.address.port}`)

const reasons = new Map<number, Promise<CloseReason>>()
const open = { connections: 0, streams: 0, handlers: 0 }
const rejected: Record<string, number> = {}
let whole: Buffer | null = null
let held = 0
let aborted = 0

/** On Linux maxRSS begins with what its parent had, so that the peak of a small process cannot be seen in it. */
function mostResident(): number {
  if (process.platform !== 'linux') return process.resourceUsage().maxRSS * 1024
  const [, kilobytes] = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))!
  return Number(kilobytes) * 1024
}

async function respond(request: IncomingRequest): Promise<OutgoingResponse> {
  if (request.path === '/memory') return told({ now: process.memoryUsage.rss(), most: mostResident() })
  if (request.path === '/requests') return told({ held, aborted })
  if (request.path === '/closed') return told((await reasons.get(Number(request.query))) ?? null)
  if (request.path === '/state') {
    const descriptors = process.platform === 'linux' ? readdirSync('/proc/self/fd').length : null
    return told({ ...open, descriptors, stats: listener.stats(), rejected })
  }
  if (request.path === '/download') return { body: download(Number(request.query)) }
  if (request.path === '/whole') return { body: (whole ??= Buffer.alloc(Number(request.query), 'whole')) }
  if (request.path === '/file') return { body: { file: request.query } }
  if (request.path === '/hoard') return told(hoard(Number(request.query)))
  if (request.path === '/refuse') return { status: 403, body: 'refused' }
  if (request.path === '/work') {
    await request.stream.inform(request.key, 103)
    if (!request.signal.aborted) await once(request.signal, 'abort')
    return { body: 'done' }
  }
  let bytes = 0
  try {
    for await (const chunk of request.body ?? []) bytes += chunk.length
  } catch (error) {
    count('bodies', error)
    return { status: 400 }
  }
  return { body: String(bytes) }
}

const told = (value: unknown): OutgoingResponse => ({ body: JSON.stringify(value) })

function* download(bytes: number): Generator<Uint8Array> {
  const chunk = Buffer.alloc(64 << 10)
  for (let left = bytes; left > 0; left -= chunk.length) yield chunk.subarray(0, Math.min(left, chunk.length))
}

function count(kind: string, error: unknown): void {
  const name = `${kind} ${(error as { code?: string }).code ?? error}`
  rejected[name] = (rejected[name] ?? 0) + 1
}

/** Counts as open until it is over; what the peer did to it is counted, not thrown. */
async function counted(kind: keyof typeof open, run: () => Promise<unknown>): Promise<void> {
  open[kind]++
  try {
    await run()
  } catch (error) {
    count(kind, error)
  } finally {
    open[kind]--
  }
}

function hoard(left: number): number {
  const taken: number[] = []
  try {
    for (;;) taken.push(openSync('/dev/null', 'r'))
  } catch {
    for (const descriptor of taken.splice(0, left)) closeSync(descriptor)
  }
  return taken.length
}

async function onStream(stream: Stream): Promise<void> {
  for await (const request of stream) {
    if (request.path === '/hold' || request.path === '/idle') {
      held++
      request.signal.addEventListener('abort', () => aborted++)
      if (request.path === '/hold') stream.start(request.key, { status: 200 })
    } else {
      await counted('handlers', async () => stream.send(request.key, await respond(request)))
    }
  }
}

async function onConnection(connection: Connection): Promise<void> {
  if ('port' in connection.remote) reasons.set(connection.remote.port, connection.closed)
  for await (const stream of connection) void counted('streams', () => onStream(stream))
}

for await (const connection of listener) void counted('connections', () => onConnection(connection))
