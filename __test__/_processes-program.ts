// A server on several processes or threads that share a port, for 86.processes.spec.ts. MODE is 'cluster', 'fork' or 'threads'.
// Each answers with its name. SIGUSR2 has the first one replaced, SIGTERM ends them all.
import { fork } from 'node:child_process'
import cluster from 'node:cluster'
import { once } from 'node:events'
import type { EventEmitter } from 'node:events'
import { fileURLToPath } from 'node:url'
import { isMainThread, parentPort, threadId, Worker } from 'node:worker_threads'
import { listen } from '../index.js'
import type { Connection, Stream } from '../index.js'
import { ioThreads } from './_io-threads.js'

interface Told {
  name: string
  port: number
}

interface Member {
  readonly told: Promise<Told>
  /** Drains it: its exit code. */
  stop(): Promise<number>
}

const mode = process.env.MODE!
const file = fileURLToPath(import.meta.url)
const isFirst = isMainThread && (mode === 'cluster' ? cluster.isPrimary : process.env.PORT === undefined)

if (isFirst) {
  const first = start(0)
  const { port, name } = await first.told
  const others = [start(port)]
  console.log(`names ${name} ${(await others[0]!.told).name}`)
  console.log(`listening on http://127.0.0.1:${port}`)
  process.once('SIGUSR2', async () => {
    others.push(start(port))
    const told = await others[1]!.told
    console.log(`stopped ${await first.stop()}, started ${told.name}`)
  })
  process.once('SIGTERM', async () => {
    const codes = await Promise.all(others.map((other) => other.stop()))
    console.log(`stopped ${codes}`)
  })
} else await serve()

/** One more that listens on `port`. */
function start(port: number): Member {
  const env = { ...process.env, PORT: String(port) }
  if (mode === 'threads') {
    const thread = new Worker(new URL(import.meta.url), { env })
    return member(thread, () => thread.postMessage('stop'))
  }
  // cluster's own way to end a worker, and a message where there is no cluster.
  if (mode === 'cluster') {
    const worker = cluster.fork(env)
    return member(worker, () => worker.disconnect())
  }
  const child = fork(file, { env })
  return member(child, () => child.send('stop'))
}

function member(of: EventEmitter, ask: () => void): Member {
  const exit = once(of, 'exit')
  const stop = async () => {
    ask()
    return (await exit)[0]
  }
  return { told: once(of, 'message').then(([told]) => told), stop }
}

async function serve(): Promise<void> {
  const name = isMainThread ? `process-${process.pid}` : `thread-${threadId}`
  const listener = await listen({ port: Number(process.env.PORT), reusePort: true, ioThreads })
  const drain = async () => {
    await listener.drain()
    if (process.connected) process.disconnect()
    parentPort?.close()
  }
  const onStream = async (stream: Stream) => {
    for await (const request of stream) await stream.send(request.key, { body: name })
  }
  const onConnection = async (connection: Connection) => {
    for await (const stream of connection) void onStream(stream).catch(() => {}) // the peer's
  }
  if (isMainThread) process.once('message', drain).once('disconnect', drain)
  parentPort?.once('message', drain)
  const told: Told = { name, port: 'port' in listener.address ? listener.address.port : 0 }
  if (isMainThread) process.send!(told)
  else parentPort!.postMessage(told)
  for await (const connection of listener) void onConnection(connection).catch(() => {})
}
