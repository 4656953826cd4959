// What must not be let in: each gets its status and a closed connection, or the end of its stream; one line in the stats; and no request
// ever comes up. RFC 9112, RFC 9110 section 7.2, RFC 9113 section 8.
import test from 'ava'
import type { ExecutionContext } from 'ava'
import type { Listener } from '../index.js'
import * as h2 from './_frames.js'
import { FrameClient } from './_frames.js'
import { RawClient } from './_raw.js'
import { answer, must, open, portOf, soon } from './_server.js'

const start = (line: string, ...fields: string[]) => [line, ...fields, '', ''].join('\r\n')
const get = (...fields: string[]) => start('GET / HTTP/1.1', 'host: a', ...fields)
const post = (...fields: string[]) => start('POST / HTTP/1.1', 'host: a', ...fields)
const many = (count: number, size: number) => Array.from({ length: count }, (_, i) => `x-${i}: ${'v'.repeat(size)}`)

type Row = [title: string, bytes: string, status: number, reason?: string]

// 400 'bad-request' unless it says otherwise.
const bad: Row[] = [
  ['rubbish', 'rubbish\r\n\r\n', 400],
  ['binary rubbish', '\x01\x02\x03\xff\xfe\r\n\r\n', 400],
  ['a TLS client hello', '\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03', 400],

  ['no Host', start('GET / HTTP/1.1', 'x-a: b'), 400],
  ['two Hosts', get('host: a'), 400],
  ['two different Hosts', get('host: b'), 400],
  ['an empty Host', start('GET / HTTP/1.1', 'host:'), 400],
  ['a Host of white space', start('GET / HTTP/1.1', 'host: \t '), 400],
  ['a Host with a space', start('GET / HTTP/1.1', 'host: a b'), 400],
  ['a Host with a path', start('GET / HTTP/1.1', 'host: a/b'), 400],
  ['a Host with user information', start('GET / HTTP/1.1', 'host: u@a'), 400],
  ['a Host list', start('GET / HTTP/1.1', 'host: a, b'), 400],
  ['a Host that is a port', start('GET / HTTP/1.1', 'host: :80'), 400],
  ['a Host with a port that is no number', start('GET / HTTP/1.1', 'host: a:b'), 400],
  ['a Host with a port that is too large', start('GET / HTTP/1.1', 'host: a:65536'), 400],
  ['a Host with an open bracket', start('GET / HTTP/1.1', 'host: [::1'), 400],
  ['a Host beyond ASCII', start('GET / HTTP/1.1', 'host: caf\xe9'), 400],
  ['an absolute target that Host contradicts', start('GET http://b/ HTTP/1.1', 'host: a'), 400],
  ['an absolute target whose port Host contradicts', start('GET http://a:81/ HTTP/1.1', 'host: a:80'), 400],
  ['an absolute target without a Host', start('GET http://a/ HTTP/1.1', 'x-a: b'), 400],
  ['an absolute target with user information', start('GET http://u@a/ HTTP/1.1', 'host: a'), 400],
  ['an absolute target without a name', start('GET http:/// HTTP/1.1', 'host: a'), 400],

  ['an asterisk for GET', start('GET * HTTP/1.1', 'host: a'), 400],
  ['an asterisk and more for OPTIONS', start('OPTIONS *a HTTP/1.1', 'host: a'), 400],
  ['CONNECT to a path', start('CONNECT /a HTTP/1.1', 'host: a'), 400],
  ['CONNECT without a port', start('CONNECT a HTTP/1.1', 'host: a'), 400],
  ['CONNECT with an empty port', start('CONNECT a: HTTP/1.1', 'host: a'), 400],
  ['CONNECT to a port that is no number', start('CONNECT a:b HTTP/1.1', 'host: a'), 400],
  ['CONNECT to a port without a name', start('CONNECT :80 HTTP/1.1', 'host: a'), 400],
  ['CONNECT to an absolute target', start('CONNECT http://a:80/ HTTP/1.1', 'host: a'), 400],
  ['CONNECT with a path behind the port', start('CONNECT a:80/b HTTP/1.1', 'host: a'), 400],
  ['CONNECT with user information', start('CONNECT u@a:80 HTTP/1.1', 'host: a'), 400],
  ['CONNECT to an asterisk', start('CONNECT * HTTP/1.1', 'host: a'), 400],

  ['no target', start('GET HTTP/1.1', 'host: a'), 400],
  ['a target that is no path', start('GET a/b HTTP/1.1', 'host: a'), 400],
  ['a target that is an authority', start('GET a:80 HTTP/1.1', 'host: a'), 400],
  ['a space in the target', start('GET /a b HTTP/1.1', 'host: a'), 400],
  ['a tab in the target', start('GET /a\tb HTTP/1.1', 'host: a'), 400],
  ['a NUL in the target', start('GET /\0 HTTP/1.1', 'host: a'), 400],
  ['a control character in the target', start('GET /\x1f HTTP/1.1', 'host: a'), 400],
  ['a DEL in the target', start('GET /\x7f HTTP/1.1', 'host: a'), 400],
  ['a byte beyond ASCII in the path', start('GET /caf\xe9 HTTP/1.1', 'host: a'), 400],
  ['UTF-8 in the path', start('GET /caf\xc3\xa9 HTTP/1.1', 'host: a'), 400],
  ['a byte beyond ASCII in the query', start('GET /?\xff HTTP/1.1', 'host: a'), 400],
  ['a byte beyond ASCII in an absolute target', start('GET http://caf\xe9/ HTTP/1.1', 'host: a'), 400],

  ['two Transfer-Encodings', post('transfer-encoding: chunked', 'transfer-encoding: chunked') + '0\r\n\r\n', 400],
  ['two different Transfer-Encodings', post('transfer-encoding: gzip', 'transfer-encoding: chunked') + '0\r\n\r\n', 400],
  ['a Transfer-Encoding that does not end in chunked', post('transfer-encoding: chunked, gzip'), 400],
  ['a Transfer-Encoding without chunked', post('transfer-encoding: gzip'), 400],
  ['a Transfer-Encoding of identity', post('transfer-encoding: identity'), 400],
  ['an empty Transfer-Encoding', post('transfer-encoding:') + '0\r\n\r\n', 400],
  ['something like chunked', post('transfer-encoding: xchunked') + '0\r\n\r\n', 400],
  ['chunked with a parameter', post('transfer-encoding: chunked;a=b') + '0\r\n\r\n', 400],
  ['chunked in quotes', post('transfer-encoding: "chunked"') + '0\r\n\r\n', 400],
  ['chunked behind a vertical tab', post('transfer-encoding: \x0bchunked') + '0\r\n\r\n', 400],
  ['chunked twice', post('transfer-encoding: chunked, chunked') + '0\r\n\r\n', 400],
  ['Transfer-Encoding on HTTP/1.0', start('POST / HTTP/1.0', 'host: a', 'transfer-encoding: chunked') + '0\r\n\r\n', 400],
  ['an unknown coding before chunked', post('transfer-encoding: br, chunked') + '0\r\n\r\n', 501, 'unknown-coding'],
  ['a coding that is not implemented before chunked', post('transfer-encoding: gzip, chunked') + '0\r\n\r\n', 501, 'unknown-coding'],

  ['two different Content-Lengths', post('content-length: 4', 'content-length: 5') + 'abcde', 400],
  ['two different Content-Lengths in one field', post('content-length: 4, 5') + 'abcde', 400],
  ['a negative Content-Length', post('content-length: -1'), 400],
  ['a Content-Length with a sign', post('content-length: +1') + 'a', 400],
  ['a hexadecimal Content-Length', post('content-length: 0x1') + 'a', 400],
  ['a Content-Length with a fraction', post('content-length: 1.0') + 'a', 400],
  ['a Content-Length with a space in it', post('content-length: 1 0') + 'a', 400],
  ['an empty Content-Length', post('content-length:') + 'a', 400],
  ['a Content-Length beyond 64 bits', post('content-length: 99999999999999999999'), 400],

  ['a bare CR in a header value', get('x-a: b\rc'), 400],
  ['a bare CR as a line end', 'GET / HTTP/1.1\rhost: a\r\n\r\n', 400],
  ['a bare LF in a header', get('x-a: b\nx-c: d'), 400],
  ['a bare LF behind the request line', 'GET / HTTP/1.1\nhost: a\r\n\r\n', 400],
  ['a bare LF at the end of the head', 'GET / HTTP/1.1\r\nhost: a\r\n\n', 400],
  ['a NUL in a header value', get('x-a: b\0c'), 400],
  ['a control character in a header value', get('x-a: b\x07c'), 400],
  ['a DEL in a header value', get('x-a: b\x7fc'), 400],
  ['white space before the colon', get('x-a : b'), 400],
  ['a tab before the colon', get('x-a\t: b'), 400],
  ['a space in a field name', get('x a: b'), 400],
  ['a NUL in a field name', get('x\0a: b'), 400],
  ['a byte beyond ASCII in a field name', get('x\xe9: b'), 400],
  ['no colon', get('x-a b'), 400],
  ['an empty field name', get(': b'), 400],
  ['a folded line', get('x-a: b', ' c'), 400],
  ['a line folded by a tab', get('x-a: b', '\tc'), 400],
  ['white space before the first field', start('GET / HTTP/1.1', ' host: a'), 400],
  ['a field name that is no token', get('x(a): b'), 400],

  ['a method that is no token', start('G(T / HTTP/1.1', 'host: a'), 400],
  ['a method beyond ASCII', start('G\xe9T / HTTP/1.1', 'host: a'), 400],
  ['no method', start(' / HTTP/1.1', 'host: a'), 400],
  ['white space before the method', start(' GET / HTTP/1.1', 'host: a'), 400],
  ['two spaces in the request line', start('GET  / HTTP/1.1', 'host: a'), 400],
  ['a tab in the request line', start('GET\t/ HTTP/1.1', 'host: a'), 400],
  ['a space behind the version', start('GET / HTTP/1.1 ', 'host: a'), 400],
  ['a method of 33 characters', start(`${'X'.repeat(33)} / HTTP/1.1`, 'host: a'), 501, 'method-too-long'],
  ['a method of 10 KB', start(`${'X'.repeat(10_000)} / HTTP/1.1`, 'host: a'), 501, 'method-too-long'],

  ['HTTP/0.9', 'GET /\r\n\r\n', 505, 'version'],
  ['HTTP/2.0 in words', start('GET / HTTP/2.0', 'host: a'), 505, 'version'],
  ['HTTP/9.9', start('GET / HTTP/9.9', 'host: a'), 505, 'version'],
  ['HTTP/1.2', start('GET / HTTP/1.2', 'host: a'), 505, 'version'],
  ['a version in lower case', start('GET / http/1.1', 'host: a'), 400],
  ['a version of three parts', start('GET / HTTP/1.1.1', 'host: a'), 400],
  ['another protocol', start('GET / ICAP/1.0', 'host: a'), 400],

  ['a head of 20 KB in one field', get(`x-a: ${'v'.repeat(20_000)}`), 431, 'head-too-large'],
  ['a head of 20 KB in many fields', get(...many(50, 400)), 431, 'head-too-large'],
  ['101 fields', get(...many(100, 1)), 431, 'head-too-large'],
  ['a target of 9 KB', start(`GET /${'a'.repeat(9000)} HTTP/1.1`, 'host: a'), 414, 'target-too-long'],
  ['a head that never ends', 'GET / HTTP/1.1\r\nhost: a\r\nx-a: ' + 'v'.repeat(200_000), 431, 'head-too-large'],
  ['a target of 9 KB in a head that never ends', `GET /${'a'.repeat(9000)} HTTP/1.1\r\nhost: a\r\nx-a: ` + 'v'.repeat(200_000), 414, 'target-too-long'],
  ['a target that never ends', 'GET /' + 'a'.repeat(200_000), 414, 'target-too-long'],
  ['a declared body of 129 MiB', post(`content-length: ${129 << 20}`), 413, 'body-too-large'],
]

