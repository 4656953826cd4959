// start: a response written piece by piece, its back-pressure, its length, its end.
import test from 'ava'
import { h2Client, drainBody } from './_client.js'
import { RawClient } from './_raw.js'
import { asked, barrier, open, portOf, pull, rejected, watch } from './_server.js'

const get = 'GET / HTTP/1.1\r\nhost: a\r\n\r\n'

test('writes keep their order without being awaited', async (t) => {
  const { client, request } = await asked(t, get)
  const writer = request.stream.start(request.key, { headers: { 'content-type': 'text/plain' } })
  const writes = Array.from({ length: 500 }, (_, i) => writer.write(`${i},`))
  const sent = await writer.finish()
  await Promise.all(writes)
  const answer = await client.response()
  const expected = Array.from({ length: 500 }, (_, i) => `${i},`).join('')
  t.is(answer.body.toString(), expected)
  t.is(answer.get('transfer-encoding'), 'chunked')
  t.is(sent.bytes, expected.length)
})

test('write waits for a reader that is slow', async (t) => {
  const { listener, client, request } = await asked(t, get, { limits: { pendingWriteBytes: 256 << 10 } })
  client.socket.pause()
  const writer = request.stream.start(request.key, {})
  let writes = 0
  let state = { settled: true }
  let last: Promise<void> = Promise.resolve()
  while (state.settled) {
    t.true(writes < 2000, 'writes go on although nobody reads')
    last = writer.write(Buffer.alloc(64 << 10))
    writes++
    state = watch(last)
    for (let i = 0; i < 3 && !state.settled; i++) await barrier(listener)
  }
  t.true(writes > 1)
  client.socket.resume()
  await last
  t.is((await writer.finish()).bytes, writes * (64 << 10))
})

test('the last write of a declared length waits for nothing, since nothing but the end can follow', async (t) => {
  const length = 32 << 20
  const { listener, client, request } = await asked(t, get, { limits: { pendingWriteBytes: 64 << 10 } })
  client.socket.pause()
  const writer = request.stream.start(request.key, { headers: { 'content-length': `${length}` } })
  const first = watch(writer.write(Buffer.alloc(length - 1)))
  await barrier(listener)
  t.false(first.settled, 'nobody reads')
  await writer.write('.')
  const sent = writer.finish()
  t.false(first.settled)
  client.socket.removeAllListeners('data').resume()
  t.is((await sent).bytes, length)
})

test('flush resolves when it has been sent, not before', async (t) => {
  const { listener, client, request } = await asked(t, get)
  client.socket.pause()
  const writer = request.stream.start(request.key, {})
  await writer.write('a')
  await writer.flush()
  void writer.write(Buffer.alloc(32 << 20)).catch(() => {})
  const flushed = writer.flush()
  const state = watch(flushed)
  await barrier(listener)
  await barrier(listener)
  t.false(state.settled)
  client.socket.removeAllListeners('data').resume()
  await flushed
  t.is((await writer.finish()).bytes, (32 << 20) + 1)
})

test('flush without a write resolves', async (t) => {
  const { client, request } = await asked(t, get)
  const writer = request.stream.start(request.key, {})
  await writer.flush()
  t.regex(client.pending + (await client.until('\r\n\r\n')), /^HTTP\/1\.1 200 /, 'the head is on its way')
  await writer.finish()
})

test('a declared length is kept to', async (t) => {
  const { client, request } = await asked(t, get)
  const writer = request.stream.start(request.key, { headers: { 'content-length': '10' } })
  await writer.write('12345')
  await writer.write('67890')
  t.is((await writer.finish()).bytes, 10)
  const answer = await client.response()
  t.is(answer.get('content-length'), '10')
  t.is(answer.body.toString(), '1234567890')
})

