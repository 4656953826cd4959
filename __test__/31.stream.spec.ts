// The stream: one request at a time on HTTP/1, one request at all on HTTP/2, keys, signals, resets.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import http2 from 'node:http2'
import test from 'ava'
import { Stream } from '../index.js'
import type { RequestKey } from '../index.js'
import { drainBody, h2Client } from './_client.js'
import * as h2 from './_frames.js'
import { FrameClient } from './_frames.js'
import { RawClient } from './_raw.js'
import { asked, barrier, must, open, portOf, pull, rejected, watch } from './_server.js'

const get = (path: string) => `GET ${path} HTTP/1.1\r\nhost: a\r\n\r\n`

test('h1: the next request comes after the last was sent', async (t) => {
  const listener = await open(t)
  const client = await RawClient.connect(portOf(listener))
  await client.write(get('/1') + get('/2') + get('/3'))
  let request = await pull(listener)
  const { stream } = request
  t.true(stream instanceof Stream)
  const keys = new Set<number>()
  for (let i = 1; i <= 3; i++) {
    t.is(request.target, `/${i}`)
    t.is(typeof request.key, 'number')
    t.is(request.stream, stream)
    keys.add(request.key)
    const next = stream.nextRequest()
    const waiting = watch(next)
    await barrier(listener)
    t.false(waiting.settled, 'one at a time')
    await stream.send(request.key, { body: `${i}` })
    if (i === 3) break
    request = must(await next)
  }
  t.is(keys.size, 3)
  for (const body of ['1', '2', '3']) t.is((await client.response()).body.toString(), body)
})

test('h1: leaving the iteration early leaves the stream usable', async (t) => {
  const listener = await open(t)
  const client = await RawClient.connect(portOf(listener))
  await client.write(get('/1') + get('/2'))
  const stream = must(await must(await listener.nextConnection()).nextStream())
  for (const path of ['/1', '/2']) {
    for await (const request of stream) {
      t.is(request.target, path)
      await stream.send(request.key, { body: path })
      break
    }
    t.is((await client.response()).body.toString(), path)
  }
})

test('h2: one request, then null', async (t) => {
  const listener = await open(t)
  const client = h2Client(portOf(listener))
  t.teardown(() => client.close())
  const reply = client.fetch()
  const stream = must(await must(await listener.nextConnection()).nextStream())
  const requests: string[] = []
  for await (const request of stream) {
    requests.push(request.target)
    await stream.send(request.key, {})
  }
  t.deepEqual(requests, ['/'])
  t.is(await stream.nextRequest(), null)
  await reply
})

test('h2: answers go out in whatever order they are given', async (t) => {
  const listener = await open(t)
  const client = h2Client(portOf(listener))
  t.teardown(() => client.close())
  const order: number[] = []
  const replies = Promise.all([0, 1, 2].map((i) => client.fetch({ path: `/${i}` }).then(() => order.push(i))))
  const connection = must(await listener.nextConnection())
  const requests = []
  for (let i = 0; i < 3; i++) requests.push(must(await must(await connection.nextStream()).nextRequest()))
  for (const request of requests.reverse()) await request.stream.send(request.key, { body: request.path })
  await replies
  t.deepEqual(order, [2, 1, 0])
})

test('h2: an answer that is not awaited does not hold the others up', async (t) => {
  const listener = await open(t)
  const session = http2.connect(`http://127.0.0.1:${portOf(listener)}`, { settings: { initialWindowSize: 1000 } })
  t.teardown(() => session.destroy())
  const slow = session.request({ ':path': '/slow' }) // not read: its window stays shut
  slow.on('error', () => {})
  const first = await pull(listener)
  const stuck = watch(first.stream.send(first.key, { body: Buffer.alloc(100_000) }))
  for (let i = 0; i < 5; i++) {
    const quick = drainBody(session.request({ ':path': '/quick' }))
    const request = must(await must(await first.stream.connection.nextStream()).nextRequest())
    await request.stream.send(request.key, { body: 'quick' })
    t.is(String(await quick), 'quick')
  }
  t.false(stuck.settled)
})

test('the signal aborts when an HTTP/2 client resets its stream', async (t) => {
  const listener = await open(t)
  const client = h2Client(portOf(listener))
  t.teardown(() => client.close())
  const exchange = client.open({})
  exchange.end()
  const request = await pull(listener)
  const aborted = once(request.signal, 'abort')
  exchange.abort()
  await aborted
  t.true(request.signal.aborted)
  await rejected(t, request.stream.send(request.key, {}), 'ERR_PEER_RESET', 'ERR_PEER_CLOSED')
})

test('a signal that is first asked for after the peer went is aborted', async (t) => {
  const { client, request } = await asked(t, get('/'))
  client.reset()
  await request.stream.connection.closed
  t.true(request.signal.aborted)
})

test('the signal does not abort after an answer that was sent', async (t) => {
  const { client, request } = await asked(t, get('/'))
  const { signal } = request
  await request.stream.send(request.key, {})
  await client.response()
  client.close()
  await request.stream.connection.closed
  t.false(signal.aborted)
})