/** What was refused, by reason. */
function refused(listener: Listener): Record<string, number> {
  return Object.fromEntries(Object.entries(listener.stats().refused).filter(([, count]) => count > 0))
}

/** A listener that answers all, and notes it. */
async function scene(t: ExecutionContext) {
  const listener = await open(t)
  const reached: string[] = []
  void answer(listener, async (request, stream) => {
    reached.push(`${request.method} ${request.target}`)
    await stream.send(request.key, request.method === 'CONNECT' ? { status: 405 } : { body: 'let in' })
  })
  return { listener, reached }
}

for (const [title, bytes, status, reason = 'bad-request'] of bad) {
  test(`${title} is ${status}`, async (t) => {
    const { listener, reached } = await scene(t)
    // First of its connection, and behind a good one. What follows it is not read.
    for (const before of ['', start('GET /good HTTP/1.1', 'host: a')]) {
      const client = await RawClient.connect(portOf(listener))
      client.write(before + bytes + '\r\n\r\n' + start('GET /smuggled HTTP/1.1', 'host: a')).catch(() => {}) // it may close before it has read it all
      if (before) t.is((await client.response()).status, 200)
      const response = await client.response()
      t.is(response.status, status)
      t.is(response.get('connection'), 'close')
      t.is(await client.rest(), '', 'one answer, and the end')
      client.close()
      await soon(() => listener.stats().connectionsOpen === 0)
    }
    t.deepEqual(reached, ['GET /good'], 'and no request')
    t.deepEqual(refused(listener), { [reason]: 2 })
  })
}

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
    ['white space around a field value', get('x-a: \t b \t ')],
    ['a Host that CONNECT contradicts', start('CONNECT a:80 HTTP/1.1', 'host: proxy')],
    ['the largest port', start('GET / HTTP/1.1', 'host: a:65535')],
    ['chunked in capitals', post('transfer-encoding: Chunked') + '0\r\n\r\n'],
    ['a method of 32 characters', start(`${'X'.repeat(32)} / HTTP/1.1`, 'host: a')],
    ['a target of all that may be in one', start("GET /-._~!$&'()*+,;=:@%00/?-._~!$&'()*+,;=:@%ff/? HTTP/1.1", 'host: a')],
  ]
  const { listener: own } = await scene(t)
  for (const [title, bytes] of fine) {
    const client = await RawClient.connect(portOf(own))
    await client.write(bytes)
    t.is((await client.response()).status, bytes.startsWith('CONNECT') ? 405 : 200, title)
    client.close()
  }
})

