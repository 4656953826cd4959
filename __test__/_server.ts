// Listeners for the tests, and waits that are events of their own.
import { setImmediate } from 'node:timers/promises'
import type { ExecutionContext } from 'ava'
import { listen, PullError } from '../index.js'
import type { Connection, IncomingRequest, Listener, ListenOptions, OutgoingResponse, Stream } from '../index.js'
import { RawClient } from './_raw.js'
import { ioThreads } from './_io-threads.js'

/** A listener on a free port with one I/O thread, closed when the test ends. */
export async function open(t: ExecutionContext, options: ListenOptions = {}): Promise<Listener> {
  const listener = await listen({ ...(options.path === undefined ? { port: 0 } : {}), ioThreads, ...options })
  t.teardown(() => listener.close())
  return listener
}

export function portOf(listener: Listener): number {
  if (!('port' in listener.address)) throw new Error('not a TCP listener')
  return listener.address.port
}

/** The value, which must be there. */
export function must<T>(value: T | null | undefined): T {
  if (value === null || value === undefined) throw new Error('expected a value, got none')
  return value
}

/** The next request of a connection not yet seen. */
export async function pull(listener: Listener): Promise<IncomingRequest> {
  const connection = must(await listener.nextConnection())
  return must(await must(await connection.nextStream()).nextRequest())
}

/** The request that a client of its own makes with these bytes of a listener of its own. */
export async function asked(t: ExecutionContext, bytes: string | Uint8Array, options: ListenOptions = {}, allowHalfOpen = false) {
  const listener = await open(t, options)
  const client = await RawClient.connect(portOf(listener), allowHalfOpen)
  await client.write(bytes)
  return { listener, client, request: await pull(listener) }
}

/** One exchange on HTTP/1, as it looks on the wire. */
export async function wire(t: ExecutionContext, response: OutgoingResponse, request = 'GET / HTTP/1.1\r\nhost: a\r\n\r\n') {
  const listener = await open(t)
  const client = await RawClient.connect(portOf(listener))
  await client.write(request)
  const pulled = await pull(listener)
  const sent = await pulled.stream.send(pulled.key, response)
  const method = request.slice(0, request.indexOf(' '))
  return { sent, answer: await client.response(method), client, listener }
}

/** Runs the three loops with `handler`, each connection and stream by itself. A failure that is not the peer's fails the test file. */
export function answer(listener: Listener, handler: (request: IncomingRequest, stream: Stream) => unknown): Promise<void> {
  const onStream = async (stream: Stream) => {
    for await (const request of stream) await handler(request, stream)
  }
  const onConnection = async (connection: Connection) => {
    for await (const stream of connection) void onStream(stream).catch(unlessPeer)
  }
  return (async () => {
    for await (const connection of listener) void onConnection(connection).catch(unlessPeer)
  })()
}

function unlessPeer(error: unknown): void {
  if (error instanceof PullError && (error.side === 'peer' || error.code === 'ERR_CLOSED')) return
  throw error
}

/** Says whether a promise has settled, without waiting for it. */
export function watch(promise: Promise<unknown>): { settled: boolean } {
  const state = { settled: false }
  const settle = () => {
    state.settled = true
  }
  promise.then(settle, settle)
  return state
}

/**
 * What the I/O thread had to say before now has been said: whole exchanges on connections of their own have passed
 * through it since. Nobody else may be waiting in `nextConnection`.
 */
export async function barrier(listener: Listener, times = 3): Promise<void> {
  for (let i = 0; i < times; i++) {
    const client = await RawClient.connect(portOf(listener))
    await client.write('GET /barrier HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n')
    const request = await pull(listener)
    if (request.target !== '/barrier') throw new Error(`the barrier met ${request.target}`)
    await request.stream.send(request.key, { body: 'ok' })
    await client.rest()
  }
}

/** Waits until `ready`, looking again in each turn of the event loop. */
export async function soon(ready: () => boolean, what = 'it'): Promise<void> {
  for (const deadline = performance.now() + 20_000; !ready(); await setImmediate()) {
    if (performance.now() > deadline) throw new Error(`${what} did not come about`)
  }
}

/** The same for what brings up no event by itself, looking again after each barrier. */
export async function eventually(listener: Listener, ready: () => boolean, rounds = 2000): Promise<void> {
  for (let i = 0; i < rounds; i++) {
    if (ready()) return
    await barrier(listener, 1)
  }
  throw new Error('it did not come about')
}

/** The rejection of `promise`, which must be a PullError of one of `codes`. */
export async function rejected(t: ExecutionContext, promise: Promise<unknown>, ...codes: string[]): Promise<PullError> {
  const error = await t.throwsAsync(promise)
  t.true(error instanceof PullError, `a PullError, not ${error}`)
  const pullError = error as PullError
  t.true(codes.includes(pullError.code), `${pullError.code} is one of ${codes.join(', ')}: ${pullError.message}`)
  return pullError
}

/** A generator of numbers in [0, 1) that repeats with its seed (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}
