// send: what is on the wire, when it resolves, and what becomes of it when the client does not read or goes.
import { once } from 'node:events'
import http2 from 'node:http2'
import { setImmediate } from 'node:timers/promises'
import test from 'ava'
import type { ExecutionContext } from 'ava'
import type { IncomingRequest, Listener, OutgoingResponse, ResponseWriter } from '../index.js'
import { h1Client, h2Client } from './_client.js'
import { RawClient } from './_raw.js'
import { asked, barrier, eventually, must, open, portOf, pull, rejected, watch, wire } from './_server.js'

const get = 'GET / HTTP/1.1\r\nhost: a\r\n\r\n'
const large = Buffer.alloc(64 << 20, 'hyperpull ')

test('a body of known length has a content-length and no transfer-encoding', async (t) => {
  for (const body of ['four', new Uint8Array(4), new ArrayBuffer(4), new Blob(['four'])]) {
    const { answer } = await wire(t, { body })
    t.is(answer.version, '1.1')
    t.is(answer.get('content-length'), '4')
    t.is(answer.get('transfer-encoding'), undefined)
  }
})

test('no body is a content-length of 0', async (t) => {
  const { answer } = await wire(t, {})
  t.is(answer.get('content-length'), '0')
  t.truthy(answer.get('date'))
})

test('HEAD: no body says nothing of the length that a GET would tell', async (t) => {
  const head = get.replace('GET', 'HEAD')
  t.is((await wire(t, {}, head)).answer.get('content-length'), undefined)
  t.is((await wire(t, { body: 'four' }, head)).answer.get('content-length'), '4')
  t.is((await wire(t, { headers: { 'content-length': 7 } }, head)).answer.get('content-length'), '7')
})

test('a body of unknown length is chunked', async (t) => {
  const { answer } = await wire(t, { body: ['a', 'b'].values() })
  t.is(answer.get('transfer-encoding'), 'chunked')
  t.is(answer.get('content-length'), undefined)
  t.is(answer.body.toString(), 'ab')
})

test('a body of unknown length with a content-length of the caller is not chunked', async (t) => {
  const { answer, sent } = await wire(t, { headers: { 'content-length': 2 }, body: ['a', 'b'].values() })
  t.is(answer.get('transfer-encoding'), undefined)
  t.is(answer.get('content-length'), '2')
  t.is(sent.bytes, 2)
})

test('a body of unknown length for HTTP/1.0 ends with the connection', async (t) => {
  const { answer, client } = await wire(t, { body: ['a', 'b'].values() }, 'GET / HTTP/1.0\r\nhost: a\r\n\r\n')
  t.is(answer.get('transfer-encoding'), undefined)
  t.is(answer.body.toString(), 'ab')
  t.is(await client.ended, 'end')
})

test('HTTP/1.0: an answer that is cut short ends with a reset, not as if it were whole', async (t) => {
  const cuts: ((request: IncomingRequest, writer: ResponseWriter) => unknown)[] = [
    (_, writer) => writer.abort(),
    ({ stream }) => stream.reset(),
    ({ stream }) => stream.connection.close(),
  ]
  for (const cut of cuts) {
    const { client, request } = await asked(t, 'GET / HTTP/1.0\r\n\r\n')
    const writer = request.stream.start(request.key, {})
    await writer.write('part')
    await client.until('part')
    cut(request, writer)
    t.is(await client.ended, 'reset')
  }
  // What is whole is closed as ever.
  const { client, request } = await asked(t, 'GET / HTTP/1.0\r\n\r\n')
  const writer = request.stream.start(request.key, {})
  await writer.write('all')
  await writer.finish()
  t.true((await client.rest()).endsWith('\r\n\r\nall'))
  t.is(await client.ended, 'end')
})

test('the date of the caller is kept', async (t) => {
  const date = 'Sun, 06 Nov 1994 08:49:37 GMT'
  const { answer } = await wire(t, { headers: { date } })
  t.deepEqual(answer.headers.filter(([name]) => name.toLowerCase() === 'date').map(([, value]) => value), [date])
})

