// The timeouts of bodies, from outside: bodyIdle for one that is read, writeStall for one that is sent. As in 79.timeouts.
import { setTimeout as sleep } from 'node:timers/promises'
import test from 'ava'
import * as h2 from './_frames.js'
import { must, pull, rejected, soon, watch } from './_server.js'
import { LARGE, TIME, expires, get, goesOn, h1Scene, h2Exchange, h2Scene, post, pullOf } from './_timeouts.js'

// ---- bodyIdle

test('bodyIdle: the reader is told, can answer, and the connection ends', async (t) => {
  const { client, listener } = await h1Scene(t, { bodyIdle: TIME })
  await client.write(post(10) + 'part')
  const request = await pull(listener)
  const error = await expires(t, () => rejected(t, must(request.body).bytes(), 'ERR_BODY_TIMEOUT'))
  t.like(error, { side: 'peer', status: 408 })
  await request.stream.send(request.key, { status: 408, body: 'too slow' })
  const response = await client.response()
  t.is(response.status, 408)
  t.is(response.get('connection'), 'close')
  t.is(await client.rest(), '')
})

test('bodyIdle: it is the reason why the connection ends', async (t) => {
  const { client, listener } = await h1Scene(t, { bodyIdle: TIME })
  await client.write(post(10) + 'part')
  const request = await pull(listener)
  await rejected(t, must(request.body).bytes(), 'ERR_BODY_TIMEOUT')
  await request.stream.send(request.key, { status: 408 })
  await client.rest()
  client.close()
  t.like(await request.stream.connection.closed, { code: 'body-timeout', side: 'peer' })
})

test('h2: bodyIdle: the reader is told, can answer, and the connection goes on', async (t) => {
  const { client, connection } = await h2Scene(t, { bodyIdle: TIME })
  await client.write(h2.post(1, '/'), h2.data(1, 'part'))
  const request = await pullOf(connection)
  const error = await expires(t, () => rejected(t, must(request.body).bytes(), 'ERR_BODY_TIMEOUT'))
  t.like(error, { side: 'peer', status: 408 })
  await request.stream.send(request.key, { status: 408 })
  t.is(h2.statusOf(must(await client.head(1))), 408)
  await h2Exchange(t, client, connection, 3)
})

test('bodyIdle: it runs from where the reader begins to wait, whatever it did before', async (t) => {
  const { client, listener } = await h1Scene(t, { bodyIdle: TIME })
  await client.write(post(10) + 'part')
  const request = await pull(listener)
  const body = must(request.body)
  must(await body.nextChunk())
  // Time that must not count.
  await sleep(1.5 * TIME)
  await expires(t, () => rejected(t, body.nextChunk(), 'ERR_BODY_TIMEOUT'))
  await request.stream.send(request.key, { status: 408 })
})

test('h2: bodyIdle: it runs from where the reader begins to wait, whatever it did before', async (t) => {
  const { client, connection } = await h2Scene(t, { bodyIdle: TIME })
  await client.write(h2.post(1, '/'), h2.data(1, 'part'))
  const request = await pullOf(connection)
  const body = must(request.body)
  must(await body.nextChunk())
  // Time that must not count.
  await sleep(1.5 * TIME)
  await expires(t, () => rejected(t, body.nextChunk(), 'ERR_BODY_TIMEOUT'))
  await request.stream.send(request.key, { status: 408 })
})

test('bodyIdle: a byte at a time keeps it from expiring, and so does a caller who does not pull', async (t) => {
  const { client, listener } = await h1Scene(t, { bodyIdle: TIME })
  await client.write(post(20))
  const request = await pull(listener)
  await sleep(2 * TIME)
  const body = must(request.body).text()
  let sent = 0
  await goesOn(async () => (await client.write('x'), sent++))
  await client.write('x'.repeat(20 - sent))
  t.is(await body, 'x'.repeat(20))
  await request.stream.send(request.key, {})
})

test('h2: bodyIdle: a byte at a time keeps it from expiring, and so does a caller who does not pull', async (t) => {
  const { client, connection } = await h2Scene(t, { bodyIdle: TIME })
  await client.write(h2.post(1, '/'))
  const request = await pullOf(connection)
  await sleep(2 * TIME)
  const body = must(request.body).text()
  let sent = 0
  await goesOn(() => (sent++, client.write(h2.data(1, 'x'))))
  await client.write(h2.data(1, '', true))
  t.is(await body, 'x'.repeat(sent))
  await request.stream.send(request.key, {})
})

