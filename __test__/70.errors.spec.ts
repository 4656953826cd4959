// Misuse: each mistake is a PullError with its code, the wire carries nothing of it, and the request can still be answered.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { prepareHead, PullError } from '../index.js'
import type { IncomingRequest, Listener, OutgoingResponse, RequestKey } from '../index.js'
import { h1Client, h2Client } from './_client.js'
import { RawClient } from './_raw.js'
import { asked, must, open, portOf, pull, rejected } from './_server.js'

const get = 'GET / HTTP/1.1\r\nhost: a\r\n\r\n'
const local = ['ERR_KEY_USED', 'ERR_KEY_UNKNOWN', 'ERR_NOT_UPGRADABLE', 'ERR_BODY_IN_USE', 'ERR_INVALID_HEADER', 'ERR_INVALID_STATUS', 'ERR_BODY_LENGTH_MISMATCH', 'ERR_INVALID_OPTION', 'ERR_CLOSED']

const send = (response: unknown) => (request: IncomingRequest) => request.stream.send(request.key, response as OutgoingResponse)
const detached = new ArrayBuffer(8)
const detachedBytes = new Uint8Array(detached)
structuredClone(detached, { transfer: [detached] })
const shrunk = new (ArrayBuffer as unknown as new (length: number, options: object) => ArrayBuffer & { resize(length: number): void })(8, { maxByteLength: 8 })
const outOfBounds = new Uint8Array(shrunk, 2, 4)
shrunk.resize(4)
const mistakes: Array<[title: string, code: string, act: (request: IncomingRequest) => Promise<unknown>]> = [
  ...[Symbol('200'), 42, 0, -200, 99, 100, 103, 199, 600, 1000, 200.5, Number.NaN, Number.POSITIVE_INFINITY, '200'].map(
    (status) => [`status ${typeof status} ${String(status)}`, 'ERR_INVALID_STATUS', send({ status })] as (typeof mistakes)[number],
  ),
  ['an ArrayBuffer that is detached', 'ERR_BODY_LENGTH_MISMATCH', send({ body: detached })],
  ['a Uint8Array that is detached', 'ERR_BODY_LENGTH_MISMATCH', send({ body: detachedBytes })],
  ['a Uint8Array that is detached, before trailers', 'ERR_BODY_LENGTH_MISMATCH', send({ body: detachedBytes, trailers: { a: 'b' } })],
  ['a Uint8Array past the end of its memory', 'ERR_BODY_LENGTH_MISMATCH', send({ body: outOfBounds })],
  ['status 101 by send', 'ERR_INVALID_STATUS', send({ status: 101 })],
  ['a line break in a header value', 'ERR_INVALID_HEADER', send({ headers: { 'x-a': 'b\r\nx-c: d' } })],
  ['a bare LF in a header value', 'ERR_INVALID_HEADER', send({ headers: { 'x-a': 'b\nc' } })],
  ['a bare CR in a header value', 'ERR_INVALID_HEADER', send({ headers: { 'x-a': 'b\rc' } })],
  ['a NUL in a header value', 'ERR_INVALID_HEADER', send({ headers: { 'x-a': 'b\0c' } })],
  ['a header value beyond latin1', 'ERR_INVALID_HEADER', send({ headers: { 'x-a': '€' } })],
  ['a line break in one of several values', 'ERR_INVALID_HEADER', send({ headers: { 'x-a': ['fine', 'b\r\nc'] } })],
  ['a line break in a header name', 'ERR_INVALID_HEADER', send({ headers: { 'x-a\r\nx-b': 'c' } })],
  ['a space in a header name', 'ERR_INVALID_HEADER', send({ headers: { 'x a': 'b' } })],
  ['a colon in a header name', 'ERR_INVALID_HEADER', send({ headers: { 'x:a': 'b' } })],
  ['an empty header name', 'ERR_INVALID_HEADER', send({ headers: { '': 'b' } })],
  ['a pseudo-header', 'ERR_INVALID_HEADER', send({ headers: { ':status': '200' } })],
  ['a header that is no text', 'ERR_INVALID_HEADER', send({ headers: { 'x-a': Symbol('a') } })],
  ['a transfer-encoding by hand', 'ERR_INVALID_HEADER', send({ headers: { 'transfer-encoding': 'chunked' }, body: 'x' })],
  ['a content-length that is no number', 'ERR_INVALID_HEADER', send({ headers: { 'content-length': 'ten' }, body: 'x' })],
  ['a content-length that is too long', 'ERR_BODY_LENGTH_MISMATCH', send({ headers: { 'content-length': '5' }, body: 'four' })],
  ['a content-length that is too short', 'ERR_BODY_LENGTH_MISMATCH', send({ headers: { 'content-length': 3 }, body: 'four' })],
  ['a content-length without a body', 'ERR_BODY_LENGTH_MISMATCH', send({ headers: { 'content-length': 3 } })],
  ['a body on a 204', 'ERR_BODY_LENGTH_MISMATCH', send({ status: 204, body: 'x' })],
  ['a body that is a number', 'ERR_INVALID_OPTION', send({ body: 5 })],
  ['a body that is an object', 'ERR_INVALID_OPTION', send({ body: { no: 'body' } })],
  ['a body that is a list of larger numbers', 'ERR_INVALID_OPTION', send({ body: new Uint16Array(3) })],
  ['an answer that begins without a head', 'ERR_INVALID_OPTION', async ({ stream, key }) => stream.start(key, undefined as never)],
  ['a prepared head that closes, in an interim response', 'ERR_INVALID_HEADER', ({ stream, key }) => stream.inform(key, 103, prepareHead({ connection: 'close' }) as never)],
  ['a prepared head with a length, in an interim response', 'ERR_INVALID_HEADER', ({ stream, key }) => stream.inform(key, 103, prepareHead({ 'content-length': '1' }) as never)],
  ['a response that is none', 'ERR_INVALID_OPTION', send(5)],
  ['a file that starts at no byte', 'ERR_INVALID_OPTION', send({ body: { file: 'package.json', start: Infinity } })],
  ['a file that ends at half a byte', 'ERR_INVALID_OPTION', send({ body: { file: 'package.json', end: 1.5 } })],
  ['a file range the wrong way round', 'ERR_INVALID_OPTION', send({ body: { file: 'package.json', start: 9, end: 2 } })],
  ['a trailer that is framing', 'ERR_INVALID_HEADER', send({ body: ['x'], trailers: { 'content-length': '1' } })],
  ['a list of trailers that has no pairs', 'ERR_INVALID_HEADER', send({ body: 'x', trailers: [5] })],
  ['trailers that are none', 'ERR_INVALID_HEADER', send({ body: 'x', trailers: null })],
  ['trailers beside headers that are none', 'ERR_INVALID_HEADER', send({ body: 'x', trailers: { a: 'b' }, headers: null })],
  ['trailers beside a header name that is no text', 'ERR_INVALID_HEADER', send({ body: 'x', trailers: { a: 'b' }, headers: [[5, 'b']] })],
  ['inform with a status of 200', 'ERR_INVALID_STATUS', (request) => request.stream.inform(request.key, 200)],
  ['inform with a line break', 'ERR_INVALID_HEADER', (request) => request.stream.inform(request.key, 103, { link: 'a\nb' })],
  ['an upgrade that was not asked for', 'ERR_NOT_UPGRADABLE', (request) => request.stream.upgrade(request.key)],
  ['a key that is made up', 'ERR_KEY_UNKNOWN', ({ stream }) => stream.send(987_654 as RequestKey, {})],
  ...['key', Symbol('key'), 5n, null, undefined].flatMap((key) => {
    const wrong = key as unknown as RequestKey
    return [
      [`a key that is no number but a ${typeof key}`, 'ERR_KEY_UNKNOWN', ({ stream }) => stream.send(wrong, {})],
      [`inform with a ${typeof key}`, 'ERR_KEY_UNKNOWN', ({ stream }) => stream.inform(wrong, 103)],
      [`upgrade with a ${typeof key}`, 'ERR_KEY_UNKNOWN', ({ stream }) => stream.upgrade(wrong)],
    ] as typeof mistakes
  }),
  ['inform with a status that is no number', 'ERR_INVALID_STATUS', ({ stream, key }) => stream.inform(key, Symbol('103') as never)],
  ['start with a status of 42', 'ERR_INVALID_STATUS', async (request) => request.stream.start(request.key, { status: 42 })],
  ['start with a line break', 'ERR_INVALID_HEADER', async (request) => request.stream.start(request.key, { headers: { a: 'b\r\nc' } })],
  ['start with a made-up key', 'ERR_KEY_UNKNOWN', async ({ stream }) => stream.start(987_654 as RequestKey, {})],
]

