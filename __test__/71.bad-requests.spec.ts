// What must not be let in: each gets its status and a closed connection, and no request ever comes up.
import http2 from 'node:http2'
import test from 'ava'
import { listen } from '../index.js'
import type { Listener } from '../index.js'
import { drainBody } from './_client.js'
import { RawClient } from './_raw.js'
import { answer, open, portOf, soon } from './_server.js'

const start = (line: string, ...fields: string[]) => [line, ...fields, '', ''].join('\r\n')
const get = (...fields: string[]) => start('GET / HTTP/1.1', 'host: a', ...fields)
const post = (...fields: string[]) => start('POST / HTTP/1.1', 'host: a', ...fields)
const many = (count: number, size: number) => Array.from({ length: count }, (_, i) => `x-${i}: ${'v'.repeat(size)}`)

const bad: Array<[title: string, bytes: string, ...statuses: number[]]> = [
  ['rubbish', 'rubbish\r\n\r\n', 400],
  ['binary rubbish', '\x01\x02\x03\xff\xfe\r\n\r\n', 400],
  ['a TLS client hello', '\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03', 400],
  ['no Host', start('GET / HTTP/1.1', 'x-a: b'), 400],
  ['two Hosts', get('host: a'), 400],
  ['two different Hosts', get('host: b'), 400],
  ['a Host with a space', start('GET / HTTP/1.1', 'host: a b'), 400],
  ['a Host with a path', start('GET / HTTP/1.1', 'host: a/b'), 400],
  ['a Host with user information', start('GET / HTTP/1.1', 'host: u@a'), 400],
  ['two different Content-Lengths', post('content-length: 4', 'content-length: 5') + 'abcde', 400],
  ['two different Content-Lengths in one field', post('content-length: 4, 5') + 'abcde', 400],
  ['a negative Content-Length', post('content-length: -1'), 400],
  ['a Content-Length with a sign', post('content-length: +1') + 'a', 400],
  ['a hexadecimal Content-Length', post('content-length: 0x1') + 'a', 400],
  ['an empty Content-Length', post('content-length:') + 'a', 400],
  ['a Content-Length beyond 64 bits', post('content-length: 99999999999999999999'), 400, 413],
  ['a Transfer-Encoding that does not end in chunked', post('transfer-encoding: chunked, gzip'), 400, 501],
  ['a Transfer-Encoding without chunked', post('transfer-encoding: gzip'), 400, 501],
  ['an unknown Transfer-Encoding', post('transfer-encoding: xchunked') + '0\r\n\r\n', 400, 501],
  ['chunked twice', post('transfer-encoding: chunked, chunked') + '0\r\n\r\n', 400, 501],
  ['Transfer-Encoding on HTTP/1.0', start('POST / HTTP/1.0', 'host: a', 'transfer-encoding: chunked') + '0\r\n\r\n', 400],
  ['a bare CR in a header value', get('x-a: b\rc'), 400],
  ['a bare CR as a line end', 'GET / HTTP/1.1\rhost: a\r\n\r\n', 400],
  ['a bare LF in a header', get('x-a: b\nx-c: d'), 400],
  ['a NUL in a header value', get('x-a: b\0c'), 400],
  ['a control character in a header value', get('x-a: b\x07c'), 400],
  ['white space before the colon', get('x-a : b'), 400],
  ['no colon', get('x-a b'), 400],
  ['an empty field name', get(': b'), 400],
  ['a folded line', get('x-a: b', ' c'), 400],
  ['white space before the first field', start('GET / HTTP/1.1', ' host: a'), 400],
  ['a field name that is no token', get('x(a): b'), 400],
  ['a method that is no token', start('G(T / HTTP/1.1', 'host: a'), 400],
  ['no method', start(' / HTTP/1.1', 'host: a'), 400],
  ['a space in the target', start('GET /a b HTTP/1.1', 'host: a'), 400],
  ['no target', start('GET HTTP/1.1', 'host: a'), 400],
  ['a target that is no path', start('GET a/b HTTP/1.1', 'host: a'), 400],
  ['an asterisk for GET', start('GET * HTTP/1.1', 'host: a'), 400],
  ['an absolute target that Host contradicts', start('GET http://b/ HTTP/1.1', 'host: a'), 400],
  ['CONNECT to a path', start('CONNECT /a HTTP/1.1', 'host: a'), 400],
  ['CONNECT without a port', start('CONNECT a HTTP/1.1', 'host: a'), 400],
  ['HTTP/0.9', 'GET /\r\n\r\n', 400, 505],
  ['HTTP/2.0 in words', start('GET / HTTP/2.0', 'host: a'), 400, 505],
  ['HTTP/9.9', start('GET / HTTP/9.9', 'host: a'), 400, 505],
  ['a version in lower case', start('GET / http/1.1', 'host: a'), 400, 505],
  ['a head of 20 KB in one field', get(`x-a: ${'v'.repeat(20_000)}`), 431],
  ['a head of 20 KB in many fields', get(...many(50, 400)), 431],
  ['101 fields', get(...many(100, 1)), 431],
  ['a target of 9 KB', start(`GET /${'a'.repeat(9000)} HTTP/1.1`, 'host: a'), 414],
  ['a head that never ends', 'GET / HTTP/1.1\r\nhost: a\r\nx-a: ' + 'v'.repeat(200_000), 431],
  ['a target that never ends', 'GET /' + 'a'.repeat(200_000), 414, 431],
  ['a declared body of 129 MiB', post(`content-length: ${129 << 20}`), 413],
]