// ---- writeStall

test('writeStall: a client that takes nothing of its answer is cut', async (t) => {
  const { client, listener } = await h1Scene(t, { writeStall: TIME })
  client.socket.pause()
  await client.write(get())
  const request = await pull(listener)
  const error = await expires(t, () => rejected(t, request.stream.send(request.key, { body: LARGE }), 'ERR_WRITE_STALLED'))
  t.is(error.side, 'peer')
  t.like(await request.stream.connection.closed, { code: 'write-stalled', side: 'peer' })
  t.true(request.signal.aborted)
})

test('h2: writeStall: a stream whose window stays shut is reset, and the connection goes on', async (t) => {
  const { client, connection } = await h2Scene(t, { writeStall: TIME }, { settings: { [h2.INITIAL_WINDOW_SIZE]: 0 } })
  await client.write(h2.get(1, '/'))
  const request = await pullOf(connection)
  await expires(t, () => rejected(t, request.stream.send(request.key, { body: 'x' }), 'ERR_WRITE_STALLED'))
  const end = must(await client.end(1))
  t.deepEqual([end.type, end.payload.readUInt32BE(0)], [h2.RST_STREAM, h2.CANCEL])
  t.true(request.signal.aborted)
  await client.write(h2.get(3, '/'), h2.windowUpdate(3, 10))
  const next = await pullOf(connection)
  await next.stream.send(next.key, { body: 'x' })
  t.is(must(await client.end(3)).type, h2.DATA)
})

test('h2: writeStall: a client that does not read from its socket is cut', async (t) => {
  const { client, connection } = await h2Scene(t, { writeStall: TIME, keepAliveIdle: TIME })
  await client.write(h2.windowUpdate(0, LARGE.length), h2.settings({ [h2.INITIAL_WINDOW_SIZE]: LARGE.length }))
  t.true(await client.ping())
  client.socket.pause()
  await client.write(h2.get(1, '/'))
  const request = await pullOf(connection)
  await expires(t, () => rejected(t, request.stream.send(request.key, { body: LARGE }), 'ERR_WRITE_STALLED'))
  t.is((await connection.closed).code, 'write-stalled')
})

test('writeStall: a slow reader that goes on is not cut', async (t) => {
  const { client, listener } = await h1Scene(t, { writeStall: TIME })
  let read = 0
  client.socket.pause().removeAllListeners('data').on('data', (chunk) => {
    read += chunk.length
  })
  await client.write(get())
  const request = await pull(listener)
  const sending = request.stream.send(request.key, { body: LARGE })
  // On a loopback interface the kernel holds megabytes, and takes more only when a third of them has been read.
  await goesOn(async (i) => {
    client.socket.resume()
    await soon(() => read > (i + 1) << 20, 'the next MiB')
    client.socket.pause()
  }, sending)
  t.false(watch(sending).settled)
  client.socket.resume()
  t.is((await sending).bytes, LARGE.length)
})

test('h2: writeStall: a slow reader that goes on is not cut', async (t) => {
  const { client, connection } = await h2Scene(t, { writeStall: TIME }, { settings: { [h2.INITIAL_WINDOW_SIZE]: 0 } })
  await client.write(h2.get(1, '/'))
  const request = await pullOf(connection)
  const sending = request.stream.send(request.key, { body: 'x'.repeat(100) })
  await goesOn(() => client.write(h2.windowUpdate(1, 1)), sending)
  await client.write(h2.windowUpdate(1, 100))
  await sending
  t.is(must(await client.end(1)).type, h2.DATA)
})

test('writeStall: does not run while the caller has written nothing', async (t) => {
  const { client, listener } = await h1Scene(t, { writeStall: TIME })
  await client.write(get())
  const request = await pull(listener)
  const writer = request.stream.start(request.key, {})
  for (const piece of ['one', 'two', 'three']) {
    await sleep(2 * TIME)
    await writer.write(piece)
  }
  await writer.finish()
  t.is((await client.response()).body.toString(), 'onetwothree')
})