for (const [title, code, act] of mistakes) {
  for (const protocol of ['h1', 'h2'] as const) {
    test(`${protocol}: ${title} is ${code}`, async (t) => {
      const listener = await open(t)
      const client = protocol === 'h1' ? h1Client(portOf(listener)) : h2Client(portOf(listener))
      t.teardown(() => client.close())
      const reply = client.fetch()
      const request = await pull(listener)
      const error = await rejected(t, act(request), code)
      t.is(error.side, 'local')
      t.true(error.message.length > 0)
      await request.stream.send(request.key, { headers: { 'x-right': 'yes' }, body: 'the right answer' })
      const { status, text, headers } = await reply
      t.is(status, 200)
      t.is(text, 'the right answer')
      t.is(headers['x-right'], 'yes')
    })
  }
}

test('a key used twice', async (t) => {
  const { client, request } = await asked(t, get + get)
  const first = request.stream.send(request.key, { body: 'once' })
  await rejected(t, request.stream.send(request.key, { body: 'twice' }), 'ERR_KEY_USED')
  await first
  await rejected(t, request.stream.send(request.key, { body: 'twice' }), 'ERR_KEY_USED')
  t.throws(() => request.stream.start(request.key, {}), { code: 'ERR_KEY_USED' })
  await rejected(t, request.stream.upgrade(request.key), 'ERR_KEY_USED', 'ERR_NOT_UPGRADABLE')
  const next = must(await request.stream.nextRequest())
  await rejected(t, next.stream.send(request.key, { body: 'for the next one' }), 'ERR_KEY_USED')
  await next.stream.send(next.key, { body: 'next' })
  t.is((await client.response()).body.toString(), 'once')
  t.is((await client.response()).body.toString(), 'next')
  t.is(client.pending, '')
})

