// Leaving HTTP: 101, CONNECT, extended CONNECT.
import { once } from 'node:events'
import http from 'node:http'
import http2 from 'node:http2'
import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import test from 'ava'
import { prepareHead } from '../index.js'
import type { HeadersLike, IncomingRequest } from '../index.js'
import { drainBody } from './_client.js'
import { RawClient } from './_raw.js'
import { asked, barrier, must, open, portOf, pull, rejected } from './_server.js'

const upgrade = (early = '') => `GET /chat HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: Echo/1\r\n\r\n${early}`
const get = 'GET / HTTP/1.1\r\nhost: a\r\n\r\n'

test('h1: 101, then bytes both ways, the early ones too', async (t) => {
  const { client, request } = await asked(t, upgrade('early '), {}, true)
  t.is(request.upgrade, 'echo/1')
  const tunnel = await request.stream.upgrade(request.key, { headers: { 'x-a': 'b' } })
  t.true(tunnel instanceof Duplex)
  t.is(tunnel.protocol, 'echo/1')
  t.deepEqual({ ...tunnel.remote }, { host: '127.0.0.1', port: client.port })
  const response = await client.response()
  t.is(response.status, 101)
  t.is(response.get('upgrade')?.toLowerCase(), 'echo/1')
  t.is(response.get('connection')?.toLowerCase(), 'upgrade')
  t.is(response.get('x-a'), 'b')
  t.is(response.get('content-length'), undefined)
  const echo = pipeline(tunnel, tunnel)
  await client.until('early ')
  for (let i = 0; i < 50; i++) {
    await client.write(`ping ${i};`)
    t.is(await client.until(';'), `ping ${i};`)
  }
  client.finish()
  await echo
  t.is(await client.ended, 'end')
  t.like(await request.stream.connection.closed, { code: 'upgraded' })
  t.is(await request.stream.nextRequest(), null)
})

test('h1: an upgrade whose head is none, or whose status is none, changes nothing', async (t) => {
  const { client, request } = await asked(t, upgrade())
  await rejected(t, request.stream.upgrade(request.key, null as never), 'ERR_INVALID_OPTION')
  await rejected(t, request.stream.upgrade(request.key, { status: Symbol('101') as never }), 'ERR_INVALID_STATUS')
  const tunnel = await request.stream.upgrade(request.key)
  t.is((await client.response()).status, 101)
  tunnel.destroy()
})

test('h1: a prepared head does not say what the stream is upgraded to', async (t) => {
  const { client, request } = await asked(t, upgrade())
  const wrongs: HeadersLike[] = [{ upgrade: 'other', connection: 'upgrade' }, { 'content-length': '1' }]
  for (const wrong of wrongs)
    await rejected(t, request.stream.upgrade(request.key, { headers: prepareHead(wrong) }), 'ERR_INVALID_HEADER')
  const tunnel = await request.stream.upgrade(request.key, { headers: prepareHead({ 'x-a': 'b' }) })
  const response = await client.response()
  t.deepEqual([response.status, response.get('upgrade'), response.get('x-a')], [101, 'echo/1', 'b'])
  tunnel.destroy()
})

test('h1: of several protocols the caller names one (RFC 9110 section 7.8)', async (t) => {
  const listener = await open(t)
  const switched = async (headers: HeadersLike) => {
    const client = await RawClient.connect(portOf(listener))
    await client.write('GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: h2c, WebSocket\r\nupgrade: x/1\r\n\r\n')
    const request = await pull(listener)
    t.is(request.upgrade, 'h2c, websocket, x/1')
    for (const wrong of ['websockets', 'x', 'websocket, tls/1.0'])
      await rejected(t, request.stream.upgrade(request.key, { headers: { upgrade: wrong } }), 'ERR_INVALID_HEADER')
    const tunnel = await request.stream.upgrade(request.key, { headers })
    const response = await client.response()
    t.is(response.status, 101)
    tunnel.destroy()
    return [response.get('upgrade'), tunnel.protocol]
  }
  t.deepEqual(await switched({}), ['h2c', 'h2c'])
  t.deepEqual(await switched({ connection: 'Upgrade', upgrade: 'websocket' }), ['websocket', 'websocket'])
  t.deepEqual(await switched([['Upgrade', 'X/1']]), ['X/1', 'x/1'])
})

