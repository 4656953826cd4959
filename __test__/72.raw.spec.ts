// HTTP/1 byte by byte: however the bytes come, the requests are the same.
import { once } from 'node:events'
import test from 'ava'
import type { IncomingRequest, Listener, PullError } from '../index.js'
import { RawClient } from './_raw.js'
import { answer, asked, barrier, must, open, portOf, pull, rejected } from './_server.js'

const get = (path = '/', ...fields: string[]) => [`GET ${path} HTTP/1.1`, 'host: a', ...fields, '', ''].join('\r\n')

/** Tells a request in one line. */
async function told(request: IncomingRequest): Promise<string> {
  const text = await request.body?.text()
  const trailers = await request.body?.trailers
  return [request.method, request.target, request.headers.get('x-a'), text, trailers?.get('x-t')].join('|')
}

const teller = (listener: Listener) => answer(listener, async (request, stream) => stream.send(request.key, { body: await told(request) }))

/** An exchange on a connection of its own: what was written elsewhere before it has been read by now. */
async function turn(ping: RawClient): Promise<void> {
  await ping.write(get('/ping'))
  await ping.response()
}

const whole: Record<string, [bytes: string, ...expected: string[]]> = {
  'a GET': ['GET /a?b=c HTTP/1.1\r\nHost: example.test\r\nX-A: some value\r\n\r\n', 'GET|/a?b=c|some value||'],
  'a POST with a length': ['POST /b HTTP/1.1\r\nhost: a\r\ncontent-length: 11\r\nx-a: 1\r\n\r\nhello\r\nbody', 'POST|/b|1|hello\r\nbody|'],
  'a chunked POST with trailers': [
    'POST /c HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5;ext=1\r\nhello\r\nA\r\n, chunked!\r\n0\r\nx-t: sum\r\n\r\n',
    'POST|/c||hello, chunked!|sum',
  ],
  'three requests in a row': [
    'PUT /1 HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nxGET /2 HTTP/1.1\r\nhost: a\r\n\r\nDELETE /3 HTTP/1.1\r\nhost: a\r\n\r\n',
    'PUT|/1||x|',
    'GET|/2|||',
    'DELETE|/3|||',
  ],
}

for (const [title, [bytes, ...expected]] of Object.entries(whole)) {
  test(`${title}, split at every position`, async (t) => {
    t.timeout(60_000)
    const listener = await open(t)
    void teller(listener)
    const ping = await RawClient.connect(portOf(listener))
    for (let at = 1; at < bytes.length; at++) {
      const client = await RawClient.connect(portOf(listener))
      await client.write(bytes.slice(0, at))
      await turn(ping)
      await client.write(bytes.slice(at))
      for (const line of expected) t.is((await client.response()).body.toString(), line, `split at ${at}`)
      client.close()
    }
  })

  test(`${title}, byte by byte`, async (t) => {
    const listener = await open(t)
    void teller(listener)
    const ping = await RawClient.connect(portOf(listener))
    const client = await RawClient.connect(portOf(listener))
    for (const byte of bytes) {
      await client.write(byte)
      await turn(ping)
    }
    for (const line of expected) t.is((await client.response()).body.toString(), line)
  })
}

test('pipelined requests are answered in order', async (t) => {
  const listener = await open(t)
  void teller(listener)
  const client = await RawClient.connect(portOf(listener))
  const bodies = Array.from({ length: 300 }, (_, i) => 'b'.repeat(i * 7))
  await client.write(bodies.map((body, i) => (i % 2 ? get(`/${i}`) : `POST /${i} HTTP/1.1\r\nhost: a\r\ncontent-length: ${body.length}\r\n\r\n${body}`)).join(''))
  for (const [i, body] of bodies.entries()) {
    t.is((await client.response()).body.toString(), i % 2 ? `GET|/${i}|||` : `POST|/${i}||${body}|`)
  }
})

test('pipelined requests wait for a slow answer', async (t) => {
  const listener = await open(t)
  const client = await RawClient.connect(portOf(listener))
  await client.write(get('/1') + get('/2'))
  const first = await pull(listener)
  const writer = first.stream.start(first.key, {})
  await writer.write('slow')
  await writer.flush()
  await client.until('slow')
  await writer.finish()
  const second = must(await first.stream.nextRequest())
  t.is(second.target, '/2')
  await second.stream.send(second.key, { body: 'quick' })
  await client.until('0\r\n\r\n')
  t.is((await client.response()).body.toString(), 'quick')
})

