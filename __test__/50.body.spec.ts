// Request bodies: pulled, limited, handed on; and what the client is told meanwhile.
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createReadStream, createWriteStream, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { gunzipSync } from 'node:zlib'
import test from 'ava'
import type { ExecutionContext } from 'ava'
import type { RequestBody } from '../index.js'
import { drainBody, h1Client, h2Client } from './_client.js'
import type { TestClient } from './_client.js'
import { portPrinted, program, tool } from './_process.js'
import { RawClient } from './_raw.js'
import { answer, asked, barrier, eventually, must, open, portOf, pull, rejected, soon, watch } from './_server.js'

const get = 'GET / HTTP/1.1\r\nhost: a\r\n\r\n'
const post = (headers: string) => `POST / HTTP/1.1\r\nhost: a\r\n${headers}\r\n`
const clients: Record<'h1' | 'h2', (port: number) => TestClient> = { h1: h1Client, h2: h2Client }
const megabytes100 = 100_000_000
/** Chunks that were read and not yet collected: V8 lets so much of them come together. */
const GARBAGE = Number(process.versions.node.split('.')[0]) < 24 ? 32 << 20 : 64 << 20

for (const protocol of ['h1', 'h2'] as const) {
  test(`${protocol}: an echo that cannot begin leaves the body whole`, async (t) => {
    const listener = await open(t)
    const client = clients[protocol](portOf(listener))
    t.teardown(() => client.close())
    const exchange = client.open({ method: 'POST' })
    const { body, key, stream } = await pull(listener)
    await rejected(t, stream.send(key, { headers: { 'no name': '' }, body }), 'ERR_INVALID_HEADER')
    await exchange.write('the body')
    exchange.end()
    await stream.send(key, { body })
    t.is(String(await drainBody((await exchange.reply).body)), 'the body')
  })

  test(`${protocol}: an echo streams`, async (t) => {
    const listener = await open(t)
    void answer(listener, (request, stream) => stream.send(request.key, { body: request.body }))
    const client = clients[protocol](portOf(listener))
    t.teardown(() => client.close())
    const exchange = client.open({ method: 'POST' })
    await exchange.write('ping 0')
    const { body } = await exchange.reply
    const chunks = body[Symbol.asyncIterator]()
    for (let i = 0; i < 20; i++) {
      t.is(String((await chunks.next()).value), `ping ${i}`)
      if (i < 19) await exchange.write(`ping ${i + 1}`)
    }
    exchange.end()
    t.true((await chunks.next()).done)
  })

  test(`${protocol}: an echo of 32 MB`, async (t) => {
    t.timeout(60_000)
    const listener = await open(t)
    void answer(listener, (request, stream) => stream.send(request.key, { body: request.body }))
    const client = clients[protocol](portOf(listener))
    t.teardown(() => client.close())
    const content = randomBytes(32 << 20)
    const { body } = await client.fetch({ method: 'POST', body: content })
    t.true(body.equals(content), `${body.length} bytes came back`)
  })

  test(`${protocol}: what is not pulled is not read`, async (t) => {
    const listener = await open(t, { limits: { bufferedBytes: 256 << 10 } })
    const client = clients[protocol](portOf(listener))
    t.teardown(() => client.close())
    const exchange = client.open({ method: 'POST' })
    const writing = exchange.write(Buffer.alloc(64 << 20))
    writing.catch(() => {})
    const request = await pull(listener)
    const held = watch(writing)
    await barrier(listener)
    const read = listener.stats().bytesRead
    t.true(read < 2 << 20, `${read} bytes were read although nobody asked`)
    let pulled = 0
    while (pulled < 8 << 20) pulled += must(await must(request.body).nextChunk()).length
    await barrier(listener)
    t.true(listener.stats().bytesRead < pulled + (2 << 20))
    t.false(held.settled)
    exchange.abort()
  })

  for (const read of ['bytes', 'text', 'json'] as const) {
    test(`${protocol}: ${read} has a limit of its own`, async (t) => {
      const listener = await open(t)
      const client = clients[protocol](portOf(listener))
      t.teardown(() => client.close())
      const reply = client.fetch({ method: 'POST', body: `"${'x'.repeat(98)}"` })
      const request = await pull(listener)
      await rejected(t, must(request.body)[read](99), 'ERR_BODY_TOO_LARGE')
      await request.stream.send(request.key, { status: 413 })
      t.is((await reply).status, 413)
    })
  }

  test(`${protocol}: two readers`, async (t) => {
    const listener = await open(t)
    const client = clients[protocol](portOf(listener))
    t.teardown(() => client.close())
    const reply = client.fetch({ method: 'POST', body: 'x'.repeat(200_000) })
    const request = await pull(listener)
    const body = must(request.body)
    const first = body.bytes()
    for (const second of [() => body.bytes(), () => body.text(), () => body.json(), () => body.nextChunk(), () => body.discard()]) {
      await rejected(t, second(), 'ERR_BODY_IN_USE')
    }
    t.is((await first).length, 200_000)
    await rejected(t, body.text(), 'ERR_BODY_IN_USE')
    await request.stream.send(request.key, {})
    await reply
  })

  test(`${protocol}: a chunk has memory of its own`, async (t) => {
    const listener = await open(t)
    const client = clients[protocol](portOf(listener))
    t.teardown(() => client.close())
    const reply = client.fetch({ method: 'POST', body: 'secret-free' })
    const request = await pull(listener)
    const bytes = await must(request.body).bytes()
    t.is(bytes.buffer.byteLength, bytes.length, 'its buffer shows nothing else')
    await request.stream.send(request.key, {})
    await reply
  })

  test.serial(`${protocol}: 100 MB go up with curl -T in flat memory`, async (t) => {
    t.timeout(120_000)
    const { port, file, sha256 } = await memoryScene(t)
    const before = await memory(port)
    const url = `http://127.0.0.1:${port}/upload`
    const flags = protocol === 'h2' ? ['--http2-prior-knowledge'] : []
    const { code, stdout, stderr } = await tool('curl', ['-sS', ...flags, '-T', file, url])
    t.is(code, 0, stderr)
    t.deepEqual(JSON.parse(stdout), { bytes: megabytes100, sha256 })
    const { most } = await memory(port)
    t.true(most - before.now < GARBAGE + (16 << 20), `grew by ${(most - before.now) >> 20} MiB`)
  })

  test.serial(`${protocol}: 100 MB come down at a limited rate in flat memory`, async (t) => {
    t.timeout(120_000)
    const { port, directory } = await memoryScene(t)
    const before = await memory(port)
    const url = `http://127.0.0.1:${port}/download?${megabytes100}`
    const out = join(directory, 'out')
    const flags = protocol === 'h2' ? ['--http2-prior-knowledge'] : []
    const { code, stderr } = await tool('curl', ['-sS', ...flags, '--limit-rate', '25M', '-o', out, url])
    t.is(code, 0, stderr)
    t.is(statSync(out).size, megabytes100)
    const { most } = await memory(port)
    t.true(most - before.now < 32 << 20, `grew by ${(most - before.now) >> 20} MiB`)
  })
}

