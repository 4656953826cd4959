// A server in a process of its own, so that its memory can be measured.
//   GET  /memory            resident bytes now, and the most since the last time this was asked
//   GET  /handles           what keeps the event loop, and how many descriptors are open
//   GET  /download?BYTES    that many bytes
//   GET  /block?MS          keeps the JavaScript thread busy for so long, having printed "blocked"
//   GET  /stats             the listener's counters
//   PUT  /                  reads the body: its length and its SHA-256
import { createHash } from 'node:crypto'
import { readdirSync, writeSync } from 'node:fs'
import { listen } from '../index.js'
import type { Connection, IncomingRequest, OutgoingResponse, Stream } from '../index.js'
import { ioThreads } from './_io-threads.js'

const listener = await listen({ port: 0, ioThreads })
if ('port' in listener.address) console.log(`listening on http://127.0.0.1:${listener.address.port}`)

let most = 0
const measure = () => {
  const now = process.memoryUsage.rss()
  most = Math.max(most, now)
  return now
}

async function respond(request: IncomingRequest): Promise<OutgoingResponse> {
  if (request.path === '/memory') {
    const now = measure()
    const body = JSON.stringify({ now, most })
    most = now
    return { body }
  }
  if (request.path === '/handles') {
    const descriptors = process.platform === 'linux' ? readdirSync('/proc/self/fd').length : null
    return { body: JSON.stringify({ resources: process.getActiveResourcesInfo().length, descriptors }) }
  }
  if (request.path === '/block') {
    writeSync(1, 'blocked\n')
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, Number(request.query))
    return { body: 'free' }
  }
  if (request.path === '/stats') return { body: JSON.stringify(listener.stats()) }
  if (request.path === '/download') return { body: download(Number(request.query)) }
  const hash = createHash('sha256')
  let bytes = 0
  for await (const chunk of request.body ?? []) {
    hash.update(chunk)
    bytes += chunk.length
    measure()
  }
  return { body: JSON.stringify({ bytes, sha256: hash.digest('hex') }) }
}

function* download(bytes: number): Generator<Uint8Array> {
  const chunk = Buffer.alloc(64 << 10, 'hyperpull ')
  for (let left = bytes; left > 0; left -= chunk.length) {
    measure()
    yield chunk.subarray(0, Math.min(left, chunk.length))
  }
}

async function onStream(stream: Stream): Promise<void> {
  for await (const request of stream) await stream.send(request.key, await respond(request))
}

async function onConnection(connection: Connection): Promise<void> {
  for await (const stream of connection) void onStream(stream).catch(console.error)
}

for await (const connection of listener) void onConnection(connection).catch(console.error)