let listener: Listener
const reached: string[] = []
test.before(async () => {
  listener = await listen({ port: 0, ioThreads: 1 })
  void answer(listener, async (request, stream) => {
    if (request.path !== '/good') reached.push(`${request.method} ${request.target}`)
    await stream.send(request.key, { body: 'let in' })
  })
})
test.after.always(() => listener.close())

for (const [title, bytes, ...statuses] of bad) {
  test(`${title} is ${statuses.join(' or ')}`, async (t) => {
    const client = await RawClient.connect(portOf(listener))
    client.write(bytes).catch(() => {}) // the server may close before it has read it all
    const response = await client.response()
    t.true(statuses.includes(response.status), `${response.status}`)
    t.is(response.get('connection'), 'close')
    t.is(await client.rest(), '', 'one answer, and the end')
  })
}

test('the same after a good request, and what follows is not read', async (t) => {
  for (const [title, bytes] of bad.filter(([, , status]) => status === 400)) {
    const client = await RawClient.connect(portOf(listener))
    client.write(start('GET /good HTTP/1.1', 'host: a') + bytes + '\r\n\r\n' + start('GET /smuggled HTTP/1.1', 'host: a')).catch(() => {})
    t.is((await client.response()).status, 200, title)
    t.true((await client.response()).status >= 400, title)
    t.is(await client.rest(), '', title)
  }
})

test.after('no bad request came up', (t) => {
  t.deepEqual(reached, [])
})

test('stats count them by reason', async (t) => {
  const own = await open(t)
  for (const bytes of ['rubbish\r\n\r\n', 'rubbish\r\n\r\n', start(`GET /${'a'.repeat(9000)} HTTP/1.1`, 'host: a'), get(...many(100, 1))]) {
    const client = await RawClient.connect(portOf(own))
    await client.write(bytes)
    await client.rest()
  }
  await soon(() => own.stats().refused['bad-request'] === 2)
  t.like(own.stats().refused, { 'bad-request': 2, 'target-too-long': 1, 'head-too-large': 1 })
})

test('what is on the edge is let in', async (t) => {
  const fine: Array<[string, string]> = [
    ['the same Content-Length twice', post('content-length: 4', 'content-length: 4') + 'abcd'],
    ['empty lines before the request line', '\r\n\r\n' + get()],
    ['99 fields beside Host', get(...many(99, 1))],
    ['a target of 8 KB', start(`GET /${'a'.repeat(8191)} HTTP/1.1`, 'host: a')],
    ['an IPv6 Host', start('GET / HTTP/1.1', 'host: [::1]:80')],
    ['an absolute target', start('GET http://b/ HTTP/1.1', 'host: b')],
    ['OPTIONS *', start('OPTIONS * HTTP/1.1', 'host: a')],
    ['no Host on HTTP/1.0', start('GET / HTTP/1.0')],
    ['a field value of latin1', get('x-a: caf\xe9')],
    ['an empty field value', get('x-a:')],
    ['a tab in a field value', get('x-a: b\tc')],
  ]
  const own = await open(t)
  void answer(own, (request, stream) => stream.send(request.key, { body: 'let in' }))
  for (const [title, bytes] of fine) {
    const client = await RawClient.connect(portOf(own))
    await client.write(bytes)
    const response = await client.response()
    t.is(response.status, 200, title)
    t.is(response.body.toString(), 'let in', title)
    client.close()
  }
})

test('Transfer-Encoding beside Content-Length: chunked rules, and the connection ends (RFC 9112 section 6.1)', async (t) => {
  const own = await open(t)
  void answer(own, async (request, stream) => stream.send(request.key, { body: `${request.path} ${await request.body?.text()}` }))
  const client = await RawClient.connect(portOf(own))
  await client.write(post('content-length: 4', 'transfer-encoding: chunked') + '3\r\nabc\r\n0\r\n\r\n' + start('GET /smuggled HTTP/1.1', 'host: a'))
  const response = await client.response()
  if (response.status === 200) t.is(response.body.toString(), '/ abc')
  else t.is(response.status, 400)
  t.is(response.get('connection'), 'close')
  t.is(await client.rest(), '')
})

const h2bad: Array<[title: string, status: number, headers: http2.OutgoingHttpHeaders]> = [
  ['a head of 20 KB', 431, { 'x-a': 'v'.repeat(20_000) }],
  ['101 fields', 431, Object.fromEntries(many(101, 1).map((line) => line.split(': ') as [string, string]))],
  ['a target of 9 KB', 414, { ':path': `/${'a'.repeat(9000)}` }],
  ['a declared body of 129 MiB', 413, { ':method': 'POST', 'content-length': 129 << 20 }],
]
for (const [title, status, headers] of h2bad) {
  test(`h2: ${title} is ${status}, and the connection goes on`, async (t) => {
    const session = http2.connect(`http://127.0.0.1:${portOf(listener)}`)
    t.teardown(() => session.destroy())
    const stream = session.request(headers, { endStream: headers[':method'] !== 'POST' })
    stream.on('error', () => {}) // a RST_STREAM may follow the answer
    const got = await new Promise((resolve, reject) => {
      stream.once('response', (fields) => resolve(fields[':status']))
      stream.once('close', () => reject(new Error(`closed with ${stream.rstCode}`)))
    })
    t.is(got, status)
    t.is(String(await drainBody(session.request({ ':path': '/good' }))), 'let in')
  })
}