for (const [title, fields] of [
  ['Transfer-Encoding beside Content-Length', ['content-length: 4', 'transfer-encoding: chunked']],
  ['Content-Length beside Transfer-Encoding', ['transfer-encoding: chunked', 'content-length: 4']],
  ['Transfer-Encoding beside a long Content-Length', ['content-length: 400', 'transfer-encoding: chunked']],
] as const) {
  test(`${title}: chunked rules, and the connection ends (RFC 9112 section 6.1)`, async (t) => {
    const own = await open(t)
    void answer(own, async (request, stream) => stream.send(request.key, { body: `${request.path} ${await request.body?.text()}` }))
    const client = await RawClient.connect(portOf(own))
    await client.write(post(...fields) + '3\r\nabc\r\n0\r\n\r\n' + start('GET /smuggled HTTP/1.1', 'host: a'))
    const response = await client.response()
    t.is(response.status, 200)
    t.is(response.body.toString(), '/ abc')
    t.is(response.get('connection'), 'close')
    t.is(await client.rest(), '')
    t.is(own.stats().requestsTotal, 1)
  })
}

// ---- HTTP/2

const f = h2.field
/** A header block with other pseudo-fields than a GET's; null leaves one out. */
function block(pseudo: Record<string, string | null>, ...more: Buffer[]): Buffer {
  const all = { ':method': 'GET', ':scheme': 'http', ':path': '/', ':authority': 'a', ...pseudo }
  return Buffer.concat([...Object.entries(all).flatMap(([name, value]) => (value === null ? [] : [f(name, value)])), ...more])
}
const connect = (authority: string | null) => block({ ':method': 'CONNECT', ':scheme': null, ':path': null, ':authority': authority })