test('what has come of a body is given without a crossing', async (t) => {
  const { listener, body } = await readAhead(t)
  await barrier(listener)
  const state = watch(body.nextChunk())
  await Promise.resolve()
  await Promise.resolve()
  await Promise.resolve()
  t.true(state.settled, 'without a turn of the event loop')
})

test('an answer ends the reading, also of what has come', async (t) => {
  const { request, body } = await readAhead(t)
  await request.stream.send(request.key, {})
  await rejected(t, body.nextChunk(), 'ERR_CLOSED')
  await rejected(t, body.bytes(), 'ERR_CLOSED')
})

/** A body that has come as a whole, of which one chunk has been pulled. */
async function readAhead(t: ExecutionContext, length = 300_000) {
  const listener = await open(t)
  const client = await RawClient.connect(portOf(listener))
  t.teardown(() => client.close())
  await client.write(post(`content-length: ${length}\r\n`) + 'x'.repeat(length))
  const request = await pull(listener)
  const body = must(request.body)
  must(await body.nextChunk())
  await eventually(listener, () => listener.stats().bytesRead > length)
  return { listener, client, request, body }
}

test('what came with the head is gone with the exchange too, unless it is the peer who left', async (t) => {
  const post = 'POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello'
  for (const read of [(body: RequestBody) => body.text(), (body: RequestBody) => body.nextChunk(), (body: RequestBody) => body.discard()]) {
    const { request } = await asked(t, post)
    await request.stream.send(request.key, {})
    await rejected(t, read(must(request.body)), 'ERR_CLOSED')
    const reset = (await asked(t, post)).request
    reset.stream.reset()
    await rejected(t, read(must(reset.body)), 'ERR_CLOSED')
  }
  const { client, request } = await asked(t, post)
  client.reset()
  await once(request.signal, 'abort')
  t.is(await must(request.body).text(), 'hello')
})