test('a key of another stream', async (t) => {
  const listener = await open(t)
  const clients = [await RawClient.connect(portOf(listener)), await RawClient.connect(portOf(listener))]
  const requests: IncomingRequest[] = []
  for (const client of clients) {
    await client.write(get)
    requests.push(await pull(listener))
  }
  const [one, two] = requests as [IncomingRequest, IncomingRequest]
  t.not(one.key, two.key)
  await rejected(t, one.stream.send(two.key, { body: 'wrong' }), 'ERR_KEY_UNKNOWN')
  await rejected(t, two.stream.send(one.key, { body: 'wrong' }), 'ERR_KEY_UNKNOWN')
  await two.stream.send(two.key, { body: 'two' })
  await one.stream.send(one.key, { body: 'one' })
  t.is((await clients[0]!.response()).body.toString(), 'one')
  t.is((await clients[1]!.response()).body.toString(), 'two')
})

test('h2: a key of another stream of the same connection', async (t) => {
  const listener = await open(t)
  const client = h2Client(portOf(listener))
  t.teardown(() => client.close())
  const replies = [client.fetch({ path: '/one' }), client.fetch({ path: '/two' })]
  const connection = must(await listener.nextConnection())
  const one = must(await must(await connection.nextStream()).nextRequest())
  const two = must(await must(await connection.nextStream()).nextRequest())
  await rejected(t, one.stream.send(two.key, { body: 'wrong' }), 'ERR_KEY_UNKNOWN')
  for (const request of [one, two]) await request.stream.send(request.key, { body: request.path })
  t.deepEqual((await Promise.all(replies)).map(({ text }) => text), ['/one', '/two'])
})