/** RFC 9113 section 8.1.1: a malformed request is answered, or its stream is reset. */
const RESET = 'RST_STREAM PROTOCOL_ERROR'
const h2bad: Array<[title: string, answer: number | typeof RESET, block: Buffer, reason?: string | undefined, body?: string]> = [
  ['neither :authority nor Host', 400, block({ ':authority': null })],
  ['an empty :authority', RESET, block({ ':authority': '' })],
  [':authority twice', RESET, block({}, f(':authority', 'a'))],
  ['an :authority with a space', RESET, block({ ':authority': 'a b' })],
  ['an :authority with a path', RESET, block({ ':authority': 'a/b' })],
  ['an :authority with user information', 400, block({ ':authority': 'u@a' })],
  ['an :authority with a port that is no number', 400, block({ ':authority': 'a:b' })],
  ['an :authority with a port that is too large', 400, block({ ':authority': 'a:65536' })],
  ['an :authority with an open bracket', RESET, block({ ':authority': '[::1' })],
  ['an :authority beyond ASCII', RESET, block({ ':authority': 'caf\xe9' })],
  ['a Host that contradicts :authority', 400, block({}, f('host', 'b'))],
  ['two Hosts', 400, block({}, f('host', 'a'), f('host', 'a'))],
  ['an empty Host', 400, block({ ':authority': null }, f('host', ''))],
  ['a malformed Host', 400, block({ ':authority': null }, f('host', 'a/b'))],

  ['an asterisk for GET', 400, block({ ':path': '*' })],
  ['CONNECT without :authority', 400, connect(null)],
  ['CONNECT without a port', 400, connect('a')],
  ['CONNECT with an empty port', 400, connect('a:')],
  ['CONNECT to a port that is no number', 400, connect('a:b')],
  ['CONNECT to a port without a name', 400, connect(':80')],
  ['CONNECT with user information', 400, connect('u@a:80')],
  ['CONNECT with a path', RESET, block({ ':method': 'CONNECT', ':scheme': null })],
  ['extended CONNECT without a path', RESET, block({ ':method': 'CONNECT', ':path': null }, f(':protocol', 'websocket'))],
  [':protocol for GET', RESET, block({}, f(':protocol', 'websocket'))],

  ['no :path', RESET, block({ ':path': null })],
  ['an empty :path', RESET, block({ ':path': '' })],
  ['a :path that is no path', RESET, block({ ':path': 'a/b' })],
  ['a :path that is absolute', RESET, block({ ':path': 'http://a/' })],
  ['a space in :path', RESET, block({ ':path': '/a b' })],
  ['a fragment in :path', RESET, block({ ':path': '/a#b' })],
  ['a control character in :path', RESET, block({ ':path': '/\x1f' })],
  ['a DEL in :path', RESET, block({ ':path': '/\x7f' })],
  ['a tab in the query', RESET, block({ ':path': '/?\t' })],
  ['a byte beyond ASCII in :path', RESET, block({ ':path': '/caf\xe9' })],
  ['UTF-8 in :path', 400, block({ ':path': '/caf\xc3\xa9' })],
  ['a byte beyond ASCII in the query', RESET, block({ ':path': '/?\xff' })],
  ['no :scheme', RESET, block({ ':scheme': null })],
  ['no :method', RESET, block({ ':method': null })],
  ['an empty :method', RESET, block({ ':method': '' })],
  ['a :method that is no token', RESET, block({ ':method': 'G(T' })],
  ['a :method of 33 characters', 501, block({ ':method': 'X'.repeat(33) }), 'method-too-long'],
  [':method twice', RESET, block({}, f(':method', 'GET'))],
  ['a pseudo-field that does not exist', RESET, block({}, f(':foo', 'bar'))],
  ['a pseudo-field of responses', RESET, block({}, f(':status', '200'))],
  ['a pseudo-field behind a field', RESET, Buffer.concat([f('x', 'y'), block({})])],

  ['a field name in capitals', RESET, block({}, f('X', 'y'))],
  ['a space in a field name', RESET, block({}, f('x y', 'z'))],
  ['a colon in a field name', RESET, block({}, f('x:y', 'z'))],
  ['an empty field name', RESET, block({}, f('', 'y'))],
  ['a NUL in a value', RESET, block({}, f('x', 'a\0b'))],
  ['a CR in a value', RESET, block({}, f('x', 'a\rb'))],
  ['a LF in a value', RESET, block({}, f('x', 'a\nb'))],
  ['a control character in a value', RESET, block({}, f('x', 'a\x07b'))],
  ['a space before a value', RESET, block({}, f('x', ' a'))],
  ['a tab behind a value', RESET, block({}, f('x', 'a\t'))],
  ['Connection', RESET, block({}, f('connection', 'close'))],
  ['Keep-Alive', RESET, block({}, f('keep-alive', '5'))],
  ['Proxy-Connection', RESET, block({}, f('proxy-connection', 'close'))],
  ['Transfer-Encoding', RESET, block({}, f('transfer-encoding', 'chunked'))],
  ['Upgrade', RESET, block({}, f('upgrade', 'websocket'))],
  ['a TE that is not trailers', RESET, block({}, f('te', 'gzip'))],

  ['two different Content-Lengths', RESET, block({ ':method': 'POST' }, f('content-length', '4'), f('content-length', '5')), undefined, 'abcd'],
  ['a list of Content-Lengths', RESET, block({ ':method': 'POST' }, f('content-length', '4, 4')), undefined, 'abcd'],
  ['a Content-Length with a sign', RESET, block({ ':method': 'POST' }, f('content-length', '+4')), undefined, 'abcd'],
  ['a Content-Length beyond 64 bits', RESET, block({ ':method': 'POST' }, f('content-length', '99999999999999999999')), undefined, 'abcd'],
  ['an empty Content-Length', RESET, block({}, f('content-length', ''))],
  ['an empty Content-Length with a body', RESET, block({ ':method': 'POST' }, f('content-length', '')), undefined, 'abcd'],
  ['a body shorter than its Content-Length', RESET, block({ ':method': 'POST' }, f('content-length', '4'))],

  ['a head of 20 KB', 431, block({}, f('x', 'v'.repeat(20_000))), 'head-too-large'],
  ['101 fields', 431, block({}, ...Array.from({ length: 101 }, (_, i) => f(`x-${i}`, 'v'))), 'head-too-large'],
  ['a target of 9 KB', 414, block({ ':path': `/${'a'.repeat(9000)}` }), 'target-too-long'],
  ['a declared body of 129 MiB', 413, block({ ':method': 'POST' }, f('content-length', String(129 << 20))), 'body-too-large', 'abcd'],
]

