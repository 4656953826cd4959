// Drain: finish what is in flight, take nothing new, and say what became of it.
import { once } from 'node:events'
import http2 from 'node:http2'
import test from 'ava'
import type { IncomingRequest, Listener } from '../index.js'
import { h2Client } from './_client.js'
import { RawClient } from './_raw.js'
import { must, open, portOf, pull, rejected, soon, watch } from './_server.js'

const get = (path = '/') => `GET ${path} HTTP/1.1\r\nhost: a\r\n\r\n`

async function inFlight(listener: Listener, count: number) {
  const clients: RawClient[] = []
  const requests: IncomingRequest[] = []
  for (let i = 0; i < count; i++) {
    const client = await RawClient.connect(portOf(listener))
    await client.write(get(`/${i}`))
    clients.push(client)
    requests.push(await pull(listener))
  }
  return { clients, requests }
}

test('20 in flight are answered with connection: close', async (t) => {
  const listener = await open(t, { ioThreads: 2 })
  const { clients, requests } = await inFlight(listener, 20)
  const drained = listener.drain()
  t.is(await listener.nextConnection(), null)
  t.false(watch(drained).settled)
  for (const request of requests) void request.stream.send(request.key, { body: request.path })
  for (const [i, client] of clients.entries()) {
    const response = await client.response()
    t.is(response.status, 200)
    t.is(response.get('connection'), 'close')
    t.is(response.body.toString(), `/${i}`)
    t.is(await client.ended, 'end')
  }
  const report = await drained
  t.is(report.completed, 20)
  t.is(report.aborted, 0)
  for (const request of requests) {
    t.is(await request.stream.nextRequest(), null)
    t.is((await request.stream.connection.closed).code, 'drained')
  }
})

test('the port is free at once, idle connections close, and one that says nothing does too', async (t) => {
  const listener = await open(t)
  const { clients, requests } = await inFlight(listener, 2)
  await requests[0]!.stream.send(requests[0]!.key, { body: 'x' })
  await clients[0]!.response()
  const silent = await RawClient.connect(portOf(listener))
  const drained = listener.drain()
  t.is(await clients[0]!.ended, 'end', 'idle')
  await silent.ended
  await t.throwsAsync(async () => {
    const late = await RawClient.connect(portOf(listener))
    await late.write(get('/late'))
    await late.response()
  })
  await requests[1]!.stream.send(requests[1]!.key, { body: 'x' })
  t.like(await drained, { completed: 1, aborted: 0 })
})

test('a response that is being written goes on to its end', async (t) => {
  const listener = await open(t)
  const { clients, requests } = await inFlight(listener, 1)
  const [request] = requests as [IncomingRequest]
  const writer = request.stream.start(request.key, {})
  await writer.write('one ')
  await writer.flush()
  const drained = listener.drain()
  await writer.write('two')
  await writer.finish()
  t.is((await clients[0]!.response()).body.toString(), 'one two')
  t.is(await clients[0]!.ended, 'end')
  t.like(await drained, { completed: 1, aborted: 0 })
})

test('a body that is being read goes on to its end', async (t) => {
  const listener = await open(t)
  const client = await RawClient.connect(portOf(listener))
  await client.write('POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 8\r\n\r\nthe ')
  const request = await pull(listener)
  const drained = listener.drain()
  const text = must(request.body).text()
  await client.write('body')
  await request.stream.send(request.key, { body: await text })
  t.is((await client.response()).body.toString(), 'the body')
  t.like(await drained, { completed: 1, aborted: 0 })
})

test('requests that were read and not pulled are refused', async (t) => {
  const listener = await open(t)
  const first = await RawClient.connect(portOf(listener))
  await first.write(get())
  must(await listener.nextConnection())
  await soon(() => listener.stats().requestsTotal === 1)
  const drained = listener.drain()
  t.is((await first.response()).status, 503)
  t.is(await first.ended, 'end')
  t.like(await drained, { completed: 0, aborted: 0 })
})