for (const kind of ['a Uint8Array', 'a ReadableStream'] as const) {
  const make = () => (kind === 'a Uint8Array' ? large : new Blob([large]).stream())

  test.serial(`h1: send of 64 MB as ${kind} waits for a client that does not read`, async (t) => {
    t.timeout(120_000)
    const { listener, client, request } = await asked(t, get)
    client.socket.pause()
    const sending = request.stream.send(request.key, { body: make() })
    const state = watch(sending)
    await stalled(t, listener)
    t.false(state.settled, 'still pending')
    let received = 0
    client.socket.removeAllListeners('data').on('data', (chunk) => {
      if (received === 0) t.false(state.settled, 'resolved before the client has read')
      received += chunk.length
    })
    client.socket.resume()
    const sent = await sending
    t.is(sent.bytes, large.length)
    t.true(sent.sentAt >= sent.receivedAt)
    request.stream.connection.close()
    await client.ended
    t.true(received > large.length)
  })

  test.serial(`h1: send of 64 MB as ${kind} rejects when the client goes`, async (t) => {
    const { listener, client, request } = await asked(t, get)
    client.socket.pause()
    const sending = request.stream.send(request.key, { body: make() })
    const state = watch(sending)
    await stalled(t, listener)
    t.false(state.settled, 'still pending')
    client.reset()
    const error = await rejected(t, sending, 'ERR_PEER_CLOSED', 'ERR_PEER_RESET')
    t.is(error.side, 'peer')
    t.is(listener.stats().responsesFailed, 1)
  })

  test.serial(`h2: send of 64 MB as ${kind} waits for a client that does not read`, async (t) => {
    t.timeout(120_000)
    const { listener, stream, sending, state, before } = await h2Stalled(t, make())
    t.false(state.settled, 'still pending')
    let received = 0
    stream.on('data', (chunk: Buffer) => {
      received += chunk.length
    })
    await once(stream, 'end')
    t.is(received, large.length)
    t.is((await sending).bytes, large.length)
    t.is(listener.stats().responsesSent, before + 1)
  })

  test.serial(`h2: send of 64 MB as ${kind} rejects when the client resets or goes`, async (t) => {
    const reset = await h2Stalled(t, make())
    t.false(reset.state.settled)
    reset.stream.close(http2.constants.NGHTTP2_CANCEL)
    await rejected(t, reset.sending, 'ERR_PEER_RESET')
    const gone = await h2Stalled(t, make())
    gone.session.destroy()
    await rejected(t, gone.sending, 'ERR_PEER_CLOSED', 'ERR_PEER_RESET')
  })
}

test('a buffer that fits limits.pendingWriteBytes has been copied when the turn ends', async (t) => {
  const listener = await open(t)
  for (const size of [10, 100_000, 1 << 20]) {
    const client = await RawClient.connect(portOf(listener))
    await client.write(get)
    const request = await pull(listener)
    const body = new Uint8Array(size).fill(1)
    const sending = request.stream.send(request.key, { body })
    await setImmediate() // the turn has ended: the bytes have been handed over
    body.fill(2)
    structuredClone(body.buffer, { transfer: [body.buffer] }) // and the memory is gone
    t.true((await client.response()).body.every((byte) => byte === 1), `${size} bytes`)
    await sending
    client.close()
  }
})

for (const protocol of ['h1', 'h2'] as const) {
  test(`${protocol}: a buffer that travels apart has been copied when send returns`, async (t) => {
    const listener = await open(t)
    const client = protocol === 'h1' ? h1Client(portOf(listener)) : h2Client(portOf(listener))
    t.teardown(() => client.close())
    const reply = client.fetch({ path: '/' })
    const { stream, key } = await pull(listener)
    const body = new Uint8Array(20_000).fill('a'.charCodeAt(0))
    const sending = stream.send(key, { body })
    structuredClone(body.buffer, { transfer: [body.buffer] })
    t.is((await reply).text, 'a'.repeat(20_000))
    t.is((await sending).bytes, 20_000)
  })

  test(`${protocol}: a long text is sent in pieces, and no character is torn apart`, async (t) => {
    const listener = await open(t)
    const client = protocol === 'h1' ? h1Client(portOf(listener)) : h2Client(portOf(listener))
    t.teardown(() => client.close())
    // Two UTF-16 code units each after the first, so that every cut would fall into one.
    const text = 'x' + '\u{1f600}'.repeat(600_000)
    const reply = client.fetch()
    const request = await pull(listener)
    const sent = await request.stream.send(request.key, { body: text })
    t.is(sent.bytes, 2_400_001)
    t.is((await reply).headers['content-length'], '2400001')
    t.true((await reply).text === text)
  })

  for (const trailers of [undefined, { 'x-t': '1' }]) {
    test(`${protocol}: a long buffer that is detached breaks the answer off${trailers === undefined ? '' : ', trailers or not'}`, async (t) => {
      const listener = await open(t)
      const client = protocol === 'h1' ? h1Client(portOf(listener)) : h2Client(portOf(listener))
      t.teardown(() => client.close())
      const reply = client.fetch()
      reply.catch(() => {})
      const request = await pull(listener)
      const body = new Uint8Array(large.length).fill(1)
      const sending = request.stream.send(request.key, { body, trailers })
      await setImmediate()
      structuredClone(body.buffer, { transfer: [body.buffer] })
      await rejected(t, sending, 'ERR_BODY_LENGTH_MISMATCH')
      await t.throwsAsync(reply, undefined, 'the client does not take it for whole')
    })
  }

  test(`${protocol}: a detached chunk breaks the answer off`, async (t) => {
    const listener = await open(t)
    const client = protocol === 'h1' ? h1Client(portOf(listener)) : h2Client(portOf(listener))
    t.teardown(() => client.close())
    const reply = client.fetch()
    reply.catch(() => {})
    const { stream, key } = await pull(listener)
    const chunk = new Uint8Array(8)
    structuredClone(chunk.buffer, { transfer: [chunk.buffer] })
    await rejected(t, stream.send(key, { body: ['begin', chunk] }), 'ERR_BODY_LENGTH_MISMATCH')
    await t.throwsAsync(reply, undefined, 'the client does not take it for whole')
  })
}