test('too few bytes for the declared length: finish rejects, and what is missing can be written', async (t) => {
  const { client, request } = await asked(t, get)
  const writer = request.stream.start(request.key, { headers: { 'content-length': '10' } })
  await writer.write('12345')
  await rejected(t, writer.finish(), 'ERR_BODY_LENGTH_MISMATCH')
  await writer.write('67890')
  t.is((await writer.finish()).bytes, 10)
  t.is((await client.response()).body.toString(), '1234567890')
})

test('too many bytes for the declared length: the write rejects, and nothing of it is sent', async (t) => {
  const { client, request } = await asked(t, get)
  const writer = request.stream.start(request.key, { headers: { 'content-length': '5' } })
  await writer.write('1234')
  await rejected(t, writer.write('56'), 'ERR_BODY_LENGTH_MISMATCH')
  await writer.write('5')
  t.is((await writer.finish()).bytes, 5)
  t.is((await client.response()).body.toString(), '12345')
  t.is(client.pending, '')
})

for (const protocol of ['h1', 'h2'] as const) {
  test(`${protocol}: abort breaks the answer off`, async (t) => {
    const listener = await open(t)
    if (protocol === 'h1') {
      const client = await RawClient.connect(portOf(listener))
      await client.write(get)
      const request = await pull(listener)
      const writer = request.stream.start(request.key, {})
      await writer.write('half')
      await writer.flush()
      writer.abort(new Error('changed my mind'))
      await t.throwsAsync(client.response(), { message: /the connection ended/ })
      await t.throwsAsync(writer.write('more'))
    } else {
      const client = h2Client(portOf(listener))
      t.teardown(() => client.close())
      const exchange = client.open({})
      exchange.end()
      const request = await pull(listener)
      const writer = request.stream.start(request.key, {})
      await writer.write('half')
      await writer.flush()
      const { body } = await exchange.reply
      writer.abort()
      await t.throwsAsync(drainBody(body))
      await t.throwsAsync(writer.finish())
    }
  })
}

test('a chunk that is detached: the write rejects, and an empty one does not', async (t) => {
  const { client, request } = await asked(t, get)
  const writer = request.stream.start(request.key, {})
  const chunk = new Uint8Array(8)
  structuredClone(chunk.buffer, { transfer: [chunk.buffer] })
  await rejected(t, writer.write(chunk), 'ERR_BODY_LENGTH_MISMATCH')
  await writer.write(new Uint8Array(0))
  await writer.write('')
  await writer.finish()
  t.is((await client.response()).body.length, 0)
})

test('after finish the writer is done with', async (t) => {
  const { client, request } = await asked(t, get)
  const writer = request.stream.start(request.key, {})
  await writer.write('all')
  await writer.finish()
  await rejected(t, writer.write('more'), 'ERR_KEY_USED')
  await rejected(t, writer.finish(), 'ERR_KEY_USED')
  t.notThrows(() => writer.abort(), 'there is nothing to abort')
  t.is((await client.response()).body.toString(), 'all')
})

test('a client that goes fails the writer', async (t) => {
  const { client, request } = await asked(t, get)
  const writer = request.stream.start(request.key, {})
  await writer.write('all')
  await writer.flush()
  client.reset()
  await request.stream.connection.closed
  await rejected(t, writer.write('more'), 'ERR_PEER_CLOSED', 'ERR_PEER_RESET')
  await rejected(t, writer.finish(), 'ERR_PEER_CLOSED', 'ERR_PEER_RESET')
})

test('HEAD: what is written is not sent', async (t) => {
  const { client, request } = await asked(t, 'HEAD / HTTP/1.1\r\nhost: a\r\n\r\n' + get)
  const writer = request.stream.start(request.key, {})
  await writer.write('not on the wire')
  t.is((await writer.finish()).bytes, 0)
  await client.response('HEAD')
  const next = (await request.stream.nextRequest())!
  await request.stream.send(next.key, { body: 'next' })
  t.is((await client.response()).body.toString(), 'next')
})