test('h1: reset ends the connection without an answer', async (t) => {
  const { client, request } = await asked(t, get('/'))
  request.stream.reset()
  await client.ended
  t.is(client.pending, '')
  await rejected(t, request.stream.send(request.key, {}), 'ERR_CLOSED', 'ERR_KEY_USED', 'ERR_KEY_UNKNOWN')
  t.is(await request.stream.nextRequest(), null)
})

const reasons = { cancel: 8, refused: 7, internal: 2, 'enhance-your-calm': 11 } as const
for (const [reason, code] of Object.entries(reasons) as Array<[keyof typeof reasons, number]>) {
  test(`h2: reset('${reason}') is RST_STREAM ${code}, and the connection goes on`, async (t) => {
    const listener = await open(t)
    const session = http2.connect(`http://127.0.0.1:${portOf(listener)}`)
    t.teardown(() => session.destroy())
    const stream = session.request({})
    stream.on('error', () => {})
    const closed = new Promise((resolve) => stream.once('close', resolve))
    const request = await pull(listener)
    request.stream.reset(reason)
    await closed
    t.is(stream.rstCode, code)
    const again = drainBody(session.request({}))
    const next = must(await must(await request.stream.connection.nextStream()).nextRequest())
    await next.stream.send(next.key, { body: 'on' })
    t.is(String(await again), 'on')
  })
}

test('a key that was used is used, though the exchange was lost since', async (t) => {
  const { client, request } = await asked(t, 'GET / HTTP/1.1\r\nhost: a\r\n\r\n')
  const writer = request.stream.start(request.key, {})
  client.reset()
  await rejected(t, writer.finish(), 'ERR_PEER_RESET', 'ERR_PEER_CLOSED')
  await rejected(t, request.stream.send(request.key, {}), 'ERR_KEY_USED')
})

test('no two requests of a connection have one key, however many there are', async (t) => {
  t.timeout(120_000)
  const listener = await open(t)
  const requests = 2 ** 20 + 2
  const load = spawn('h2load', ['--h1', '-n', `${requests}`, '-c', '1', '-m', '64', `http://127.0.0.1:${portOf(listener)}/`], { stdio: 'ignore' })
  const stream = must(await must(await listener.nextConnection()).nextStream())
  const first = must(await stream.nextRequest())
  const { key } = first
  await stream.send(key, {})
  for (let i = 1; i < requests - 1; i++) await stream.send(must(await stream.nextRequest()).key, {})
  const last = must(await stream.nextRequest())
  t.is(first.key, key)
  await rejected(t, stream.send(first.key, {}), 'ERR_KEY_USED')
  await rejected(t, stream.send((last.key + 1) as RequestKey, {}), 'ERR_KEY_USED')
  await stream.send(last.key, {})
  await once(load, 'exit')
  t.is(load.exitCode, 0)
})

test('reset with a reason that does not exist is refused', async (t) => {
  const { client, request } = await asked(t, get('/'))
  for (const reason of ['boredom', 'toString']) {
    const error = t.throws(() => request.stream.reset(reason as never))
    t.is((error as { code?: string } | undefined)?.code, 'ERR_INVALID_OPTION', reason)
  }
  await request.stream.send(request.key, { body: 'still there' })
  t.is((await client.response()).body.toString(), 'still there')
})

test('h1: a stream that drains answers what it has and takes nothing more', async (t) => {
  const { client, request } = await asked(t, get('/'))
  const drained = request.stream.drain()
  await request.stream.send(request.key, { body: 'last' })
  const response = await client.response()
  t.is(response.body.toString(), 'last')
  t.is(response.get('connection'), 'close')
  await drained
  t.is(await request.stream.nextRequest(), null)
})

test('h2: a stream that drains leaves its connection alone', async (t) => {
  const listener = await open(t)
  const client = h2Client(portOf(listener))
  t.teardown(() => client.close())
  const reply = client.fetch()
  const request = await pull(listener)
  const drained = request.stream.drain()
  await request.stream.send(request.key, { body: 'last' })
  t.is((await reply).text, 'last')
  await drained
  const again = client.fetch()
  const next = must(await must(await request.stream.connection.nextStream()).nextRequest())
  await next.stream.send(next.key, { body: 'on' })
  t.is((await again).text, 'on')
})

test('h2: streams whose windows stay shut hold up no other, however small their answers', async (t) => {
  const listener = await open(t)
  const client = await FrameClient.connect(portOf(listener), { settings: { [h2.INITIAL_WINDOW_SIZE]: 0 } })
  t.teardown(() => client.close())
  const connection = must(await listener.nextConnection())
  const body = 'x'.repeat(4000)
  const last = 61
  for (let id = 1; id <= last; id += 2) {
    await client.write(h2.get(id, '/'))
    const { stream, key } = must(await must(await connection.nextStream()).nextRequest())
    const sent = stream.send(key, { body })
    sent.catch(() => {}) // of all but the last: the client leaves before
    if (id < last) continue
    await client.write(h2.windowUpdate(id, body.length))
    await sent
    await client.end(id)
  }
  t.is(client.dataBytes, body.length)
})
