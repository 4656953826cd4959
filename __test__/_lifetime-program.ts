// Ways for a process to end, for 81.lifetime.spec.ts: WAY names one. It is its own client.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import net from 'node:net'
import { setImmediate } from 'node:timers/promises'
import { isMainThread, parentPort, Worker } from 'node:worker_threads'
import { listen } from '../index.js'
import type { IncomingRequest, Listener } from '../index.js'
import { ioThreads } from './_io-threads.js'

const get = 'GET / HTTP/1.1\r\nhost: a\r\n\r\n'
const portOf = (listener: Listener) => ('port' in listener.address ? listener.address.port : 0)

async function connect(listener: Listener): Promise<net.Socket> {
  const socket = net.connect(portOf(listener), '127.0.0.1').on('error', () => {})
  await once(socket, 'connect')
  return socket
}

/** A listener with `count` requests pulled and not answered. */
async function inFlight(count = 5): Promise<{ listener: Listener; requests: IncomingRequest[]; sockets: net.Socket[] }> {
  const listener = await listen({ port: 0, ioThreads })
  const requests: IncomingRequest[] = []
  const sockets: net.Socket[] = []
  for (let i = 0; i < count; i++) {
    const socket = await connect(listener)
    socket.write(get)
    sockets.push(socket)
    const stream = await (await listener.nextConnection())!.nextStream()
    requests.push((await stream!.nextRequest())!)
  }
  return { listener, requests, sockets }
}

