// The connection: its streams, its addresses, its end and the reason of it.
import { once } from 'node:events'
import test from 'ava'
import { Connection } from '../index.js'
import { h2Client } from './_client.js'
import { RawClient } from './_raw.js'
import { asked, barrier, must, open, portOf, pull, rejected, watch } from './_server.js'

const get = 'GET / HTTP/1.1\r\nhost: a\r\n\r\n'

test('it knows its protocol and both addresses', async (t) => {
  const listener = await open(t)
  const client = await RawClient.connect(portOf(listener))
  await client.write(get)
  const connection = must(await listener.nextConnection())
  t.true(connection instanceof Connection)
  t.is(connection.protocol, 'http/1.1')
  t.deepEqual({ ...connection.remote }, { host: '127.0.0.1', port: client.port })
  t.deepEqual({ ...connection.local }, { host: '127.0.0.1', port: portOf(listener) })
  t.is(connection.tls, null)
  t.is(typeof connection.id, 'number')
})

test('ids are not shared', async (t) => {
  const listener = await open(t)
  const ids = new Set<number>()
  for (let i = 0; i < 20; i++) {
    const client = await RawClient.connect(portOf(listener))
    await client.write(get)
    ids.add(must(await listener.nextConnection()).id)
    if (i % 2) client.close()
  }
  t.is(ids.size, 20)
})

test('h1: one stream, then null when the client has gone', async (t) => {
  const listener = await open(t)
  const client = await RawClient.connect(portOf(listener))
  await client.write(get)
  const connection = must(await listener.nextConnection())
  const stream = must(await connection.nextStream())
  t.is(stream.connection, connection)
  const second = connection.nextStream()
  const waiting = watch(second)
  const request = must(await stream.nextRequest())
  await stream.send(request.key, { body: 'x' })
  await client.response()
  await barrier(listener)
  t.false(waiting.settled)
  client.finish()
  t.is(await second, null)
  t.is(await stream.nextRequest(), null)
})

test('h2: many streams on one connection', async (t) => {
  const listener = await open(t)
  const client = h2Client(portOf(listener))
  t.teardown(() => client.close())
  const replies = Promise.all(Array.from({ length: 100 }, (_, i) => client.fetch({ path: `/${i}` })))
  const connection = must(await listener.nextConnection())
  t.is(connection.protocol, 'h2')
  const ids = new Set<number>()
  const sends: Array<Promise<unknown>> = []
  for (let i = 0; i < 100; i++) {
    const stream = must(await connection.nextStream())
    ids.add(stream.id)
    const request = must(await stream.nextRequest())
    sends.push(stream.send(request.key, { body: request.path }))
    sends.push(stream.nextRequest().then((next) => t.is(next, null)))
  }
  await Promise.all(sends)
  t.is(ids.size, 100)
  t.deepEqual((await replies).map(({ text }) => text), Array.from({ length: 100 }, (_, i) => `/${i}`))
})

test('h2: its pulls wait without a stream and are answered in order', async (t) => {
  const listener = await open(t)
  const client = h2Client(portOf(listener))
  t.teardown(() => client.close())
  await once(client.session, 'remoteSettings')
  const connection = must(await listener.nextConnection())
  const pulls = [connection.nextStream(), connection.nextStream(), connection.nextStream()]
  for (const pulled of pulls) {
    const reply = client.fetch()
    const stream = must(await pulled)
    await stream.send(must(await stream.nextRequest()).key, {})
    t.is((await reply).status, 200)
  }
})

test('closed: the peer went', async (t) => {
  const { client, request } = await asked(t, get)
  await request.stream.send(request.key, {})
  await client.response()
  client.finish()
  t.like(await request.stream.connection.closed, { code: 'peer-closed', side: 'peer' })
})

test('closed: the peer reset', async (t) => {
  const { client, request } = await asked(t, get)
  client.reset()
  t.like(await request.stream.connection.closed, { code: 'peer-reset', side: 'peer' })
})

test('closed: this side closed, and what was in flight fails', async (t) => {
  const { client, request } = await asked(t, get)
  const { connection } = request.stream
  const next = request.stream.nextRequest()
  connection.close()
  t.like(await connection.closed, { code: 'closed', side: 'local' })
  t.is(typeof (await connection.closed).message, 'string')
  t.is(await next, null)
  t.is(await connection.nextStream(), null)
  await rejected(t, request.stream.send(request.key, {}), 'ERR_CLOSED')
  connection.close()
  await client.ended
  t.is(client.pending, '')
})

test('closed: the exchange asked for it', async (t) => {
  const { client, request } = await asked(t, 'GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n')
  await request.stream.send(request.key, { body: 'last' })
  const response = await client.response()
  t.is(response.get('connection'), 'close')
  t.is(await client.ended, 'end')
  client.close()
  t.like(await request.stream.connection.closed, { code: 'exchange-ended', side: 'local' })
})

test('drain, h1: the answer in flight says connection: close', async (t) => {
  const { client, request } = await asked(t, get)
  const { connection } = request.stream
  const drained = connection.drain()
  await request.stream.send(request.key, { body: 'last' })
  t.is((await client.response()).get('connection'), 'close')
  t.is(await client.ended, 'end')
  await drained
  t.like(await connection.closed, { code: 'drained', side: 'local' })
  t.is(await request.stream.nextRequest(), null)
})

test('drain, h1: an idle connection closes', async (t) => {
  const { client, request } = await asked(t, get)
  await request.stream.send(request.key, { body: 'x' })
  await client.response()
  await request.stream.connection.drain()
  t.is(await client.ended, 'end')
})

test('drain, h2: GOAWAY, the streams in flight finish, other connections go on', async (t) => {
  const listener = await open(t)
  const [first, second] = [h2Client(portOf(listener)), h2Client(portOf(listener))]
  t.teardown(() => (first.close(), second.close()))
  const reply = first.fetch()
  const request = await pull(listener)
  const goaway = once(first.session, 'goaway')
  const drained = request.stream.connection.drain()
  await goaway
  await request.stream.send(request.key, { body: 'finished' })
  t.is((await reply).text, 'finished')
  await drained
  t.like(await request.stream.connection.closed, { code: 'drained', side: 'local' })
  const other = second.fetch()
  const next = await pull(listener)
  await next.stream.send(next.key, { body: 'goes on' })
  t.is((await other).text, 'goes on')
})

test('drain: what is left at the deadline is aborted', async (t) => {
  const { client, request } = await asked(t, get)
  await request.stream.connection.drain({ deadlineMs: 50 })
  await client.ended
  t.is(client.pending, '')
  await rejected(t, request.stream.send(request.key, {}), 'ERR_CLOSED')
})

test('a fault of the connection rejects the pull of streams on h2', async (t) => {
  const listener = await open(t)
  const client = await RawClient.connect(portOf(listener))
  await client.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
  await client.write(new Uint8Array([0, 0, 0, 4, 0, 0, 0, 0, 0])) // empty SETTINGS
  const connection = must(await listener.nextConnection())
  const next = connection.nextStream()
  await client.write(new Uint8Array([0, 0, 1, 4, 0, 0, 0, 0, 0, 0])) // SETTINGS of one byte: FRAME_SIZE_ERROR
  await rejected(t, next, 'ERR_PROTOCOL')
  t.like(await connection.closed, { code: 'protocol-error', side: 'peer' })
})