test('HEAD, 204 and 304 leave the next answer where it belongs', async (t) => {
  const listener = await open(t)
  void answer(listener, (request, stream) => {
    if (request.path === '/204') return stream.send(request.key, { status: 204 })
    if (request.path === '/304') return stream.send(request.key, { status: 304, headers: { etag: '"x"' } })
    return stream.send(request.key, { body: request.path === '/stream' ? ['streamed', ' body'].values() : 'a body' })
  })
  const client = await RawClient.connect(portOf(listener))
  const head = (path: string) => get(path).replace('GET', 'HEAD')
  await client.write(head('/') + get('/204') + head('/stream') + get('/304') + get('/last'))
  const first = await client.response('HEAD')
  t.is(first.get('content-length'), '6')
  const no = await client.response()
  t.is(no.status, 204)
  t.is(no.get('content-length'), undefined)
  t.is(no.get('transfer-encoding'), undefined)
  t.is((await client.response('HEAD')).status, 200)
  const same = await client.response()
  t.is(same.status, 304)
  t.is(same.get('etag'), '"x"')
  t.is((await client.response()).body.toString(), 'a body')
  t.is(client.pending, '')
})

test('a client that has shut down its sending side still gets its answers', async (t) => {
  const listener = await open(t)
  const client = await RawClient.connect(portOf(listener), true)
  await client.write(get('/1') + get('/2'))
  client.finish()
  const first = await pull(listener)
  await first.stream.send(first.key, { body: 'one' })
  const second = must(await first.stream.nextRequest())
  t.false(second.signal.aborted, 'a FIN is not a reset')
  await second.stream.send(second.key, { body: 'x'.repeat(500_000) })
  t.is((await client.response()).body.toString(), 'one')
  t.is((await client.response()).body.length, 500_000)
  t.is(await client.rest(), '')
  t.is(await second.stream.nextRequest(), null)
})

for (const [where, bytes] of [
  ['in the head', 'GET / HTTP/1.1\r\nhost'],
  ['before the body', 'POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n'],
  ['in the body', 'POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n12345'],
  ['in a chunk', 'POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab'],
  ['while it waits for the answer', get()],
] as const) {
  for (const how of ['reset', 'finish'] as const) {
    test(`a client that ends by ${how} ${where} harms nobody else`, async (t) => {
      const listener = await open(t)
      const client = await RawClient.connect(portOf(listener))
      const served = (async () => {
        if (where === 'in the head') {
          const connection = must(await listener.nextConnection())
          client[how]()
          t.is(await must(await connection.nextStream()).nextRequest(), null)
          return
        }
        const request = await pull(listener)
        if (request.body) {
          const text = request.body.text()
          client[how]()
          await rejected(t, text, 'ERR_PEER_CLOSED', 'ERR_PEER_RESET')
          await request.stream.send(request.key, { status: 400 }).catch(() => {})
        } else {
          client[how]()
          await request.stream.send(request.key, { body: 'x' }).catch(() => {})
        }
        await request.stream.connection.closed
      })()
      await client.write(bytes)
      await served
      const other = await RawClient.connect(portOf(listener))
      await other.write(get('/other'))
      const request = must(await pull(listener))
      t.is(request.target, '/other')
      await request.stream.send(request.key, { body: 'fine' })
      t.is((await other.response()).body.toString(), 'fine')
    })
  }
}

test('a client that resets while the answer is on its way', async (t) => {
  const { listener, client, request } = await asked(t, get())
  const sending = request.stream.send(request.key, { body: Buffer.alloc(32 << 20) })
  await client.until('\r\n\r\n')
  client.reset()
  await rejected(t, sending, 'ERR_PEER_CLOSED', 'ERR_PEER_RESET')
  await request.stream.connection.closed
  t.is(listener.stats().connectionsOpen, 0)
})

test('HTTP/1.0 closes unless it asks to keep the connection', async (t) => {
  const listener = await open(t)
  void teller(listener)
  const once = await RawClient.connect(portOf(listener))
  await once.write('GET /1 HTTP/1.0\r\n\r\n')
  t.is((await once.response()).body.toString(), 'GET|/1|||')
  t.is(await once.ended, 'end')
  const kept = await RawClient.connect(portOf(listener))
  for (const path of ['/1', '/2']) {
    await kept.write(`GET ${path} HTTP/1.0\r\nconnection: keep-alive\r\n\r\n`)
    const response = await kept.response()
    t.is(response.body.toString(), `GET|${path}|||`)
    t.is(response.get('connection')?.toLowerCase(), 'keep-alive')
  }
})