const ways: Record<string, () => Promise<unknown>> = {
  /** process.exit() with requests in flight, and answers under way. */
  async exit() {
    const { requests } = await inFlight()
    void requests[0]!.stream.send(requests[0]!.key, { body: Buffer.alloc(64 << 20) })
    void requests[1]!.body
    process.exit(7)
  },
  /** An exception that nobody catches. */
  async throw() {
    await inFlight()
    setTimeout(() => {
      throw new Error('nobody catches it')
    })
  },
  /** A listener that is unref'd and never closed: nothing keeps the process. */
  async unref() {
    const { listener, sockets } = await inFlight()
    for (const socket of sockets) socket.destroy()
    listener.unref()
    void listener.nextConnection()
  },
  /** Listeners that nobody keeps, without a loop. As a server of node:net they are not collected while they listen; the process may end. */
  async dropped() {
    const kept: Array<WeakRef<Listener>> = []
    for (let i = 0; i < 20; i++) kept.push(new WeakRef((await listen({ port: 0, ioThreads })).unref()))
    await collect()
    console.log(`collected ${kept.filter((listener) => !listener.deref()).length}`)
  },
  /** A program that keeps nothing of its loops: they go on. */
  async 'nothing-kept'() {
    const port = await serving()
    await collect()
    for (let i = 0; i < 10; i++) {
      await get200(port)
      await collect()
    }
    process.exit()
  },
  /** Started and stopped, over and over, with an exchange over and another in flight. */
  async churn() {
    const kept: Array<WeakRef<object>> = []
    for (let round = 0; round <= 150; round++) {
      const { listener, requests, sockets } = await inFlight(2)
      kept.push(new WeakRef(listener), new WeakRef(requests[0]!.stream.connection))
      await requests[0]!.stream.send(requests[0]!.key, { body: 'x'.repeat(100_000) })
      await (round % 2 ? listener.close() : Promise.all([listener.drain(), requests[1]!.stream.reset()]))
      for (const socket of sockets) socket.destroy()
      await collect(1) // or the memory of the last few is all that is seen
      if (round % 50 === 0) {
        await collect()
        console.log(JSON.stringify({ ...resources(), rss: process.memoryUsage.rss(), kept: kept.filter((object) => object.deref()).length }))
      }
    }
  },
  /** A child process lives on when its parent's listener and connection are closed, and holds neither of them. */
  async spawns() {
    const { listener, sockets } = await inFlight(1)
    const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1e6); console.log("lives")'], { stdio: ['ignore', 'pipe', 'inherit'] })
    await once(child.stdout, 'data')
    const ended = once(sockets[0]!.resume(), 'close')
    await listener.close()
    await ended
    await (await listen({ port: portOf(listener), ioThreads })).close()
    child.kill()
    await once(child, 'exit')
  },
  /** A listener that is referenced keeps the process; SIGTERM ends it as it ends any other. */
  async referenced() {
    const { sockets } = await inFlight(1)
    for (const socket of sockets) socket.destroy()
    console.log('waiting')
  },
  /** Closed, all of it: the process ends by itself. */
  async closed() {
    const { listener, sockets } = await inFlight()
    await listener.close()
    for (const socket of sockets) socket.destroy()
  },
  /** Drained, all of it: the process ends by itself. */
  async drained() {
    const { listener, requests } = await inFlight()
    const drained = listener.drain()
    for (const request of requests) void request.stream.send(request.key, { headers: { connection: 'close' } })
    const { completed } = await drained
    console.log(`completed ${completed}`)
  },
  /** Several workers that serve at once, then terminated in the middle. */
  async terminate() {
    for (let round = 0; round < 5; round++) {
      const workers = Array.from({ length: 4 }, () => new Worker(new URL(import.meta.url), { argv: ['worker'] }))
      const ports = await Promise.all(workers.map(async (worker) => (await once(worker, 'message'))[0] as number))
      const sockets = ports.map((port) => net.connect(port, '127.0.0.1').on('error', () => {}))
      for (const socket of sockets) for (let i = 0; i < 10; i++) socket.write(get)
      const answers = await Promise.all(sockets.map(async (socket) => String((await once(socket, 'data'))[0])))
      for (const text of answers) if (!text.startsWith('HTTP/1.1 200')) throw new Error(text)
      const codes = await Promise.all(workers.map((worker) => worker.terminate()))
      console.log(`round ${round}: ${codes.join(' ')}`)
      for (const socket of sockets) socket.destroy()
    }
    tell()
  },
  /** A worker that ends by itself after it has closed its listener. */
  async 'worker-closes'() {
    const worker = new Worker(new URL(import.meta.url), { argv: ['closed'] })
    const [code] = await once(worker, 'exit')
    if (code !== 0) throw new Error(`the worker ended with ${code}`)
    tell()
  },
  /** process.exit() of the worker itself, with requests in flight. */
  async 'worker-exits'() {
    const worker = new Worker(new URL(import.meta.url), { argv: ['exit'] })
    const [code] = await once(worker, 'exit')
    if (code !== 7) throw new Error(`the worker ended with ${code}`)
    tell()
  },
  /** The process exits while workers serve. */
  async 'exit-with-workers'() {
    const workers = Array.from({ length: 3 }, () => new Worker(new URL(import.meta.url), { argv: ['worker'] }))
    const ports = await Promise.all(workers.map(async (worker) => (await once(worker, 'message'))[0] as number))
    for (const port of ports) net.connect(port, '127.0.0.1').on('error', () => {}).write(get)
    await setImmediate()
    process.exit(9)
  },
  /** Serves every request but each tenth, until somebody ends it. */
  async worker() {
    const listener = await listen({ port: 0, ioThreads })
    parentPort!.postMessage(portOf(listener))
    for await (const connection of listener) {
      void (async () => {
        for await (const stream of connection) {
          let count = 0
          for await (const request of stream) {
            if (++count === 10) return // never answered: in flight when the end comes
            await stream.send(request.key, { body: 'x' })
          }
        }
      })()
    }
  },
}

/** A listener that answers, of which nothing is kept but the port. */
async function serving(): Promise<number> {
  const listener = await listen({ port: 0, ioThreads })
  void (async () => {
    for await (const connection of listener) {
      void (async () => {
        for await (const stream of connection) for await (const request of stream) await stream.send(request.key, { body: 'x' })
      })()
    }
  })()
  return portOf(listener)
}

async function get200(port: number): Promise<void> {
  const socket = net.connect(port, '127.0.0.1')
  socket.write(get)
  const [text] = await once(socket, 'data')
  if (!String(text).startsWith('HTTP/1.1 200')) throw new Error(String(text))
  socket.destroy()
}

/** Everything that nobody keeps is collected; a few turns, for what finalizers let go of. */
async function collect(turns = 5): Promise<void> {
  for (let i = 0; i < turns; i++) {
    ;(globalThis as { gc?: () => void }).gc!()
    await setImmediate()
  }
}

function resources(): { threads: number; descriptors: number } {
  if (process.platform !== 'linux') return { threads: 0, descriptors: 0 }
  return { threads: readdirSync('/proc/self/task').length, descriptors: readdirSync('/proc/self/fd').length }
}

/** At the start and at the end: neither threads nor descriptors outlive their environment. */
function tell(): void {
  console.log(JSON.stringify(resources()))
}

if (isMainThread) tell()
await ways[isMainThread ? process.env.WAY! : process.argv[2]!]!()