test('a peer that leaves when its body has been read is seen', async (t) => {
  const { request, body, client } = await readAhead(t, 100_000)
  await body.discard()
  client.socket.resetAndDestroy()
  await soon(() => request.signal.aborted)
  await rejected(t, request.stream.send(request.key, {}), 'ERR_PEER_RESET')
})

test('what came before a failure is given before it', async (t) => {
  const { listener, client, request } = await asked(t, post('transfer-encoding: chunked\r\n') + '3\r\nabc\r\n')
  const body = must(request.body)
  t.is(String(Buffer.from(must(await body.nextChunk()))), 'abc')
  await client.write('3\r\ndef\r\nrubbish\r\n')
  await barrier(listener)
  t.is(String(Buffer.from(must(await body.nextChunk()))), 'def')
  await rejected(t, body.nextChunk(), 'ERR_PROTOCOL')
  await rejected(t, body.trailers, 'ERR_PROTOCOL')
  await request.stream.send(request.key, { status: 400 }).catch(() => {})
})

test('discard reads what is left, and the connection is kept', async (t) => {
  const { client, request } = await asked(t, post('content-length: 300000\r\n') + 'x'.repeat(300_000) + get)
  must(await must(request.body).nextChunk())
  await must(request.body).discard()
  await request.stream.send(request.key, { body: 'first' })
  t.is((await client.response()).body.toString(), 'first')
  const next = must(await request.stream.nextRequest())
  await next.stream.send(next.key, { body: 'second' })
  t.is((await client.response()).body.toString(), 'second')
})

test('a limit that is none leaves the body to be read', async (t) => {
  const listener = await open(t)
  const client = await RawClient.connect(portOf(listener))
  await client.write(`${post('content-length: 8\r\n')}the body`)
  const body = must((await pull(listener)).body)
  for (const limit of [NaN, -1, '1k' as never, '5' as never, null as never]) {
    await rejected(t, body.text(limit), 'ERR_INVALID_OPTION')
    await rejected(t, body.discard(limit), 'ERR_INVALID_OPTION')
  }
  t.is(await body.text(), 'the body')
})

test('an early answer reaches a client that is still uploading', async (t) => {
  const { client, request } = await asked(t, post('content-length: 100000000\r\n') + 'x'.repeat(100_000))
  await request.stream.send(request.key, { status: 403, body: 'stop' })
  // The client goes on for a while, as clients do: a reset would destroy the answer before it is read.
  for (let i = 0; i < 20; i++) await client.write(Buffer.alloc(10_000)).catch(() => {})
  const response = await client.response()
  t.is(response.status, 403)
  t.is(response.get('connection'), 'close')
  t.is(response.body.toString(), 'stop')
})

for (const [what, bytes] of [
  ['a size that is no number', 'xyz\r\n'],
  ['a size too large', 'fffffffffffffffff\r\n'],
  ['a chunk without its line end', '2\r\nabc'],
] as const) {
  test(`a chunked body with ${what} is ERR_PROTOCOL, and the connection ends`, async (t) => {
    const { client, request } = await asked(t, post('transfer-encoding: chunked\r\n') + '3\r\nabc\r\n' + bytes)
    const error = await rejected(t, must(request.body).bytes(), 'ERR_PROTOCOL')
    t.is(error.side, 'peer')
    t.is(error.status, 400)
    await request.stream.send(request.key, { status: 400 }).catch(() => {})
    await client.ended
  })
}

test('a body that stops at FIN is ERR_PEER_CLOSED', async (t) => {
  const { client, request } = await asked(t, post('content-length: 10\r\n') + 'part')
  const bytes = must(request.body).bytes()
  client.finish()
  await rejected(t, bytes, 'ERR_PEER_CLOSED')
})