for (const [title, body] of [
  ['too short', () => ['abc'].values()],
  ['too long', () => ['abc', 'defghi'].values()],
  ['a stream that is too short', () => new Blob(['abc']).stream()],
] as const) {
  for (const protocol of ['h1', 'h2'] as const) {
    test(`${protocol}: a streamed body that is ${title} for its content-length`, async (t) => {
      const listener = await open(t)
      const client = protocol === 'h1' ? h1Client(portOf(listener)) : h2Client(portOf(listener))
      t.teardown(() => client.close())
      const reply = client.fetch()
      reply.catch(() => {})
      const request = await pull(listener)
      await rejected(t, request.stream.send(request.key, { headers: { 'content-length': 5 }, body: body() }), 'ERR_BODY_LENGTH_MISMATCH')
      await t.throwsAsync(reply, undefined, 'the client does not take it for whole')
    })
  }
}

test('a file that is not there is the error of node:fs, and the key is still good', async (t) => {
  const { client, request } = await asked(t, get)
  await t.throwsAsync(request.stream.send(request.key, { body: { file: '/nonexistent/file' } }), { code: 'ENOENT' })
  await request.stream.send(request.key, { status: 404, body: 'not there' })
  t.is((await client.response()).status, 404)
})

test('a file that ends before its content-length', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'hyperpull-'))
  t.teardown(() => rmSync(directory, { recursive: true }))
  const file = join(directory, 'file')
  writeFileSync(file, 'ten bytes!')
  const { client, request } = await asked(t, get)
  await rejected(t, request.stream.send(request.key, { headers: { 'content-length': 20 }, body: { file } }), 'ERR_BODY_LENGTH_MISMATCH')
  t.notRegex(client.pending, /ten bytes!.*ten bytes!/s)
})

test('after close everything says so', async (t) => {
  const listener = await open(t)
  const client = await RawClient.connect(portOf(listener))
  await client.write('POST /chat HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\ncontent-length: 10\r\n\r\nabc')
  const request = await pull(listener)
  const { stream, key } = request
  await listener.close()
  await rejected(t, stream.send(key, {}), 'ERR_CLOSED')
  await rejected(t, stream.inform(key, 103), 'ERR_CLOSED')
  await rejected(t, stream.upgrade(key), 'ERR_CLOSED', 'ERR_NOT_UPGRADABLE')
  t.throws(() => stream.start(key, {}), { code: 'ERR_CLOSED' })
  await rejected(t, must(request.body).bytes(), 'ERR_CLOSED')
  t.is(await stream.nextRequest(), null)
  t.is(await stream.connection.nextStream(), null)
  t.is(await listener.nextConnection(), null)
  t.true(request.signal.aborted)
  t.notThrows(() => (stream.reset(), stream.connection.close()))
  await stream.drain()
  await stream.connection.drain()
  await listener.drain()
  await listener.close()
  t.like(await stream.connection.closed, { code: 'closed', side: 'local' })
  t.is(typeof listener.stats().bytesRead, 'number')
  t.is(listener.ref(), listener)
})

test('headers that use the server while they are read: what ends anything comes after them, an answer is refused', async (t) => {
  const uses: Record<string, (request: IncomingRequest, listener: Listener) => unknown> = {
    'listener.close': (_, listener) => listener.close(),
    'listener.drain': (_, listener) => listener.drain(),
    'connection.close': ({ stream }) => stream.connection.close(),
    'connection.drain': ({ stream }) => stream.connection.drain(),
  }
  for (const [name, use] of Object.entries(uses)) {
    const { listener, client, request } = await asked(t, get)
    const { stream, key } = request
    let used: unknown
    const headers = {
      *[Symbol.iterator](): Generator<[string, string]> {
        yield ['x-before', 'it']
        used = use(request, listener)
        t.throws(() => stream.reset(), { code: 'ERR_INVALID_HEADER' })
        t.throws(() => stream.start(key, {}), { code: 'ERR_INVALID_HEADER' })
        yield ['x-after', 'it']
      },
    }
    const sent = stream.send(key, { headers })
    if (name.endsWith('drain')) {
      await sent
      t.is((await client.response()).get('x-after'), 'it')
    }
    await used
    await stream.connection.closed
    t.pass(name)
  }
})