test('h1: there is no tunnel while something of the body is left, wherever it is', async (t) => {
  const listener = await open(t)
  const client = await RawClient.connect(portOf(listener))
  const post = (framing: string) => `POST / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n${framing}\r\n\r\n`
  const refuses = async (request: IncomingRequest) => await rejected(t, request.stream.upgrade(request.key), 'ERR_NOT_UPGRADABLE')

  await client.write(`${post('content-length: 3')}abc`)
  const whole = await pull(listener)
  await refuses(whole)
  t.is(await must(whole.body).text(), 'abc')
  await whole.stream.send(whole.key, {})
  await client.response()

  await client.write(post('content-length: 6'))
  const request = must(await whole.stream.nextRequest())
  const body = must(request.body)
  const first = body.nextChunk()
  await client.write('abc')
  t.deepEqual(await first, new Uint8Array(Buffer.from('abc')))
  await client.write('def')
  await barrier(listener)
  await refuses(request)
  t.deepEqual(await body.nextChunk(), new Uint8Array(Buffer.from('def')))
  const tunnel = await request.stream.upgrade(request.key)
  tunnel.destroy()
})

test('h1: an upgrade that is refused is an answer like any other', async (t) => {
  const { client, request } = await asked(t, upgrade() + get)
  await request.stream.send(request.key, { status: 403, body: 'no' })
  t.is((await client.response()).status, 403)
  const next = must(await request.stream.nextRequest())
  t.is(next.upgrade, null)
  await next.stream.send(next.key, { body: 'on' })
  t.is((await client.response()).body.toString(), 'on')
})

test('h1: 426 says what is to be asked for', async (t) => {
  const { client, request } = await asked(t, get + get)
  await request.stream.send(request.key, { status: 426, headers: { upgrade: 'websocket', connection: 'upgrade' }, body: 'ask' })
  const response = await client.response()
  t.is(response.status, 426)
  t.is(response.get('upgrade'), 'websocket')
  t.is(response.get('connection'), 'upgrade', 'RFC 9110 section 7.8')
  const next = must(await request.stream.nextRequest())
  await rejected(t, next.stream.send(next.key, { headers: { connection: 'x-hop' } }), 'ERR_INVALID_HEADER')
  await next.stream.send(next.key, { body: 'on' })
  t.is((await client.response()).body.toString(), 'on', 'and the connection goes on')
})

test('a request that did not ask is ERR_NOT_UPGRADABLE', async (t) => {
  const { client, request } = await asked(t, get)
  t.is(request.upgrade, null)
  await rejected(t, request.stream.upgrade(request.key), 'ERR_NOT_UPGRADABLE')
  await request.stream.send(request.key, { body: 'answered' })
  t.is((await client.response()).body.toString(), 'answered')
})

test('HTTP/1.0 cannot be upgraded but by CONNECT', async (t) => {
  const { client, request } = await asked(t, 'GET / HTTP/1.0\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n')
  t.is(request.upgrade, null)
  await request.stream.send(request.key, {})
  await client.response()
})

test('Upgrade: h2c is not one (RFC 9113 has dropped it)', async (t) => {
  const listener = await open(t)
  const client = await RawClient.connect(portOf(listener))
  await client.write('GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n\r\n')
  const request = await pull(listener)
  t.is(request.httpVersion, '1.1')
  await request.stream.send(request.key, { body: 'over h1' })
  t.is((await client.response()).status, 200)
})

test('CONNECT on HTTP/1', async (t) => {
  const listener = await open(t)
  const request = http.request({ port: portOf(listener), host: '127.0.0.1', method: 'CONNECT', path: 'example.test:443' })
  const connected = once(request, 'connect') as Promise<[http.IncomingMessage, Socket, Buffer]>
  request.end()
  const pulled = await pull(listener)
  t.is(pulled.method, 'CONNECT')
  t.is(pulled.target, 'example.test:443')
  t.is(pulled.authority, 'example.test:443')
  t.is(pulled.upgrade, 'connect')
  const tunnel = await pulled.stream.upgrade(pulled.key)
  t.is(tunnel.protocol, 'connect')
  const [response, socket] = await connected
  t.is(response.statusCode, 200)
  t.is(response.headers['content-length'], undefined)
  t.is(response.headers['transfer-encoding'], undefined)
  pipeline(tunnel, tunnel).catch(() => {}) // the client will go without a word
  socket.write('through the tunnel')
  t.is(String((await once(socket, 'data'))[0]), 'through the tunnel')
  socket.destroy()
})