test('h2: bodies are read one after the other, however many wait unread', async (t) => {
  const listener = await open(t)
  const client = h2Client(portOf(listener))
  t.teardown(() => client.close())
  const replies = Promise.all(Array.from({ length: 60 }, () => client.fetch({ method: 'POST', body: Buffer.alloc(100_000) })))
  const connection = must(await listener.nextConnection())
  for (let answered = 0; answered < 60; answered++) {
    const stream = must(await connection.nextStream())
    const { key, body } = must(await stream.nextRequest())
    await stream.send(key, { body: `${(await must(body).bytes()).length}` })
  }
  t.deepEqual((await replies).map(({ text }) => text), Array(60).fill('100000'))
})

test('a loop that is left early leaves the rest, which can still be read', async (t) => {
  const listener = await open(t)
  for (const way of ['for await', 'toWeb', 'toNode'] as const) {
    const client = h1Client(portOf(listener))
    t.teardown(() => client.close())
    const reply = client.fetch({ method: 'POST', body: 'x'.repeat(300_000) })
    const request = await pull(listener)
    const body = must(request.body)
    let seen = 0
    if (way === 'toWeb') {
      const reader = body.toWeb().getReader()
      seen += must((await reader.read()).value).length
      await reader.cancel()
    } else {
      for await (const chunk of way === 'toNode' ? body.toNode() : body) {
        seen += (chunk as Uint8Array).length
        break
      }
    }
    t.true(seen > 0 && seen < 300_000)
    if (way === 'for await') t.is(seen + (await body.bytes()).length, 300_000)
    await request.stream.send(request.key, { body: 'done' })
    t.is((await reply).text, 'done', way)
  }
})

test('a chunk on its way to a stream that is left is the next reader\'s', async (t) => {
  const listener = await open(t)
  for (const way of ['toWeb', 'toNode'] as const) {
    const client = await RawClient.connect(portOf(listener))
    await client.write(post('content-length: 10\r\n'))
    const request = await pull(listener)
    const body = must(request.body)
    if (way === 'toWeb') {
      const reader = body.toWeb().getReader()
      void reader.read()
      await reader.cancel()
    } else {
      const readable = body.toNode()
      readable.read()
      readable.destroy()
    }
    await client.write('hello')
    await barrier(listener)
    const text = body.text()
    await client.write('world')
    t.is(await text, 'helloworld', way)
    await request.stream.send(request.key, {})
    client.socket.destroy()
  }
})

test('toNode without an error listener does not end the process when the peer leaves', async (t) => {
  const listener = await open(t)
  for (const listens of [false, true]) {
    const client = await RawClient.connect(portOf(listener))
    await client.write(post('content-length: 10\r\n') + 'part')
    const readable = must((await pull(listener)).body).toNode()
    const closed = new Promise((resolve) => readable.once('close', resolve))
    const failed = listens ? once(readable, 'error') : null
    await new Promise((resolve) => readable.once('data', resolve))
    client.reset()
    await closed
    if (failed !== null) t.is(((await failed)[0] as { code: string }).code, 'ERR_PEER_RESET')
  }
})

test('trailers are there when the last chunk has been taken', async (t) => {
  const listener = await open(t)
  for (const parts of [['3\r\nabc\r\n0\r\nx-t: 1\r\n\r\n'], ['3\r\nabc\r\n', '0\r\nx-t: 1\r\n\r\n']]) {
    const client = await RawClient.connect(portOf(listener))
    await client.write(post('transfer-encoding: chunked\r\n'))
    const request = await pull(listener)
    const body = must(request.body)
    const chunk = body.nextChunk()
    await client.write(parts[0]!)
    t.is(must(await chunk).length, 3)
    if (parts.length > 1) await client.write(parts[1]!)
    t.is(must(await body.trailers).get('x-t'), '1')
    t.is(await body.text(), '', 'the rest')
    await rejected(t, body.text(), 'ERR_BODY_IN_USE')
    await request.stream.send(request.key, {})
  }
})

test('after the only chunk the rest is empty, however the body came', async (t) => {
  const listener = await open(t)
  for (const parts of [['abc'], ['', 'abc']]) {
    const client = await RawClient.connect(portOf(listener))
    await client.write(post('content-length: 3\r\n') + parts[0])
    const request = await pull(listener)
    const body = must(request.body)
    if (parts.length > 1) await client.write(parts[1]!)
    for await (const chunk of body) {
      t.is(chunk.length, 3)
      break
    }
    t.is(await body.text(), '')
    await request.stream.send(request.key, {})
  }
})