test('a pipelined request behind the last answer is not begun', async (t) => {
  const listener = await open(t)
  const client = await RawClient.connect(portOf(listener))
  await client.write(get('/1') + get('/2'))
  const request = await pull(listener)
  const drained = listener.drain()
  await request.stream.send(request.key, { body: 'one' })
  const response = await client.response()
  t.is(response.get('connection'), 'close')
  t.is(await client.rest(), '', 'RFC 9112 section 9.6: the server processes nothing after it')
  t.is(await request.stream.nextRequest(), null)
  await drained
})

test('h2: GOAWAY, the streams in flight finish, later ones are refused', async (t) => {
  const listener = await open(t)
  const client = h2Client(portOf(listener))
  t.teardown(() => client.close())
  const replies = Array.from({ length: 20 }, (_, i) => client.fetch({ path: `/${i}` }))
  const connection = must(await listener.nextConnection())
  const requests: IncomingRequest[] = []
  for (let i = 0; i < 20; i++) requests.push(must(await must(await connection.nextStream()).nextRequest()))
  const goaway = once(client.session, 'goaway')
  const drained = listener.drain()
  const [code] = await goaway
  t.is(code, http2.constants.NGHTTP2_NO_ERROR)
  t.is(await connection.nextStream(), null)
  for (const request of requests) void request.stream.send(request.key, { body: request.path })
  t.deepEqual((await Promise.all(replies)).map(({ text }) => text), Array.from({ length: 20 }, (_, i) => `/${i}`))
  t.like(await drained, { completed: 20, aborted: 0 })
  t.is((await connection.closed).code, 'drained')
})

for (const protocol of ['h1', 'h2'] as const) {
  test(`${protocol}: what is left at the deadline is aborted`, async (t) => {
    const listener = await open(t)
    let broken: Promise<unknown>
    if (protocol === 'h1') {
      const client = await RawClient.connect(portOf(listener))
      await client.write(get())
      broken = t.throwsAsync(client.response())
    } else {
      const client = h2Client(portOf(listener))
      t.teardown(() => client.close())
      const reply = client.fetch()
      broken = t.throwsAsync(reply)
    }
    const request = await pull(listener)
    const report = await listener.drain({ deadlineMs: 100 })
    t.is(report.completed, 0)
    t.is(report.aborted, 1)
    t.true(report.elapsedMs >= 99 && report.elapsedMs < 10_000, `${report.elapsedMs} ms`)
    await broken
    t.true(request.signal.aborted)
    await rejected(t, request.stream.send(request.key, {}), 'ERR_CLOSED')
    t.is(listener.stats().connectionsOpen, 0)
  })
}

test('its signal is the deadline', async (t) => {
  const listener = await open(t)
  await inFlight(listener, 3)
  const controller = new AbortController()
  const drained = listener.drain({ signal: controller.signal })
  controller.abort()
  t.like(await drained, { completed: 0, aborted: 3 })
})

test('close during a drain ends it', async (t) => {
  const listener = await open(t)
  await inFlight(listener, 2)
  const drained = listener.drain()
  await listener.close()
  t.like(await drained, { completed: 0, aborted: 2 })
})

test('a drain without anything in flight is done at once, twice is once', async (t) => {
  const listener = await open(t)
  const [first, second] = await Promise.all([listener.drain(), listener.drain()])
  t.deepEqual(first, second)
  t.like(first, { completed: 0, aborted: 0 })
  await listener.close()
})

test('wrong drain options are refused', async (t) => {
  const listener = await open(t)
  await rejected(t, listener.drain({ deadline: 5 } as never), 'ERR_INVALID_OPTION')
  await rejected(t, listener.drain({ deadlineMs: -1 }), 'ERR_INVALID_OPTION')
})

test('a client that stays silent after half a head holds the drain no longer than its deadline', async (t) => {
  const listener = await open(t)
  const client = await RawClient.connect(portOf(listener))
  await client.write('GET / HTTP/1.1\r\nhos')
  const connection = listener.nextConnection()
  await connection
  const report = await listener.drain({ deadlineMs: 200 })
  t.is(report.completed, 0)
  await client.ended
})
