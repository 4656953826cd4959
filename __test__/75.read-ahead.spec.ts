// readAhead.requests: 0: nothing is let in before nextRequest asks for it.
import http2 from 'node:http2'
import test from 'ava'
import * as h2 from './_frames.js'
import { FrameClient } from './_frames.js'
import { RawClient } from './_raw.js'
import { must, open, portOf, watch } from './_server.js'
import type { Listener } from '../index.js'

const get = (path: string) => `GET ${path} HTTP/1.1\r\nhost: a\r\n\r\n`
const strict = { readAhead: { requests: 0 } } as const

/** As barrier(), for a listener whose pulls must be counted: it asks for one request, of its own connection. */
async function turn(listener: Listener, times = 3): Promise<void> {
  for (let i = 0; i < times; i++) {
    const client = await RawClient.connect(portOf(listener))
    await client.write(get('/turn').replace('\r\n\r\n', '\r\nconnection: close\r\n\r\n'))
    const stream = must(await must(await listener.nextConnection()).nextStream())
    const request = must(await stream.nextRequest())
    await stream.send(request.key, { body: 'x' })
    await client.rest()
  }
}

test('h1: a request is not parsed before it is asked for', async (t) => {
  const listener = await open(t, strict)
  const client = await RawClient.connect(portOf(listener))
  await client.write(get('/1'))
  const stream = must(await must(await listener.nextConnection()).nextStream())
  await turn(listener)
  t.is(listener.stats().requestsTotal, 3, 'those of the turns')
  const first = must(await stream.nextRequest())
  t.is(first.target, '/1')
  await stream.send(first.key, { body: 'one' })
  t.is((await client.response()).body.toString(), 'one')
  await client.write(get('/2'))
  await turn(listener)
  t.is(listener.stats().requestsTotal, 7)
  const second = must(await stream.nextRequest())
  t.is(second.target, '/2')
  await stream.send(second.key, { body: 'two' })
  t.is((await client.response()).body.toString(), 'two')
})

test('h1: a bad request is not answered before it is asked for', async (t) => {
  const listener = await open(t, strict)
  const client = await RawClient.connect(portOf(listener))
  await client.write(get('/1'))
  const stream = must(await must(await listener.nextConnection()).nextStream())
  const first = must(await stream.nextRequest())
  await stream.send(first.key, { body: 'one' })
  await client.response()
  await client.write('rubbish\r\n\r\n')
  await turn(listener)
  t.is(client.pending, '')
  const next = stream.nextRequest()
  t.is((await client.response()).status, 400)
  t.is(await next, null)
})

test('h1: pipelined requests wait for their pulls', async (t) => {
  const listener = await open(t, strict)
  const client = await RawClient.connect(portOf(listener))
  await client.write(get('/1') + get('/2') + get('/3'))
  const stream = must(await must(await listener.nextConnection()).nextStream())
  for (const path of ['/1', '/2', '/3']) {
    const before = listener.stats().requestsTotal
    await turn(listener, 1)
    t.is(listener.stats().requestsTotal, before + 1)
    const request = must(await stream.nextRequest())
    t.is(request.target, path)
    await stream.send(request.key, { body: path })
    t.is((await client.response()).body.toString(), path)
  }
})

test('h2: a request is not delivered before it is asked for', async (t) => {
  const listener = await open(t, strict)
  const session = http2.connect(`http://127.0.0.1:${portOf(listener)}`)
  t.teardown(() => session.destroy())
  const replies = ['/1', '/2', '/3'].map((path) => session.request({ ':path': path }))
  const connection = must(await listener.nextConnection())
  await turn(listener)
  t.is(listener.stats().requestsTotal, 3, 'those of the turns')
  for (const [i, reply] of replies.entries()) {
    const stream = must(await connection.nextStream())
    const request = must(await stream.nextRequest())
    t.is(request.target, `/${i + 1}`)
    t.is(listener.stats().requestsTotal, 3 + i + 1)
    await stream.send(request.key, { body: 'x' })
    reply.resume()
  }
})

test('h2: a request that waits for its place and is reset leaves its pull to the next', async (t) => {
  const listener = await open(t, { ...strict, limits: { requestsInFlight: 1 } })
  const client = await FrameClient.connect(portOf(listener))
  t.teardown(() => client.close())
  const connection = must(await listener.nextConnection())
  await client.write(h2.get(1, '/1'))
  const first = must(await must(await connection.nextStream()).nextRequest())
  const next = connection.nextStream()
  await client.write(h2.get(3, '/3'))
  await client.ping()
  await client.write(h2.reset(3))
  await client.ping()
  await client.write(h2.get(5, '/5'))
  await first.stream.send(first.key, {})
  t.is(must(await must(await next).nextRequest()).target, '/5')
})

test('with read-ahead the next request is there without a crossing', async (t) => {
  const listener = await open(t)
  const client = await RawClient.connect(portOf(listener))
  await client.write(get('/1') + get('/2'))
  const stream = must(await must(await listener.nextConnection()).nextStream())
  const first = must(await stream.nextRequest())
  await stream.send(first.key, { body: 'x' })
  await client.response()
  await turn(listener)
  t.is(listener.stats().requestsTotal, 5, 'one was read ahead')
  const next = stream.nextRequest()
  const state = watch(next)
  await Promise.resolve()
  await Promise.resolve()
  await Promise.resolve()
  t.true(state.settled, 'without a turn of the event loop')
  await stream.send(must(await next).key, {})
})

test('readAhead.connections: 0 accepts for the pulls alone', async (t) => {
  const listener = await open(t, { readAhead: { connections: 0 } })
  const clients = await Promise.all([0, 1, 2].map(() => RawClient.connect(portOf(listener))))
  for (const client of clients) await client.write(get('/'))
  for (let i = 1; i <= 3; i++) {
    const connection = must(await listener.nextConnection())
    t.is(listener.stats().connectionsTotal, i)
    const stream = must(await connection.nextStream())
    await stream.send(must(await stream.nextRequest()).key, { body: 'x' })
  }
  for (const client of clients) t.is((await client.response()).status, 200)
})
