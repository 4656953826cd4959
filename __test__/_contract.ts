// What every protocol configuration promises alike: one suite, run by 15.contract.spec.ts for each of them.
import { createReadStream, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import test from 'ava'
import { PullError, prepareHead } from '../index.js'
import type { IncomingRequest, OutgoingResponse } from '../index.js'
import { drainBody } from './_client.js'
import { scenes } from './_scene.js'
import type { Setup } from './_scene.js'
import { must, pull, rejected, seeded } from './_server.js'

export function contract(setup: Setup): void {
  const { name } = setup
  const { one, scene } = scenes(setup)

  test(`${name}: a request is told as it was sent`, async (t) => {
    const { client, listener } = await scene(t)
    const reply = client.fetch({ path: '/a/b%20c?d=e&f=/?', headers: { 'X-Token': 'T 1', 'x-list': ['one', 'two'], host: 'example.test:99' } })
    const request = await pull(listener)
    const { headers } = request
    t.is(request.method, 'GET')
    t.is(request.target, '/a/b%20c?d=e&f=/?')
    t.is(request.path, '/a/b%20c')
    t.is(request.query, 'd=e&f=/?')
    t.is(request.scheme, setup.scheme)
    t.is(request.authority, 'example.test:99')
    t.is(request.httpVersion, setup.httpVersion)
    t.is(request.body, null)
    t.is(request.upgrade, null)
    t.deepEqual({ ...request.priority }, { urgency: 3, incremental: false })
    t.is(request.stream.connection.protocol, setup.protocol)
    t.true(Math.abs(performance.now() - request.receivedAt) < 60_000, 'receivedAt is on the clock of performance.now()')
    t.is(headers.get('x-token'), 'T 1')
    t.is(headers.get('X-TOKEN'), 'T 1')
    t.is(headers.get('x-other'), null)
    t.true(headers.has('X-List'))
    t.false(headers.has('x-other'))
    t.deepEqual(headers.getAll('x-list'), ['one', 'two'])
    t.deepEqual(headers.getAll('x-other'), [])
    t.is(headers.get('x-list'), 'one, two')
    t.is(headers.raw().length, headers.size * 2)
    t.is([...headers].length, headers.size)
    t.deepEqual(headers.toObject()['x-list'], ['one', 'two'])
    t.is(headers.toObject()['x-token'], 'T 1')
    await request.stream.send(request.key, {})
    t.is((await reply).status, 200)
  })

  test(`${name}: a target without a query, cookies in pieces, a priority`, async (t) => {
    const { client, listener } = await scene(t)
    const reply = client.fetch({ path: '/plain', headers: { cookie: ['a=1', 'b=2'], priority: 'u=5, u=1;a, i=?0, i' } })
    const request = await pull(listener)
    t.is(request.path, '/plain')
    t.is(request.query, '')
    t.is(request.headers.get('cookie'), 'a=1; b=2')
    t.deepEqual({ ...request.priority }, { urgency: 1, incremental: true })
    await request.stream.send(request.key, {})
    await reply
  })

  test(`${name}: every method`, async (t) => {
    const { client } = await scene(t, (request, stream) => stream.send(request.key, { headers: { 'x-method': request.method } }))
    for (const method of ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH', 'TRACE', 'PROPFIND', 'PURGE']) {
      t.is((await client.fetch({ method })).headers['x-method'], method)
    }
  })

  const bytes = Uint8Array.from({ length: 70_000 }, (_, i) => i * 7)
  const pieces = ['a', new Uint8Array([98, 99]), '', 'dé']
  const bodies: Record<string, [() => OutgoingResponse, string | Uint8Array]> = {
    'no body': [() => ({}), ''],
    null: [() => ({ body: null }), ''],
    'an empty string': [() => ({ body: '' }), ''],
    'an ASCII string': [() => ({ body: 'Hello, World!' }), 'Hello, World!'],
    'a string that is not ASCII': [() => ({ body: 'žluťoučký kůň 🐎' }), 'žluťoučký kůň 🐎'],
    'a long string': [() => ({ body: 'ä'.repeat(100_000) }), 'ä'.repeat(100_000)],
    'a Uint8Array': [() => ({ body: bytes }), bytes],
    'a view into a larger buffer': [() => ({ body: bytes.subarray(10, 20) }), bytes.subarray(10, 20)],
    'a Buffer': [() => ({ body: Buffer.from('buffer') }), 'buffer'],
    'an ArrayBuffer': [() => ({ body: bytes.slice().buffer }), bytes],
    'a Blob': [() => ({ body: new Blob(['blob ', bytes.slice()]) }), Buffer.concat([Buffer.from('blob '), bytes])],
    'a ReadableStream': [() => ({ body: new Blob([bytes.slice()]).stream() }), bytes],
    'an async iterable': [() => ({ body: later(pieces) }), 'abcdé'],
    'an iterable': [() => ({ body: pieces }), 'abcdé'],
    'an empty iterable': [() => ({ body: [] }), ''],
  }
  for (const [kind, [make, expected]] of Object.entries(bodies)) {
    test(`${name}: the response body is ${kind}`, async (t) => {
      const [sent, reply] = await one(t, make())
      t.is(reply.status, 200)
      t.true(reply.body.equals(Buffer.from(expected as string)), `${reply.body.length} bytes`)
      t.is(sent.bytes, reply.body.length)
    })
  }

  test(`${name}: the response body is a file, whole and in part`, async (t) => {
    const directory = mkdtempSync(join(tmpdir(), 'hyperpull-'))
    t.teardown(() => rmSync(directory, { recursive: true }))
    const file = join(directory, 'file')
    const content = Buffer.from(Array.from({ length: 300_000 }, (_, i) => i % 251))
    writeFileSync(file, content)
    const [whole, all] = await one(t, { body: { file } })
    t.true(all.body.equals(content))
    t.is(whole.bytes, content.length)
    t.is(all.headers['content-length'], String(content.length))
    const [, part] = await one(t, { body: { file, start: 1000, end: 199_999 } })
    t.true(part.body.equals(content.subarray(1000, 200_000)), 'from start to end, both included, as fs.createReadStream reads')
  })

  test(`${name}: a WHATWG Response is an answer`, async (t) => {
    const headers = new Headers([['set-cookie', 'a=1'], ['set-cookie', 'b=2'], ['x-a', 'b']])
    const [, reply] = await one(t, new Response('made by fetch', { status: 201, headers }))
    t.is(reply.status, 201)
    t.is(reply.text, 'made by fetch')
    t.is(reply.headers['x-a'], 'b')
    t.deepEqual(reply.headers['set-cookie'], ['a=1', 'b=2'])
    t.regex(String(reply.headers['content-type']), /^text\/plain/)
  })

  test(`${name}: of a WHATWG Response the fields of the connection that it came by are left out`, async (t) => {
    const hop = { connection: 'x-a, keep-alive', 'keep-alive': 'timeout=7', 'transfer-encoding': 'chunked', te: 'trailers', upgrade: 'x', 'proxy-connection': 'x' }
    for (const body of ['made by fetch', new ReadableStream({ start: (from) => (from.enqueue(Buffer.from('made by fetch')), from.close()) }), null]) {
      const [, reply] = await one(t, new Response(body, { headers: { ...hop, 'x-b': 'c' } }))
      t.is(reply.status, 200)
      t.is(reply.headers['x-b'], 'c')
      t.is(reply.text, body === null ? '' : 'made by fetch')
      const { connection, ...rest } = reply.headers
      t.not(connection, hop.connection)
      t.deepEqual(Object.keys(rest).filter((field) => field !== 'transfer-encoding' && field in hop && rest[field] === hop[field as keyof typeof hop]), [])
    }
  })

  const pairs: Array<[string, string]> = [['x-a', '1'], ['x-list', 'one'], ['x-list', 'two'], ['content-type', 'text/x-test']]
  const forms: Record<string, () => NonNullable<OutgoingResponse['headers']>> = {
    'an object': () => ({ 'x-a': 1, 'x-list': ['one', 'two'], 'Content-Type': 'text/x-test' }),
    pairs: () => pairs,
    'a WHATWG Headers': () => new Headers(pairs),
    'a Map': () => new Map([['x-a', '1'], ['x-list', 'one, two'], ['content-type', 'text/x-test']]),
    'a generator': () => pairs.values(),
    'a prepared head': () => prepareHead(pairs),
  }
  for (const [form, make] of Object.entries(forms)) {
    test(`${name}: the response headers are ${form}`, async (t) => {
      const [, reply] = await one(t, { headers: make(), body: 'x' })
      t.is(reply.headers['x-a'], '1')
      t.is(String(reply.headers['x-list']).replace(',o', ', o'), 'one, two')
      t.is(reply.headers['content-type'], 'text/x-test')
      t.is(reply.headers['content-length'], '1')
      t.true(Math.abs(Date.parse(String(reply.headers.date)) - Date.now()) < 60_000, 'date is there')
    })
  }

  test(`${name}: a prepared head is sent many times`, async (t) => {
    const headers = prepareHead({ 'x-prepared': 'yes' })
    const { client } = await scene(t, (request, stream) => stream.send(request.key, { headers, body: request.path }))
    for (let i = 0; i < 50; i++) {
      const reply = await client.fetch({ path: `/${i}` })
      t.is(reply.headers['x-prepared'], 'yes')
      t.is(reply.text, `/${i}`)
    }
  })

  test(`${name}: header values are latin1 both ways`, async (t) => {
    const { client } = await scene(t, (request, stream) => stream.send(request.key, { headers: { 'x-echo': must(request.headers.get('x-in')) } }))
    t.is((await client.fetch({ headers: { 'x-in': 'caf\u00e9 \u00ff' } })).headers['x-echo'], 'caf\u00e9 \u00ff')
  })

  test(`${name}: statuses`, async (t) => {
    const { client } = await scene(t, (request, stream) => stream.send(request.key, { status: Number(request.path.slice(1)) }))
    for (const status of [200, 202, 206, 301, 308, 400, 418, 451, 500, 599]) t.is((await client.fetch({ path: `/${status}` })).status, status)
  })

  test(`${name}: HEAD, 204 and 304 carry no body and keep the connection`, async (t) => {
    const { client } = await scene(t, (request, stream) => {
      if (request.method === 'HEAD') return stream.send(request.key, { body: 'twelve bytes' })
      return stream.send(request.key, { status: Number(request.path.slice(1)) })
    })
    const head = await client.fetch({ method: 'HEAD' })
    t.is(head.body.length, 0)
    t.is(head.headers['content-length'], '12')
    for (const status of [204, 304, 204]) {
      const reply = await client.fetch({ path: `/${status}` })
      t.is(reply.status, status)
      t.is(reply.body.length, 0)
      t.false('transfer-encoding' in reply.headers)
    }
  })

  const readers: Record<string, (request: IncomingRequest) => Promise<Uint8Array>> = {
    'nextChunk()': async ({ body }) => {
      const chunks: Uint8Array[] = []
      for (let chunk = await body!.nextChunk(); chunk !== null; chunk = await body!.nextChunk()) chunks.push(chunk)
      return Buffer.concat(chunks)
    },
    'for await': ({ body }) => drainBody(body!),
    'bytes()': ({ body }) => body!.bytes(),
    'text()': async ({ body }) => Buffer.from(await body!.text()),
    'toWeb()': async ({ body }) => new Uint8Array(await new Response(body!.toWeb()).arrayBuffer()),
    'toNode()': ({ body }) => drainBody(body!.toNode()),
    'a WHATWG Request': async (request) => new Uint8Array(await request.toWeb().arrayBuffer()),
  }
  for (const [way, read] of Object.entries(readers)) {
    test(`${name}: a request body is read by ${way}`, async (t) => {
      const { client } = await scene(t, async (request, stream) => stream.send(request.key, { body: await read(request) }))
      for (const size of [1, 1000, 100_000, 2_000_000]) {
        const body = 'x'.repeat(size - 1) + 'y'
        const reply = await client.fetch({ method: 'POST', body })
        t.true(reply.text === body, `${reply.body.length} of ${size} bytes came back`)
      }
    })
  }

  test(`${name}: a body has its length, and JSON`, async (t) => {
    const { client, listener } = await scene(t)
    const reply = client.fetch({ method: 'PUT', headers: { 'content-length': '13' }, body: '{"a":[1,"é"]}'.replace('é', 'e') })
    const request = await pull(listener)
    t.is(must(request.body).length, 13)
    t.deepEqual(await must(request.body).json(), { a: [1, 'e'] })
    await request.stream.send(request.key, {})
    await reply
  })

  test(`${name}: a WHATWG Request has it all`, async (t) => {
    const { client, listener } = await scene(t)
    const reply = client.fetch({ method: 'POST', path: '/x?y', headers: { 'x-a': 'b', host: 'example.test' }, body: 'the body' })
    const request = await pull(listener)
    const web = request.toWeb()
    t.is(web.method, 'POST')
    t.is(web.url, `${setup.scheme}://example.test/x?y`)
    t.is(web.headers.get('x-a'), 'b')
    t.is(await web.text(), 'the body')
    await request.stream.send(request.key, {})
    await reply
  })

  test(`${name}: trailers both ways`, async (t) => {
    const { client } = await scene(t, async (request, stream) => {
      const body = await must(request.body).text()
      const trailers = must(await must(request.body).trailers)
      await stream.send(request.key, {
        headers: { trailer: 'x-back, x-sum' },
        body: later([body]),
        trailers: async () => ({ 'x-back': must(trailers.get('x-there')), 'x-sum': String(body.length) }),
      })
    })
    const headers = { te: 'trailers', trailer: 'x-there' }
    const reply = await client.fetch({ method: 'POST', headers, body: 'with trailers', trailers: { 'x-there': 'T1' } })
    t.is(reply.text, 'with trailers')
    t.is(reply.trailers['x-back'], 'T1')
    t.is(reply.trailers['x-sum'], '13')
  })

  test(`${name}: a body without trailers says null`, async (t) => {
    const { client, listener } = await scene(t)
    const reply = client.fetch({ method: 'POST', body: 'x' })
    const request = await pull(listener)
    await must(request.body).bytes()
    t.is(await must(request.body).trailers, null)
    await request.stream.send(request.key, {})
    await reply
  })

  test(`${name}: early hints come before the answer`, async (t) => {
    const { client } = await scene(t, async (request, stream) => {
      await stream.inform(request.key, 103, { link: ['</a.css>; rel=preload', '</b.js>; rel=preload'] })
      await stream.inform(request.key, 103, { 'x-second': 'yes' })
      await stream.send(request.key, { body: 'final' })
    })
    for (let i = 0; i < 3; i++) {
      const reply = await client.fetch()
      t.is(reply.text, 'final')
      t.deepEqual(reply.informational.map(({ status }) => status), [103, 103])
      t.true(String(reply.informational[0]!.headers.link).includes('</b.js>; rel=preload'))
      t.is(reply.informational[1]!.headers['x-second'], 'yes')
    }
  })

  test(`${name}: sent says how much and when`, async (t) => {
    const before = performance.now()
    const [sent] = await one(t, { body: bytes })
    t.is(sent.bytes, bytes.length)
    t.true(before - 5 <= sent.receivedAt, `${before} before ${sent.receivedAt}`)
    t.true(sent.receivedAt <= sent.sentAt, `${sent.receivedAt} before ${sent.sentAt}`)
    t.true(sent.sentAt <= performance.now() + 5)
  })

  test(`${name}: a response is written piece by piece`, async (t) => {
    const { client, listener } = await scene(t)
    const replied = client.fetch({ headers: { te: 'trailers' } })
    const request = await pull(listener)
    const writer = request.stream.start(request.key, { status: 203, headers: { 'x-a': 'b', trailer: 'x-end' } })
    await writer.write('one ')
    await writer.flush()
    await writer.write(new Uint8Array([50, 32]))
    t.is((await writer.finish({ 'x-end': 'done' })).bytes, 6)
    const reply = await replied
    t.is(reply.status, 203)
    t.is(reply.headers['x-a'], 'b')
    t.is(reply.text, 'one 2 ')
    t.is(reply.trailers['x-end'], 'done')
  })

  test(`${name}: a chunk is on its way before the next one is written`, async (t) => {
    const { client, listener } = await scene(t)
    const exchange = client.open({})
    exchange.end()
    const request = await pull(listener)
    const writer = request.stream.start(request.key, {})
    const chunks = (async () => (await exchange.reply).body[Symbol.asyncIterator]())()
    for (const text of ['first', 'second', 'third']) {
      await writer.write(text)
      t.is(String((await (await chunks).next()).value), text)
    }
    await writer.finish()
    t.true((await (await chunks).next()).done)
  })

  test(`${name}: 300 requests at once, answered in any order, each gets its own`, async (t) => {
    const random = seeded(1)
    const { client } = await scene(t, async (request, stream) => {
      for (let turns = Math.floor(random() * 20); turns > 0; turns--) await setImmediate()
      await stream.send(request.key, { body: `for ${request.query}` })
    })
    const replies = await Promise.all(Array.from({ length: 300 }, (_, i) => client.fetch({ path: `/?${i}` })))
    t.deepEqual(replies.map(({ text }) => text), Array.from({ length: 300 }, (_, i) => `for ${i}`))
  })

  test(`${name}: a body that is not read does not keep the answer back`, async (t) => {
    const { client } = await scene(t, (request, stream) => stream.send(request.key, { status: 403, body: 'no' }))
    for (let i = 0; i < 5; i++) {
      const reply = await client.fetch({ method: 'POST', body: Buffer.alloc(50_000) })
      t.is(reply.status, 403)
      t.is(reply.text, 'no')
    }
  })

  test(`${name}: a client that leaves is told by the signal and by send`, async (t) => {
    const { client, listener } = await scene(t)
    const exchange = client.open({ path: '/gone' })
    exchange.end()
    const request = await pull(listener)
    const aborted = new Promise<void>((resolve) => request.signal.addEventListener('abort', () => resolve()))
    t.false(request.signal.aborted)
    exchange.abort()
    await aborted
    await rejected(t, request.stream.send(request.key, { body: 'too late' }), 'ERR_PEER_CLOSED', 'ERR_PEER_RESET')
    await t.throwsAsync(exchange.reply)
  })

  test(`${name}: an upload that breaks off fails its reader`, async (t) => {
    const { client, listener } = await scene(t)
    const exchange = client.open({ method: 'POST', headers: { 'content-length': '1000000' } })
    await exchange.write(Buffer.alloc(1000))
    const request = await pull(listener)
    const body = must(request.body)
    t.true(must(await body.nextChunk()).length > 0)
    exchange.abort()
    const error = await rejected(t, body.bytes(), 'ERR_PEER_CLOSED', 'ERR_PEER_RESET')
    t.is(error.side, 'peer')
  })

  test(`${name}: a response body that throws breaks the answer off, and send says so`, async (t) => {
    const { client, listener } = await scene(t)
    const exchange = client.open({})
    exchange.end()
    const request = await pull(listener)
    const broken = (async function* () {
      yield 'the first half'
      await exchange.reply
      throw new Error('the source is gone')
    })()
    const error = await t.throwsAsync(request.stream.send(request.key, { body: broken }))
    t.true(error instanceof PullError || /the source is gone/.test(String(error)), String(error))
    await t.throwsAsync(drainBody((await exchange.reply).body), undefined, 'the client must not take it for whole')
  })

  test(`${name}: a node:stream that fails while it is closed unread harms nobody`, async (t) => {
    const { client, listener } = await scene(t)
    const reply = client.fetch({ method: 'HEAD' })
    const { key, stream } = await pull(listener)
    const missing = () => {
      const body = createReadStream('/no/such/file')
      return { body, closed: new Promise<void>((resolve) => body.on('close', () => resolve())) }
    }
    const refused = missing()
    await rejected(t, stream.send(key, { status: 99, body: refused.body }), 'ERR_INVALID_STATUS')
    await refused.closed
    const unread = missing()
    await stream.send(key, { body: unread.body })
    await unread.closed
    t.is((await reply).status, 200)
  })

  test(`${name}: the body of an answer that comes when the client has left is closed`, async (t) => {
    const { client, listener } = await scene(t)
    const exchange = client.open({})
    exchange.end()
    exchange.reply.catch(() => {})
    const request = await pull(listener)
    const aborted = new Promise<void>((resolve) => request.signal.addEventListener('abort', () => resolve()))
    exchange.abort()
    await aborted
    const file = createReadStream('package.json')
    const closed = new Promise<void>((resolve) => file.on('close', () => resolve()))
    const web = new Promise<void>((cancel) => {
      void request.stream.send(request.key, new Response(new ReadableStream({ cancel: () => cancel() })))
    })
    await rejected(t, request.stream.send(request.key, { body: file }), 'ERR_PEER_CLOSED', 'ERR_PEER_RESET')
    await Promise.all([closed, web])
    t.true(file.destroyed)
  })

  test(`${name}: a drain lets what is in flight finish`, async (t) => {
    const { client, listener } = await scene(t)
    const reply = client.fetch({ path: '/in-flight' })
    const request = await pull(listener)
    const drained = listener.drain()
    t.is(await listener.nextConnection(), null)
    await request.stream.send(request.key, { body: 'still answered' })
    t.is((await reply).text, 'still answered')
    const report = await drained
    t.is(report.completed, 1)
    t.is(report.aborted, 0)
    t.true(report.elapsedMs >= 0)
  })
}

async function* later<T>(values: Iterable<T>): AsyncGenerator<T> {
  for (const value of values) {
    await setImmediate()
    yield value
  }
}
