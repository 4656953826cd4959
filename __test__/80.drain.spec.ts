// Drain: finish what is in flight, take nothing new, and say what became of it.
import { once } from 'node:events'
import http2 from 'node:http2'
import test from 'ava'
import type { ExecutionContext } from 'ava'
import type { Connection, IncomingRequest, Listener } from '../index.js'
import { drainBody, h1Client, h2Client } from './_client.js'
import * as h2 from './_frames.js'
import { FrameClient } from './_frames.js'
import { portPrinted, program } from './_process.js'
import { RawClient } from './_raw.js'
import { asked, eventually, must, open, portOf, pull, rejected, soon, watch } from './_server.js'

const get = (path = '/') => `GET ${path} HTTP/1.1\r\nhost: a\r\n\r\n`

async function pullOf(connection: Connection): Promise<IncomingRequest> {
  return must(await must(await connection.nextStream()).nextRequest())
}

/** Waits until so many bytes have been read. */
function hasRead(listener: Listener, bytes: number): Promise<void> {
  return eventually(listener, () => listener.stats().bytesRead >= bytes)
}

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
  const { listener, client, request } = await asked(t, 'POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 8\r\n\r\nthe ')
  const drained = listener.drain()
  const text = must(request.body).text()
  await client.write('body')
  await request.stream.send(request.key, { body: await text })
  t.is((await client.response()).body.toString(), 'the body')
  t.like(await drained, { completed: 1, aborted: 0 })
})