for (const [title, expected, bytes, reason = 'bad-request', body] of h2bad) {
  test(`h2: ${title} is ${expected}`, async (t) => {
    const { listener, reached } = await scene(t)
    const client = await FrameClient.connect(portOf(listener))
    t.teardown(() => client.close())
    const head = h2.headers(1, bytes, body === undefined ? h2.END_STREAM : 0)
    await client.write(head, ...(body === undefined ? [] : [h2.data(1, body, expected === RESET)]))
    const got = must(await client.head(1))
    if (expected === RESET) t.deepEqual([got.type, got.payload.readUInt32BE(0)], [h2.RST_STREAM, h2.PROTOCOL_ERROR])
    else t.is(h2.statusOf(got), expected)
    await client.write(h2.get(3, '/good'))
    t.is(must(await client.end(3)).type, h2.DATA, 'the connection goes on')
    await soon(() => Object.keys(refused(listener)).length > 0)
    t.deepEqual(refused(listener), { [reason]: 1 })
    t.deepEqual(reached, ['GET /good'])
  })
}

test('h2: what is on the edge is let in', async (t) => {
  const fine: Array<[string, Buffer]> = [
    ['Host alone', block({ ':authority': null }, f('host', 'a'))],
    ['Host beside :authority', block({}, f('host', 'A'))],
    ['OPTIONS *', block({ ':method': 'OPTIONS', ':path': '*' })],
    ['CONNECT', connect('a:80')],
    ['an IPv6 :authority', block({ ':authority': '[::1]:80' })],
    ['TE: trailers', block({}, f('te', 'trailers'))],
    ['a field value of latin1', block({}, f('x', 'caf\xe9'))],
    ['an empty field value', block({}, f('x', ''))],
    ['a tab in a field value', block({}, f('x', 'a\tb'))],
    ['the same Content-Length twice', block({}, f('content-length', '0'), f('content-length', '0'))],
    ['a method of 32 characters', block({ ':method': 'X'.repeat(32) })],
    ['100 fields', block({}, ...Array.from({ length: 100 }, (_, i) => f(`x-${i}`, 'v')))],
  ]
  const { listener } = await scene(t)
  const client = await FrameClient.connect(portOf(listener))
  t.teardown(() => client.close())
  for (const [i, [title, bytes]] of fine.entries()) {
    await client.write(h2.headers(2 * i + 1, bytes))
    t.is(must(await client.head(2 * i + 1)).type, h2.HEADERS, title)
  }
  t.is(listener.stats().requestsTotal, fine.length)
  t.deepEqual(refused(listener), {})
})
