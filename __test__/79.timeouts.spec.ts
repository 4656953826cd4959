// Each timeout of a connection, from outside: it expires at its time and not before, with its own reason, and what must not set it
// off does not. Those of bodies are in 79.slow-bodies.
import { setTimeout as sleep } from 'node:timers/promises'
import test from 'ava'
import * as h2 from './_frames.js'
import { FrameClient } from './_frames.js'
import { RawClient } from './_raw.js'
import { answer, must, open, portOf, pull, rejected, soon, watch } from './_server.js'
import { LARGE, TIME, exchange, expires, get, goesOn, h1Scene, h2Exchange, h2Scene, post, pullOf, refusedOnce } from './_timeouts.js'

// ---- handshake

for (const [title, protocols, bytes] of [
  ['says nothing', undefined, ''],
  ['says nothing to HTTP/1.1 alone', ['http/1.1'], ''],
  ['says nothing to HTTP/2 alone', ['h2'], ''],
  ['stops within the preface', undefined, 'PRI * HTTP/2.0\r\n\r\nSM\r'],
  ['says the preface without SETTINGS', undefined, 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
] as const) {
  test(`handshake: a connection that ${title} is closed`, async (t) => {
    const listener = await open(t, { ...(protocols && { protocols }), timeouts: { handshake: TIME } })
    await expires(t, async () => {
      const client = await RawClient.connect(portOf(listener))
      await client.write(bytes)
      await client.ended
    })
    await refusedOnce(t, listener, 'handshake-timeout')
    await soon(() => listener.stats().connectionsOpen === 0)
  })
}

test('handshake: a preface byte by byte gets no more time', async (t) => {
  const { client, listener } = await h1Scene(t, { handshake: TIME })
  const preface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'
  await goesOn((i) => client.write(preface[i]!).catch(() => {}), client.ended)
  await client.ended
  await refusedOnce(t, listener, 'handshake-timeout')
})

test('handshake: does not run once the protocol is known', async (t) => {
  const { client, listener } = await h1Scene(t, { handshake: TIME })
  await client.write('GET /')
  await sleep(2 * TIME)
  await client.write('slow HTTP/1.1\r\nhost: a\r\n\r\n')
  const request = await pull(listener)
  t.is(request.path, '/slow')
  await request.stream.send(request.key, { body: 'x' })
  t.is((await client.response()).status, 200)
})

test('h2: handshake: does not run once the protocol is known', async (t) => {
  const { client, connection } = await h2Scene(t, { handshake: TIME })
  await sleep(2 * TIME)
  await h2Exchange(t, client, connection, 1)
  t.false(client.isCut)
})

// ---- headers

for (const nth of ['first', 'second'] as const) {
  test(`headers: the ${nth} head of a connection, sent byte by byte without an end, is 408`, async (t) => {
    const { client, listener } = await h1Scene(t, { headers: TIME })
    const connection = nth === 'second' ? (await exchange(client, pull(listener))).stream.connection : null
    await expires(t, async () => {
      await client.write('GET / HTTP/1.1\r\nhost: a\r\nx: ')
      const response = client.response()
      await goesOn(() => client.write('y').catch(() => {}), response)
      t.is((await response).status, 408)
    })
    t.is(await client.rest(), '')
    await refusedOnce(t, listener, 'headers-timeout')
    t.like(await (connection ?? must(await listener.nextConnection())).closed, { code: 'headers-timeout', side: 'peer' })
  })
}

test('headers: neither the time before a head, nor that of a body, nor that of the answer counts', async (t) => {
  const { client, listener } = await h1Scene(t, { headers: TIME })
  await sleep(2 * TIME)
  await client.write(post(8))
  const request = await pull(listener)
  const body = must(request.body).text()
  await goesOn((i) => i < 8 && client.write(String(i)))
  t.is(await body, '01234567')
  // Half of the next head is there, and nobody reads it.
  await client.write('GET /next HTT')
  await sleep(2 * TIME)
  await request.stream.send(request.key, { body: 'x' })
  t.is((await client.response()).status, 200)
  await client.write('P/1.1\r\nhost: a\r\n\r\n')
  const next = must(await request.stream.nextRequest())
  await next.stream.send(next.key, { body: 'y' })
  t.is((await client.response()).body.toString(), 'y')
})

for (const [title, begin] of [
  // The 9 bytes of a frame's head say how long it is.
  ['a HEADERS frame that comes byte by byte', h2.frame(h2.HEADERS, h2.END_STREAM, 3, Buffer.alloc(1000)).subarray(0, 9)],
  ['a header block that waits for its CONTINUATION', h2.frame(h2.HEADERS, h2.END_STREAM, 3, h2.block('GET', '/'))],
] as const) {
  test(`h2: headers: ${title} ends the connection`, async (t) => {
    const { client, connection, listener } = await h2Scene(t, { headers: TIME })
    await h2Exchange(t, client, connection, 1)
    await expires(t, async () => {
      await client.write(begin)
      if (begin.length === 9) await goesOn(() => client.write('x'), client.cut)
      await client.cut
    })
    t.is(client.goAway, h2.ENHANCE_YOUR_CALM)
    t.like(await connection.closed, { code: 'headers-timeout', side: 'peer' })
    await refusedOnce(t, listener, 'headers-timeout')
  })
}

test('h2: headers: neither an idle stream nor a slow header block in time is cut', async (t) => {
  const { client, connection } = await h2Scene(t, { headers: TIME })
  const bytes = h2.block('GET', '/slow')
  for (const stream of [1, 3, 5]) {
    // Each takes more than half of the time; all of them together take more than all of it.
    await client.write(h2.frame(h2.HEADERS, h2.END_STREAM, stream, bytes.subarray(0, 10)))
    await sleep(TIME / 2)
    await client.write(h2.frame(h2.CONTINUATION, h2.END_HEADERS, stream, bytes.subarray(10)))
    const request = await pullOf(connection)
    await request.stream.send(request.key, { body: 'x' })
    t.not(await client.end(stream), null)
  }
  await client.write(h2.post(7, '/body'))
  const request = await pullOf(connection)
  await sleep(2 * TIME)
  await request.stream.send(request.key, { body: 'x' })
  t.not(await client.end(7), null)
  t.true(await client.ping())
})

// ---- keepAliveIdle

test('keepAliveIdle: a connection that asks for nothing more is closed', async (t) => {
  const { client, listener } = await h1Scene(t, { keepAliveIdle: TIME })
  const reason = await expires(t, async () => {
    const request = await exchange(client, pull(listener))
    t.is(await client.rest(), '')
    return request.stream.connection.closed
  })
  t.like(reason, { code: 'keep-alive-timeout', side: 'peer' })
  t.is(await client.ended, 'end')
})

test('h2: keepAliveIdle: a connection that asks for nothing more is told GOAWAY and closed', async (t) => {
  const { client, connection } = await h2Scene(t, { keepAliveIdle: TIME })
  const reason = await expires(t, async () => {
    await h2Exchange(t, client, connection, 1)
    await client.cut
    return connection.closed
  })
  t.is(client.goAway, h2.NO_ERROR)
  t.like(reason, { code: 'keep-alive-timeout', side: 'peer' })
})

test('h2: keepAliveIdle: one that does not answer the GOAWAY either is closed', async (t) => {
  const { client, connection } = await expires(t, async () => {
    const scene = await h2Scene(t, { keepAliveIdle: TIME }, { mute: true })
    await scene.client.cut
    return scene
  }, 2 * TIME)
  t.is(client.goAway, h2.NO_ERROR)
  t.like(await connection.closed, { code: 'keep-alive-timeout', side: 'peer' })
})

test('keepAliveIdle: runs neither while the caller is at work nor while requests come', async (t) => {
  const { client, listener } = await h1Scene(t, { keepAliveIdle: TIME })
  await client.write(get())
  const request = await pull(listener)
  await sleep(2 * TIME)
  await request.stream.send(request.key, { body: 'x' })
  await client.response()
  await goesOn(() => exchange(client, request.stream.nextRequest().then(must)))
  t.pass()
})

test('h2: keepAliveIdle: runs neither while the caller is at work nor while requests come', async (t) => {
  const { client, connection } = await h2Scene(t, { keepAliveIdle: TIME })
  await client.write(h2.get(1, '/'))
  const request = await pullOf(connection)
  await sleep(2 * TIME)
  await request.stream.send(request.key, { body: 'x' })
  await goesOn((i) => h2Exchange(t, client, connection, 2 * i + 3))
  t.is(client.goAway, null)
})

// ---- connectionAge

test('connectionAge: an HTTP/1.1 connection ends with the next answer, which says so', async (t) => {
  const listener = await open(t, { timeouts: { connectionAge: TIME } })
  const busy = await RawClient.connect(portOf(listener))
  await busy.write(get())
  const request = await pull(listener)
  const idle = await RawClient.connect(portOf(listener))
  const { stream } = await exchange(idle, pull(listener))
  const ended = watch(idle.ended)
  // One of the same listener that is younger: when it is old enough, they are.
  const younger = await FrameClient.connect(portOf(listener))
  t.teardown(() => younger.close())
  await younger.first(({ type }) => type === h2.GOAWAY)
  // A request may be on its way: none is lost.
  t.false(ended.settled)
  await idle.write(get())
  const late = must(await stream.nextRequest())
  await late.stream.send(late.key, { body: 'x' })
  t.is((await idle.response()).get('connection'), 'close')
  t.like(await stream.connection.closed, { code: 'drained', side: 'local' })
  await request.stream.send(request.key, { body: 'x' })
  t.is((await busy.response()).get('connection'), 'close')
  t.like(await request.stream.connection.closed, { code: 'drained', side: 'local' })
})

test('connectionAge: a connection that has said nothing is closed', async (t) => {
  const listener = await open(t, { timeouts: { connectionAge: TIME, handshake: 0 } })
  await expires(t, async () => (await RawClient.connect(portOf(listener))).ended)
  await soon(() => listener.stats().connectionsOpen === 0)
})

test('h2: connectionAge: what the client opens before it has heard of GOAWAY is served', async (t) => {
  const { client, connection } = await h2Scene(t, { connectionAge: TIME }, { mute: true })
  const [, ping] = await Promise.all([
    client.first(({ type }) => type === h2.GOAWAY),
    client.first(({ type, flags }) => type === h2.PING && !(flags & h2.ACK)),
  ])
  await h2Exchange(t, client, connection, 1)
  await client.write(h2.pong(must(ping).payload))
  t.like(await connection.closed, { code: 'drained', side: 'local' })
  t.is(await connection.nextStream(), null)
})

test('h2: connectionAge: a client that never says that it has heard is not served for ever', async (t) => {
  const listener = await open(t, { timeouts: { connectionAge: TIME }, limits: { concurrentStreams: 1 } })
  const client = await FrameClient.connect(portOf(listener), { mute: true })
  t.teardown(() => client.close())
  const connection = must(await listener.nextConnection())
  await client.first(({ type }) => type === h2.GOAWAY)
  // Twice as many as it may have open.
  for (const id of [1, 3]) await h2Exchange(t, client, connection, id)
  await client.write(h2.get(5, '/'))
  t.is(await connection.nextStream(), null)
  t.like(await connection.closed, { code: 'drained', side: 'local' })
})

test('h2: connectionAge: GOAWAY, and the streams in flight finish', async (t) => {
  const listener = await open(t, { timeouts: { connectionAge: TIME } })
  const client = await expires(t, async () => {
    const client = await FrameClient.connect(portOf(listener))
    await client.write(h2.get(1, '/'))
    await client.first(({ type }) => type === h2.GOAWAY)
    return client
  })
  t.is(client.goAway, h2.NO_ERROR)
  const request = await pull(listener)
  await request.stream.send(request.key, { body: 'x' })
  t.is(must(await client.end(1)).type, h2.DATA)
  t.like(await request.stream.connection.closed, { code: 'drained', side: 'local' })
})

// ---- h2Ping

/** The answer to a ping is due within 20 s, which is no option. */
const PONG = 20_000

test('h2Ping: a client that does not answer is closed 20 s later, and its requests fail', async (t) => {
  const { client, connection } = await h2Scene(t, { h2Ping: TIME }, { mute: true })
  await client.write(h2.get(1, '/'))
  const request = await pullOf(connection)
  await expires(t, () => client.first(({ type, flags }) => type === h2.PING && !(flags & h2.ACK)))
  await expires(t, () => client.cut, PONG - TIME)
  t.like(await connection.closed, { code: 'ping-timeout', side: 'peer' })
  t.true(request.signal.aborted)
  await rejected(t, request.stream.send(request.key, {}), 'ERR_PEER_CLOSED')
})

test('h2Ping: one who answers is asked again, one who speaks is not asked', async (t) => {
  const { client, connection } = await h2Scene(t, { h2Ping: TIME })
  const pings = () => client.count(({ type, flags }) => type === h2.PING && !(flags & h2.ACK))
  await soon(() => pings() >= 3, 'the third ping')
  await goesOn(() => client.ping())
  t.true(pings() <= 4, 'at most the one that was due')
  await h2Exchange(t, client, connection, 1)
  t.false(client.isCut)
})

// ---- all of them

test('0 turns each of them off', async (t) => {
  const off = { handshake: 0, headers: 0, bodyIdle: 0, keepAliveIdle: 0, writeStall: 0, connectionAge: 0, h2Ping: 0 }
  const { listener, client: silent } = await h1Scene(t, off)
  const [head, body, idle, stalled] = [await RawClient.connect(portOf(listener)), await RawClient.connect(portOf(listener)),
    await RawClient.connect(portOf(listener)), await RawClient.connect(portOf(listener))]
  const quiet = await FrameClient.connect(portOf(listener))
  t.teardown(() => [head, body, idle, stalled, quiet].forEach((client) => client.close()))
  stalled.socket.pause()
  const waits: Promise<unknown>[] = [silent, head, body, idle, stalled].map((client) => client.ended)
  waits.push(quiet.cut)
  void answer(listener, async (request, stream) => {
    if (request.body) waits.push(request.body.bytes())
    else if (request.path === '/large') waits.push(stream.send(request.key, { body: LARGE }))
    else await stream.send(request.key, {})
  })
  await head.write('GET / HT')
  await body.write(post(10) + 'part')
  await idle.write(get())
  await idle.response()
  await stalled.write(get('/large'))
  await soon(() => waits.length === 8)
  const states = waits.map(watch)
  await sleep(3 * TIME)
  t.false(states.some(({ settled }) => settled))
})