test('a pipelined request behind the last answer is not begun', async (t) => {
  const { listener, client, request } = await asked(t, get('/1') + get('/2'))
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

// ---- what was not pulled is refused, never dropped in silence

async function refusedStream(t: ExecutionContext, client: FrameClient, stream: number): Promise<void> {
  const end = must(await client.end(stream))
  t.deepEqual([end.type, end.payload.readUInt32BE(0)], [h2.RST_STREAM, h2.REFUSED_STREAM], `stream ${stream}`)
}

/** Whose drain it is: of a listener, or of the one connection. */
const levels = ['listener', 'connection'] as const

for (const level of levels) {
  for (const readAhead of [1, 0]) {
    const title = readAhead ? 'that were delivered and not pulled' : 'that were not even let in'

    test(`${level}, h1: requests ${title} are 503`, async (t) => {
      const listener = await open(t, { readAhead: { requests: readAhead } })
      const clients = await Promise.all([0, 1, 2].map(() => RawClient.connect(portOf(listener))))
      const drains: Promise<unknown>[] = []
      const connections: Connection[] = []
      for (const client of clients) {
        await client.write(get())
        connections.push(must(await listener.nextConnection()))
      }
      await soon(() => listener.stats().requestsTotal === 3 * readAhead)
      if (level === 'listener') drains.push(listener.drain())
      else for (const connection of connections) drains.push(connection.drain())
      for (const client of clients) {
        const response = await client.response()
        t.is(response.status, 503)
        t.is(response.get('connection'), 'close')
        t.is(await client.rest(), '')
      }
      await Promise.all(drains)
      for (const connection of connections) t.like(await connection.closed, { code: 'drained' })
      t.is(listener.stats().refused.draining, 3)
      if (level === 'listener') t.like(await drains[0], { completed: 0, aborted: 0 })
    })

    test(`${level}, h2: requests ${title} are REFUSED_STREAM`, async (t) => {
      const listener = await open(t, { readAhead: { requests: readAhead } })
      const client = await FrameClient.connect(portOf(listener))
      t.teardown(() => client.close())
      const connection = must(await listener.nextConnection())
      await client.write(h2.get(1, '/pulled'))
      const pulled = must(await must(await connection.nextStream()).nextRequest())
      await client.write(h2.get(3, '/'), h2.post(5, '/'), h2.data(5, 'body'))
      t.true(await client.ping())
      await soon(() => listener.stats().requestsTotal === 1 + 2 * readAhead)
      const drained = level === 'listener' ? listener.drain() : connection.drain()
      await refusedStream(t, client, 3)
      await refusedStream(t, client, 5)
      await pulled.stream.send(pulled.key, { body: 'x' })
      t.is(must(await client.end(1)).type, h2.DATA)
      await drained
      t.is(listener.stats().refused.draining, 2)
      if (level === 'listener') t.like(await drained, { completed: 1, aborted: 0 })
      t.like(await connection.closed, { code: 'drained' })
    })
  }

  test(`${level}, h2: GOAWAY in two steps: a stream between them is REFUSED_STREAM, one behind them was never there`, async (t) => {
    const listener = await open(t)
    const client = await FrameClient.connect(portOf(listener), { mute: true })
    t.teardown(() => client.close())
    const connection = must(await listener.nextConnection())
    await client.write(h2.get(1, '/1'), h2.get(3, '/3'))
    const requests = [await pullOf(connection), await pullOf(connection)]
    const drained = level === 'listener' ? listener.drain() : connection.drain()
    const goAways = () => client.frames.filter(({ type }) => type === h2.GOAWAY).map(({ payload }) => [payload.readUInt32BE(0), payload.readUInt32BE(4)])
    const ping = must(await client.first(({ type, flags }) => type === h2.PING && !(flags & h2.ACK)))
    t.deepEqual(goAways(), [[0x7fff_ffff, h2.NO_ERROR]], 'RFC 9113 section 6.8: it is coming')
    t.is(await connection.nextStream(), null)
    await client.write(h2.get(5, '/5'))
    await refusedStream(t, client, 5)
    await client.write(h2.frame(h2.PING, h2.ACK, 0, ping.payload))
    await client.first(({ type, payload }) => type === h2.GOAWAY && payload.readUInt32BE(0) !== 0x7fff_ffff)
    t.deepEqual(goAways().slice(1), [[5, h2.NO_ERROR]], 'and this is the last that was looked at')
    await client.write(h2.get(7, '/7'), h2.post(9, '/9'), h2.data(9, 'x'), h2.windowUpdate(9, 1), h2.data(9, 'x', true), h2.post(11, '/11'), h2.reset(11))
    for (const { stream, key, path } of requests) await stream.send(key, { body: path })
    t.is(must(await client.end(1)).type, h2.DATA)
    t.is(must(await client.end(3)).type, h2.DATA)
    await client.cut
    t.is(client.count(({ stream }) => stream >= 7), 0)
    t.is(goAways().length, 2)
    await drained
    t.is(listener.stats().refused.draining, 1)
  })

  test(`${level}: a head that is complete while it drains is 503`, async (t) => {
    const listener = await open(t)
    const [first, second] = [await RawClient.connect(portOf(listener)), await RawClient.connect(portOf(listener))]
    // The first head of one connection, the second of another.
    await first.write('GET / HTTP/1.1\r\nhos')
    const connections = [must(await listener.nextConnection())]
    await second.write(get())
    const request = await pull(listener)
    connections.push(request.stream.connection)
    await request.stream.send(request.key, {})
    await second.response()
    await second.write('GET / HTTP/1.1\r\nhos')
    await hasRead(listener, 2 * get().length)
    const drained = level === 'listener' ? [listener.drain()] : connections.map((connection) => connection.drain())
    const status = async (client: RawClient) => {
      await client.write('t: a\r\n\r\n')
      const response = await client.response()
      t.is(response.get('connection'), 'close')
      t.is(await client.rest(), '')
      return response.status
    }
    t.is(await status(first), 503)
    t.is(await status(second), 503)
    await Promise.all(drained)
    t.is(listener.stats().refused.draining, 2)
  })

  test(`${level}: idle connections close, on h2 with GOAWAY; at the deadline those in the middle of a head`, async (t) => {
    const listener = await open(t)
    const idle = await RawClient.connect(portOf(listener))
    await idle.write(get())
    const request = await pull(listener)
    await request.stream.send(request.key, {})
    await idle.response()
    const idle2 = await FrameClient.connect(portOf(listener))
    const connections = [request.stream.connection, must(await listener.nextConnection())]
    const half = await RawClient.connect(portOf(listener))
    await half.write('GET / HT')
    connections.push(must(await listener.nextConnection()))
    // A PING could not be answered within a header block.
    const half2 = await FrameClient.connect(portOf(listener), { mute: true })
    t.teardown(() => [idle, idle2, half, half2].forEach((client) => client.close()))
    connections.push(must(await listener.nextConnection()))
    await half2.write(h2.frame(h2.HEADERS, h2.END_STREAM, 1, h2.block('GET', '/')))
    const options = { deadlineMs: 500 }
    const drained = level === 'listener' ? [listener.drain(options)] : connections.map((connection) => connection.drain(options))
    t.is(await idle.ended, 'end')
    await idle2.cut
    t.is(idle2.goAway, h2.NO_ERROR)
    await Promise.all(drained)
    await half.ended
    await half2.cut
    t.deepEqual(await Promise.all(connections.map(async ({ closed }) => (await closed).code)), ['drained', 'drained', 'closed', 'closed'])
    t.is(listener.stats().connectionsOpen, 0)
    if (level === 'listener') t.like(await drained[0], { completed: 0, aborted: 0 })
  })

  for (const [protocol, connect] of [['h1', h1Client], ['h2', h2Client]] as const) {
    test(`${level}, ${protocol}: an upload and a download in progress finish`, async (t) => {
      const listener = await open(t)
      const size = 8 << 20
      const clients = [connect(portOf(listener)), connect(portOf(listener))]
      t.teardown(() => clients.forEach((client) => client.close()))
      const [up, down] = [clients[0]!.open({ method: 'PUT', path: '/up' }), clients[1]!.open({ path: '/down' })]
      down.end()
      const requests = [await pull(listener), await pull(listener)]
      const [upload, download] = requests.sort((a, b) => b.path.localeCompare(a.path)) as [IncomingRequest, IncomingRequest]
      void up.write(Buffer.alloc(size / 2))
      must(await must(upload.body).nextChunk())
      const writer = download.stream.start(download.key, {})
      void writer.write(Buffer.alloc(size / 2))
      const downloaded = drainBody((await down.reply).body)
      const drained = level === 'listener' ? [listener.drain()] : requests.map(({ stream }) => stream.connection.drain())
      void up.write(Buffer.alloc(size / 2)).then(() => up.end())
      const rest = must(upload.body).bytes()
      await writer.write(Buffer.alloc(size / 2))
      await writer.finish()
      t.is((await downloaded).length, size)
      t.true((await rest).length > size / 2)
      // Read as it comes: of a session that has ended node:http2 gives nothing more, from Node.js 24 on.
      const answered = up.reply.then(({ body }) => drainBody(body))
      await upload.stream.send(upload.key, { body: 'all of it' })
      t.is(String(await answered), 'all of it')
      await Promise.all(drained)
      if (level === 'listener') t.like(await drained[0], { completed: 2, aborted: 0 })
    })
  }
}

test('h2: a stream drains: what was not pulled of it is REFUSED_STREAM, its neighbours are not concerned', async (t) => {
  const listener = await open(t)
  const client = await FrameClient.connect(portOf(listener))
  t.teardown(() => client.close())
  const connection = must(await listener.nextConnection())
  await client.write(h2.get(1, '/1'), h2.get(3, '/3'))
  const [first, second] = [must(await connection.nextStream()), must(await connection.nextStream())]
  await first.drain()
  await refusedStream(t, client, 1)
  t.is(await first.nextRequest(), null)
  const request = must(await second.nextRequest())
  await second.send(request.key, { body: 'x' })
  t.is(must(await client.end(3)).type, h2.DATA)
  t.is(client.goAway, null)
})

test('h2: a drain of the listener refuses the request of a stream that was pulled without it', async (t) => {
  const listener = await open(t)
  const client = await FrameClient.connect(portOf(listener))
  t.teardown(() => client.close())
  await client.write(h2.get(1, '/'))
  const stream = must(await must(await listener.nextConnection()).nextStream())
  const drained = listener.drain()
  await refusedStream(t, client, 1)
  t.is(await stream.nextRequest(), null)
  t.like(await drained, { completed: 0, aborted: 0 })
  t.is(listener.stats().refused.draining, 1)
})

test('requests over limits.requestsInFlight are refused once it is their turn', async (t) => {
  const listener = await open(t, { limits: { requestsInFlight: 1 } })
  const { clients, requests } = await inFlight(listener, 1)
  const waiting = await RawClient.connect(portOf(listener))
  await waiting.write(get())
  must(await listener.nextConnection())
  const drained = listener.drain()
  await requests[0]!.stream.send(requests[0]!.key, {})
  t.is((await clients[0]!.response()).status, 200)
  t.is((await waiting.response()).status, 503)
  t.like(await drained, { completed: 1, aborted: 0 })
})

test('the report counts what was answered and what was aborted at the deadline', async (t) => {
  const listener = await open(t)
  const { requests } = await inFlight(listener, 3)
  const client = await FrameClient.connect(portOf(listener))
  t.teardown(() => client.close())
  await client.write(h2.get(1, '/'), h2.get(3, '/'))
  const connection = must(await listener.nextConnection())
  requests.push(await pullOf(connection), await pullOf(connection))
  const drained = listener.drain({ deadlineMs: 500 })
  for (const i of [0, 1, 3]) await requests[i]!.stream.send(requests[i]!.key, {})
  // Begun, but not sent at the deadline.
  void requests[2]!.stream.start(requests[2]!.key, {}).write('half').catch(() => {})
  t.like(await drained, { completed: 3, aborted: 2 })
  t.true(requests[2]!.signal.aborted && requests[4]!.signal.aborted)
  t.is(listener.stats().requestsInFlight, 0)
})

test('the process ends by itself once the last one was answered', async (t) => {
  const child = program(t, '__test__/_serve-program.ts')
  const port = await portPrinted(child)
  const slow = await Promise.all([0, 1, 2].map(() => RawClient.connect(port)))
  for (const client of slow) await client.write(get('/slow'))
  const streams = await FrameClient.connect(port)
  await streams.write(h2.get(1, '/slow'))
  // Connections that ask for nothing.
  const silent = await RawClient.connect(port)
  const idle = await FrameClient.connect(port)
  t.teardown(() => [...slow, streams, silent, idle].forEach((client) => client.close()))
  await child.printed(/(handling\s+){4}/)
  child.child.kill('SIGTERM')
  for (const client of slow) t.is((await client.response()).status, 200)
  t.is(must(await streams.end(1)).type, h2.DATA)
  const last = performance.now()
  const { code, stdout } = await child.ended
  t.is(code, 0)
  t.regex(stdout, /completed 4, aborted 0/)
  // A second, on a machine that has nothing else to do.
  t.true(performance.now() - last < 5000, `${performance.now() - last} ms later`)
})