test('headers that have others checked while they are read keep the length that they declare', async (t) => {
  const other = await asked(t, get)
  const uses: Array<() => unknown> = [
    () => prepareHead({}),
    () => prepareHead({ 'content-length': '7' }),
    () => other.request.stream.inform(other.request.key, 103, { link: '</a>' }),
  ]
  for (const use of uses) {
    const headers = (...fields: Array<[string, string]>) => ({
      *[Symbol.iterator](): Generator<[string, string]> {
        yield* fields
        use()
        yield ['x-after', 'it']
      },
    })
    const { client, request } = await asked(t, get)
    const { stream, key } = request
    await rejected(t, stream.send(key, { headers: headers(['content-length', '4']), body: 'seventy' }), 'ERR_BODY_LENGTH_MISMATCH')
    await stream.send(key, { headers: headers(['x-before', 'it']), body: 'four' })
    t.is((await client.response()).body.toString(), 'four')
  }
})

test('a head that is prepared while another is does not make that one fit HTTP/2', async (t) => {
  const listener = await open(t)
  const client = h2Client(portOf(listener))
  t.teardown(() => client.close())
  const reply = client.fetch()
  const { stream, key } = await pull(listener)
  const headers = prepareHead({
    *[Symbol.iterator](): Generator<[string, string]> {
      yield ['connection', 'close']
      prepareHead({})
    },
  })
  await rejected(t, stream.send(key, { headers }), 'ERR_INVALID_HEADER')
  await stream.send(key, {})
  await reply
})

test('trailers that reset the exchange while they are read', async (t) => {
  const { client, request } = await asked(t, get)
  const { stream, key } = request
  const trailers = {
    *[Symbol.iterator](): Generator<[string, string]> {
      stream.reset()
      yield ['x-t', 'it']
    },
  }
  await rejected(t, stream.send(key, { body: 'x', trailers }), 'ERR_CLOSED')
  await client.ended
})

test('prepareHead checks', (t) => {
  for (const headers of [{ 'x-a': 'b\r\nc' }, { 'x a': 'b' }, { 'x-a': '€' }] as Array<Record<string, string>>) {
    const error = t.throws(() => prepareHead(headers), { instanceOf: PullError })
    t.is((error as PullError).code, 'ERR_INVALID_HEADER')
  }
})

test.serial('an abandoned rejection of the peer does not end the process, a mistake of the caller stays loud', async (t) => {
  const unhandled: unknown[] = []
  const previous = process.listeners('unhandledRejection')
  process.removeAllListeners('unhandledRejection')
  process.on('unhandledRejection', (error) => unhandled.push(error))
  t.teardown(() => {
    process.removeAllListeners('unhandledRejection')
    for (const handler of previous) process.on('unhandledRejection', handler)
  })
  const { client, request } = await asked(t, get)
  client.reset()
  await request.stream.connection.closed
  void request.stream.send(request.key, {}) // ERR_PEER_RESET
  await new Promise((resolve) => setImmediate(resolve))
  t.deepEqual(unhandled, [])
  void request.stream.send(1 as RequestKey, { status: 42 })
  await new Promise((resolve) => setImmediate(resolve))
  t.is(unhandled.length, 1)
  t.true(local.includes((unhandled[0] as PullError).code))
})

test('a PullError of a code that is none of ours is the program\'s own', (t) => {
  t.like(new PullError('ERR_MINE', 'mine'), { code: 'ERR_MINE', message: 'mine', side: 'local', status: null })
  t.like(new PullError('toString'), { side: 'local', status: null })
})