test('connection: close of the caller closes', async (t) => {
  const listener = await open(t)
  void answer(listener, (request, stream) => stream.send(request.key, { headers: { connection: 'close' }, body: 'bye' }))
  const client = await RawClient.connect(portOf(listener))
  await client.write(get())
  const response = await client.response()
  t.is(response.get('connection'), 'close')
  t.is(response.body.toString(), 'bye')
  t.is(await client.ended, 'end')
})

test('a client that has gone is noticed by the first bytes that its system answers with a reset', async (t) => {
  const { listener, client, request } = await asked(t, get())
  const writer = request.stream.start(request.key, {})
  await writer.write('a')
  await client.until('a\r\n')
  client.close()
  await barrier(listener)
  t.false(request.signal.aborted, 'a FIN alone is none')
  const aborted = once(request.signal, 'abort')
  await writer.write('b')
  await aborted
  t.is((request.signal.reason as PullError).side, 'peer')
})

test('halfClose: false: a FIN is the end of the exchange, pulled or not', async (t) => {
  const { listener, client, request } = await asked(t, get('/1') + get('/2'), { halfClose: false }, true)
  const aborted = once(request.signal, 'abort')
  client.finish()
  await aborted
  await rejected(t, request.stream.send(request.key, { body: 'x' }), 'ERR_PEER_CLOSED')
  t.is(await request.stream.nextRequest(), null)
  t.like(await request.stream.connection.closed, { code: 'peer-closed', side: 'peer' })
  // Behind the answer it is the end of the connection, as ever.
  const polite = await RawClient.connect(portOf(listener), true)
  await polite.write(get('/'))
  const second = await pull(listener)
  await second.stream.send(second.key, { body: 'x' })
  t.is((await polite.response()).body.toString(), 'x')
  polite.finish()
  t.is(await polite.ended, 'end')
})

test('a request behind the last answer of a connection takes nothing of that answer with it', async (t) => {
  const { listener, client, request } = await asked(t, 'GET / HTTP/1.1\r\nhost: a\r\n\r\n', {}, true)
  client.socket.pause()
  const body = 'x'.repeat(300_000)
  await request.stream.send(request.key, { headers: { connection: 'close' }, body })
  await client.write('GET /2 HTTP/1.1\r\nhost: a\r\n\r\n')
  await barrier(listener)
  client.socket.resume()
  t.is((await client.response()).body.toString(), body)
  t.is(await client.ended, 'end')
  client.finish()
  await request.stream.connection.closed
})

test('the forms of the target', async (t) => {
  const listener = await open(t)
  const client = await RawClient.connect(portOf(listener))
  await client.write(
    'GET http://example.test:81/x?y=z HTTP/1.1\r\nhost: example.test:81\r\n\r\n' +
      'OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n' +
      'GET //double//slash?a?b HTTP/1.1\r\nhost: A.Test\r\n\r\n' +
      'GET /%7Euser/%2F HTTP/1.1\r\nhost: [::1]:80\r\n\r\n' +
      'GET / HTTP/1.0\r\n\r\n',
  )
  const expected = [
    { target: 'http://example.test:81/x?y=z', path: '/x', query: 'y=z', authority: 'example.test:81' },
    { target: '*', path: '*', query: '', authority: 'a' },
    { target: '//double//slash?a?b', path: '//double//slash', query: 'a?b', authority: 'A.Test' },
    { target: '/%7Euser/%2F', path: '/%7Euser/%2F', query: '', authority: '[::1]:80' },
    { target: '/', path: '/', query: '', authority: '', httpVersion: '1.0' },
  ]
  const stream = must(await must(await listener.nextConnection()).nextStream())
  for (const fields of expected) {
    const request = must(await stream.nextRequest())
    const { target, path, query, authority } = request
    t.like({ target, path, query, authority, httpVersion: request.httpVersion }, fields)
    await stream.send(request.key, {})
  }
})

test('many fields, long fields, and fields of one name', async (t) => {
  const listener = await open(t)
  const client = await RawClient.connect(portOf(listener))
  const fields = Array.from({ length: 60 }, (_, i) => `x-${i}: ${'v'.repeat(i * 4)}`)
  await client.write(get('/', ...fields, 'x-same: 1', 'X-SAME: 2', 'x-same: 3', 'cookie: a=1', 'cookie: b=2'))
  const request = await pull(listener)
  for (let i = 0; i < 60; i++) t.is(request.headers.get(`x-${i}`), 'v'.repeat(i * 4))
  t.deepEqual(request.headers.getAll('x-same'), ['1', '2', '3'])
  t.is(request.headers.get('x-same'), '1, 2, 3')
  t.is(request.headers.get('cookie'), 'a=1; b=2')
  t.is(request.headers.size, 66)
  await request.stream.send(request.key, {})
})
