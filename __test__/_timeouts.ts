// What the tests of timeouts have in common: how one is seen to expire, and not to.
import { setTimeout as sleep } from 'node:timers/promises'
import type { ExecutionContext } from 'ava'
import type { Connection, IncomingRequest, Listener, ListenOptions, Timeouts } from '../index.js'
import * as h2 from './_frames.js'
import { FrameClient } from './_frames.js'
import { RawClient } from './_raw.js'
import { must, open, portOf, soon, watch } from './_server.js'

/** Of a timeout under test. */
export const TIME = 1000
/** What a busy machine may add before somebody notices. */
const LATE = 5000
/** Between the acts of one who is slow and goes on. */
const PACE = TIME / 5

/** A body longer than what all buffers on the way hold. */
export const LARGE = Buffer.alloc(32 << 20)

export const get = (path = '/') => `GET ${path} HTTP/1.1\r\nhost: a\r\n\r\n`
export const post = (length: number) => `POST / HTTP/1.1\r\nhost: a\r\ncontent-length: ${length}\r\n\r\n`

/** `over` comes `time` after now, and not before. What sets the timeout going must be done in `over`. */
export async function expires<T>(t: ExecutionContext, over: () => Promise<T>, time = TIME): Promise<T> {
  const since = performance.now()
  const value = await over()
  const elapsed = performance.now() - since
  t.true(elapsed >= time && elapsed < time + LATE, `${elapsed} ms, for a timeout of ${time} ms`)
  return value
}

/** Does something again and again for several times the timeout, or until `over`. */
export async function goesOn(act: (i: number) => unknown, over?: Promise<unknown>): Promise<void> {
  const state = over === undefined ? { settled: false } : watch(over)
  const until = performance.now() + 3 * TIME
  for (let i = 0; performance.now() < until && !state.settled; i++) {
    await act(i)
    await sleep(PACE)
  }
}

export async function h1Scene(t: ExecutionContext, timeouts: Partial<Timeouts>, options: ListenOptions = {}) {
  const listener = await open(t, { ...options, timeouts })
  const client = await RawClient.connect(portOf(listener))
  t.teardown(() => client.close())
  return { listener, client }
}

export async function h2Scene(t: ExecutionContext, timeouts: Partial<Timeouts>, manners: h2.Manners = {}) {
  const listener = await open(t, { timeouts })
  const client = await FrameClient.connect(portOf(listener), manners)
  t.teardown(() => client.close())
  return { listener, client, connection: must(await listener.nextConnection()) }
}

export async function pullOf(connection: Connection): Promise<IncomingRequest> {
  return must(await must(await connection.nextStream()).nextRequest())
}

/** One exchange with the next connection's or the given one's next request. */
export async function exchange(client: RawClient, request: Promise<IncomingRequest>): Promise<IncomingRequest> {
  await client.write(get())
  const pulled = await request
  await pulled.stream.send(pulled.key, { body: 'x' })
  await client.response()
  return pulled
}

export async function h2Exchange(t: ExecutionContext, client: FrameClient, connection: Connection, stream: number): Promise<void> {
  await client.write(h2.get(stream, '/'))
  const request = await pullOf(connection)
  await request.stream.send(request.key, { body: 'x' })
  t.not(await client.end(stream), null)
}

/** The one thing that was refused. */
export async function refusedOnce(t: ExecutionContext, listener: Listener, reason: string): Promise<void> {
  await soon(() => listener.stats().refused[reason] === 1, reason)
  t.deepEqual(Object.entries(listener.stats().refused).filter(([, count]) => count > 0), [[reason, 1]])
}