test('CONNECT over HTTP/1.0 is a tunnel too', async (t) => {
  const { client, request } = await asked(t, 'CONNECT example.test:443 HTTP/1.0\r\n\r\nearly ', {}, true)
  t.deepEqual([request.httpVersion, request.upgrade], ['1.0', 'connect'])
  await rejected(t, request.stream.send(request.key, { body: 'no tunnel' }), 'ERR_INVALID_STATUS')
  const tunnel = await request.stream.upgrade(request.key)
  t.regex(await client.until('\r\n\r\n'), /^HTTP\/1.1 200 /)
  const echo = pipeline(tunnel, tunnel)
  await client.until('early ')
  client.finish()
  await echo
  t.is(await client.ended, 'end')
})

test('CONNECT that is refused', async (t) => {
  const { client, request } = await asked(t, 'CONNECT example.test:443 HTTP/1.1\r\nhost: example.test:443\r\n\r\n')
  await request.stream.send(request.key, { status: 403, body: 'no' })
  const response = await client.response('CONNECT')
  t.is(response.status, 403)
  t.is(response.body.toString(), 'no')
})

test('a 2xx to CONNECT would promise a tunnel: send refuses it', async (t) => {
  const { client, request } = await asked(t, 'CONNECT example.test:443 HTTP/1.1\r\nhost: example.test:443\r\n\r\n')
  const error = await rejected(t, request.stream.send(request.key, { body: 'no tunnel' }), 'ERR_INVALID_STATUS', 'ERR_NOT_UPGRADABLE')
  t.is(error.side, 'local')
  await request.stream.send(request.key, { status: 405 })
  t.is((await client.response('CONNECT')).status, 405)
})

for (const [what, head, token] of [
  ['CONNECT', { ':method': 'CONNECT', ':authority': 'example.test:443' }, 'connect'],
  ['extended CONNECT', { ':method': 'CONNECT', ':protocol': 'websocket', ':path': '/chat' }, 'websocket'],
] as Array<[string, http2.OutgoingHttpHeaders, string]>) {
  test(`h2: ${what}`, async (t) => {
    const listener = await open(t)
    const session = http2.connect(`http://127.0.0.1:${portOf(listener)}`)
    t.teardown(() => session.destroy())
    const [settings] = (await once(session, 'remoteSettings')) as [http2.Settings]
    t.true(settings.enableConnectProtocol)
    const stream = session.request(head)
    const responded = once(stream, 'response') as Promise<[http2.IncomingHttpHeaders]>
    const request = await pull(listener)
    t.is(request.upgrade, token)
    t.is(request.method, 'CONNECT')
    const tunnel = await request.stream.upgrade(request.key, { headers: { 'x-a': 'b' } })
    t.is(tunnel.protocol, token)
    const [fields] = await responded
    t.is(fields[':status'] as unknown, 200)
    t.is(fields['x-a'], 'b')
    t.is(fields['content-length'], undefined)
    const echo = pipeline(tunnel, tunnel)
    let text = ''
    stream.on('data', (chunk) => {
      text += chunk
    })
    stream.write('both ways')
    stream.end()
    await once(stream, 'end')
    t.is(text, 'both ways')
    await echo
    const reply = drainBody(session.request({}))
    const next = must(await must(await request.stream.connection.nextStream()).nextRequest())
    await next.stream.send(next.key, { body: 'the connection goes on' })
    t.is(String(await reply), 'the connection goes on')
  })
}

test('h2: extendedConnect: false does not offer it', async (t) => {
  const listener = await open(t, { extendedConnect: false })
  const session = http2.connect(`http://127.0.0.1:${portOf(listener)}`)
  t.teardown(() => session.destroy())
  const [settings] = (await once(session, 'remoteSettings')) as [http2.Settings]
  t.falsy(settings.enableConnectProtocol)
})