test('a reader that was told of a failure has left: the next is told of the same', async (t) => {
  const listener = await open(t, { limits: { bodyBytes: 4 } })
  for (const way of ['for await', 'toWeb', 'toNode'] as const) {
    const client = await RawClient.connect(portOf(listener))
    await client.write(post('transfer-encoding: chunked\r\n') + '5\r\nabcde\r\n')
    const request = await pull(listener)
    const body = must(request.body)
    await rejected(t, drainBody(way === 'for await' ? body : body[way]()), 'ERR_BODY_TOO_LARGE')
    await rejected(t, body.text(), 'ERR_BODY_TOO_LARGE')
    await rejected(t, body.nextChunk(), 'ERR_BODY_TOO_LARGE')
    await request.stream.send(request.key, { status: 413 })
    t.is((await client.response()).status, 413, way)
  }
})

test('a toWeb that throws leaves the body', async (t) => {
  const { request } = await asked(t, 'TRACE / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc')
  t.throws(() => request.toWeb(), { instanceOf: TypeError })
  t.is(await must(request.body).text(), 'abc')
  await request.stream.send(request.key, {})
})

test('at its end a body stays at its end', async (t) => {
  const { request } = await asked(t, post('content-length: 3\r\n') + 'abc')
  const body = must(request.body)
  t.is(String(Buffer.from(must(await body.nextChunk()))), 'abc')
  t.is(await body.nextChunk(), null)
  t.is(await body.nextChunk(), null)
  await body.discard()
  await request.stream.send(request.key, {})
})

test('what is not JSON is ERR_PROTOCOL with status 400', async (t) => {
  const { request } = await asked(t, post('content-length: 3\r\n') + '{a}')
  const error = await rejected(t, must(request.body).json(), 'ERR_PROTOCOL')
  t.is(error.status, 400)
  t.true(error.cause instanceof SyntaxError)
  await request.stream.send(request.key, { status: 400 })
})

test('toNode goes into a file and toWeb through a transform', async (t) => {
  const listener = await open(t)
  const directory = mkdtempSync(join(tmpdir(), 'hyperpull-'))
  t.teardown(() => rmSync(directory, { recursive: true }))
  const client = h1Client(portOf(listener))
  t.teardown(() => client.close())
  const content = randomBytes(3_000_000)
  const file = join(directory, 'upload')
  void answer(listener, async (request, stream) => {
    const body = must(request.body)
    if (request.path === '/file') {
      await pipeline(body.toNode(), createWriteStream(file))
      await stream.send(request.key, { body: { file } })
    } else {
      await stream.send(request.key, { body: body.toWeb().pipeThrough(new CompressionStream('gzip') as unknown as TransformStream<Uint8Array, Uint8Array>) })
    }
  })
  t.true((await client.fetch({ method: 'PUT', path: '/file', body: content })).body.equals(content))
  const { body } = await client.fetch({ method: 'PUT', path: '/gzip', body: content })
  t.true(gunzipSync(body).equals(content))
})

test('a file goes up and down by stream, byte for byte', async (t) => {
  const { port, file, sha256 } = await memoryScene(t, 5_000_000)
  const response = await fetch(`http://127.0.0.1:${port}/`, { method: 'PUT', body: createReadStream(file) as never, duplex: 'half' } as RequestInit)
  t.deepEqual(await response.json(), { bytes: 5_000_000, sha256 })
})

async function memoryScene(t: ExecutionContext, size = megabytes100) {
  const directory = mkdtempSync(join(tmpdir(), 'hyperpull-'))
  t.teardown(() => rmSync(directory, { recursive: true }))
  const content = Buffer.alloc(size, randomBytes(1_000_003))
  const file = join(directory, 'content')
  writeFileSync(file, content)
  const port = await portPrinted(program(t, '__test__/_memory-server.ts'))
  // What a first exchange costs is not growth.
  await fetch(`http://127.0.0.1:${port}/`, { method: 'PUT', body: content.subarray(0, 2_000_000) })
  await (await fetch(`http://127.0.0.1:${port}/download?2000000`)).arrayBuffer()
  return { port, file, directory, sha256: createHash('sha256').update(content).digest('hex') }
}

async function memory(port: number): Promise<{ now: number; most: number }> {
  return (await (await fetch(`http://127.0.0.1:${port}/memory`)).json()) as { now: number; most: number }
}