for (const body of ['whole', ['in ', 'pieces']]) {
  test(`the getters of a response are read once each: ${typeof body === 'string' ? 'a text' : 'a source'}`, async (t) => {
    const { client, request } = await asked(t, get.replace('\r\n\r\n', '\r\nte: trailers\r\n\r\n'))
    const reads: string[] = []
    const read = <T>(name: string, value: T): T => {
      reads.push(name)
      return value
    }
    class Response {
      get status() {
        return read('status', 201)
      }
      get headers() {
        return read('headers', { 'x-a': 'b' })
      }
      get body() {
        return read('body', body)
      }
      get trailers() {
        return read('trailers', typeof body === 'string' ? undefined : { 'x-t': 'c' })
      }
    }
    await request.stream.send(request.key, new Response())
    const { status, get: field, body: bytes, trailers } = await client.response()
    t.deepEqual([status, field('x-a'), bytes.toString()], [201, 'b', [body].flat().join('')])
    t.deepEqual(trailers, typeof body === 'string' ? [] : [['x-t', 'c']])
    t.deepEqual(reads.sort(), ['body', 'headers', 'status', 'trailers'])
  })
}

test('a getter that throws is a rejection, and the key still good', async (t) => {
  const { client, request } = await asked(t, get)
  for (const name of ['status', 'headers', 'body', 'trailers']) {
    const response = { body: ['x'] }
    Object.defineProperty(response, name, {
      get() {
        throw new Error(`by ${name}`)
      },
    })
    await t.throwsAsync(request.stream.send(request.key, response), { message: `by ${name}` })
  }
  await request.stream.send(request.key, { body: 'the answer' })
  t.is((await client.response()).body.toString(), 'the answer')
})

for (const how of ['send', 'start', 'upgrade'] as const) {
  test(`a getter that answers has used the key of the ${how} that reads it`, async (t) => {
    const { client, request } = await asked(t, get.replace('\r\n\r\n', '\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n'))
    const { stream, key } = request
    let sent: Promise<unknown> | null = null
    const head = {
      get status() {
        sent ??= stream.send(key, { body: 'by the getter' })
        return undefined
      },
    }
    await rejected(t, (async () => await stream[how](key, head))(), 'ERR_KEY_USED')
    await sent
    t.is((await client.response()).body.toString(), 'by the getter')
  })
}

test('the client has all of it when send resolves and both ends go at once', async (t) => {
  const { client, request } = await asked(t, get)
  await request.stream.send(request.key, { body: 'x'.repeat(100_000) })
  request.stream.connection.close()
  t.is((await client.response()).body.length, 100_000)
})

/** Waits until the kernel's buffers are full: three barriers in a row write what a barrier writes, and nothing else is written. */
async function stalled(t: ExecutionContext, listener: Listener) {
  await eventually(listener, () => listener.stats().bytesWritten > 64 << 10)
  const written = [Number.NaN, Number.NaN, Number.NaN]
  do {
    const before = listener.stats().bytesWritten
    await barrier(listener, 1)
    written.push(listener.stats().bytesWritten - before)
    written.shift()
  } while (!written.every((bytes) => bytes === written[0] && bytes < 1000))
  t.true(listener.stats().bytesWritten < large.length, 'the kernel has not taken it all')
}

async function h2Stalled(t: ExecutionContext, body: NonNullable<OutgoingResponse['body']>) {
  const listener = await open(t)
  const session = http2.connect(`http://127.0.0.1:${portOf(listener)}`)
  session.on('error', () => {})
  t.teardown(() => session.destroy())
  const stream = session.request({})
  stream.on('error', () => {})
  const request = await pull(listener)
  const sending = request.stream.send(request.key, { body })
  const state = watch(sending)
  await once(stream, 'response')
  // Other streams of the same connection pass while this one is stuck.
  for (let i = 0; i < 3; i++) {
    const ended = once(session.request({}).resume(), 'end')
    const next = must(await must(await request.stream.connection.nextStream()).nextRequest())
    await next.stream.send(next.key, {})
    await ended
  }
  return { listener, session, stream, sending, state, before: listener.stats().responsesSent }
}
