// The tunnel of a stream that has left HTTP: bytes both ways, and how either half ends.
import { AsyncLocalStorage } from 'node:async_hooks'
import { once } from 'node:events'
import { readSync, writeSync } from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import test from 'ava'
import type { PullError, UpgradedStream } from '../index.js'
import * as h2 from './_frames.js'
import { FrameClient } from './_frames.js'
import { RawClient } from './_raw.js'
import { asked, barrier, must, open, portOf, pull, soon, watch } from './_server.js'

const upgrade = (early = '') => `GET /chat HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: Echo/1\r\n\r\n${early}`

const descriptor = (client: RawClient): number => (client.socket as unknown as { _handle: { fd: number } })._handle.fd

/** What the server says next, though this thread does nothing else meanwhile. */
function heard(client: RawClient): string {
  const bytes = Buffer.alloc(1000)
  for (;;) {
    try {
      return bytes.toString('latin1', 0, readSync(descriptor(client), bytes))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error
    }
  }
}

/** Ends the tunnel, and reads on. How many bytes have come by the end. */
async function received(client: RawClient, tunnel: UpgradedStream): Promise<number> {
  let bytes = 0
  client.socket.removeAllListeners('data').on('data', (data) => {
    bytes += data.length
  })
  client.socket.resume()
  tunnel.end()
  await client.ended
  return bytes
}

test('h1: a tunnel passes 16 MB back under back-pressure', async (t) => {
  t.timeout(60_000)
  const { listener, client, request } = await asked(t, upgrade(), {}, true)
  const tunnel = await request.stream.upgrade(request.key)
  await client.response()
  client.socket.pause()
  const chunk = Buffer.alloc(64 << 10, 'tunnel')
  let written = 1
  for (; tunnel.write(chunk); written++) t.true(written < 1000, 'write says when it is enough')
  let callbacks = 0
  for (; written < 256; written++) tunnel.write(chunk, () => callbacks++)
  await barrier(listener)
  t.true(callbacks < 200, 'nobody reads')
  t.is(await received(client, tunnel), 256 * chunk.length)
})

test('h1: what comes over a tunnel and is not read is not taken', async (t) => {
  const { listener, client, request } = await asked(t, upgrade(), {}, true)
  const tunnel = await request.stream.upgrade(request.key)
  await client.response()
  const writing = watch(client.write(Buffer.alloc(64 << 20)))
  await barrier(listener)
  await barrier(listener)
  t.true(listener.stats().bytesRead < 4 << 20, `${listener.stats().bytesRead} bytes were read`)
  t.false(writing.settled)
  let received = 0
  for await (const data of tunnel) {
    received += (data as Buffer).length
    if (received === 64 << 20) break
  }
  t.is(received, 64 << 20)
})

test('h1: a tunnel that is paused brings what is there already, and little more', async (t) => {
  const { listener, client, request } = await asked(t, upgrade(), {}, true)
  const tunnel = await request.stream.upgrade(request.key)
  await client.response()
  const total = 8 << 20
  const writing = client.write(Buffer.alloc(total))
  let received = 0
  tunnel.on('data', (data: Buffer) => {
    if (received === 0) tunnel.pause()
    received += data.length
  })
  await once(tunnel, 'pause')
  await barrier(listener)
  t.true(tunnel.bytesRead <= 256 << 10, `${tunnel.bytesRead} bytes were brought`)
  t.is(tunnel.bytesRead, received + tunnel.readableLength)
  tunnel.resume()
  while (received < total) await once(tunnel, 'data')
  await writing
  t.is(tunnel.bytesRead, total)
})

test('h1: what is written to a tunnel while it is corked goes out in order, small and large', async (t) => {
  const { client, request } = await asked(t, upgrade(), {}, true)
  const tunnel = await request.stream.upgrade(request.key)
  await client.response()
  for (const large of [10, 100_000]) {
    const before = tunnel.bytesWritten
    tunnel.cork()
    const written = ['one,', Buffer.from('two,'), Buffer.alloc(0), 'ü'.repeat(large), ';'].map(
      (chunk) => new Promise<void>((resolve, reject) => tunnel.write(chunk, (error) => (error ? reject(error) : resolve()))),
    )
    tunnel.uncork()
    const expected = Buffer.from(`one,two,${'ü'.repeat(large)};`)
    t.is(Buffer.from(await client.until(';'), 'latin1').toString(), expected.toString())
    await Promise.all(written)
    t.is(tunnel.bytesWritten - before, expected.length)
  }
})

test('bytes that were detached while a tunnel was corked are told to the writes, and nothing of these goes out', async (t) => {
  const { client, request } = await asked(t, upgrade(), {}, true)
  const tunnel = await request.stream.upgrade(request.key)
  await client.response()
  const lost = Buffer.from(new ArrayBuffer(10))
  const failed = once(tunnel, 'error') as Promise<[PullError]>
  tunnel.cork()
  const told = Promise.all(['before', lost, 'behind'].map((chunk) => new Promise((resolve) => tunnel.write(chunk, resolve))))
  structuredClone(lost.buffer, { transfer: [lost.buffer] })
  t.notThrows(() => tunnel.uncork())
  t.is((await failed)[0].code, 'ERR_BODY_LENGTH_MISMATCH')
  for (const error of await told) t.is((error as PullError).code, 'ERR_BODY_LENGTH_MISMATCH')
  await client.ended
  t.is(client.pending, '')
})

test('what is written to a tunnel while it is corked waits for the peer to read it, whatever comes last', async (t) => {
  const { listener, client, request } = await asked(t, upgrade(), {}, true)
  const tunnel = await request.stream.upgrade(request.key)
  await client.response()
  client.socket.pause()
  let written = 0
  const chunk = Buffer.alloc(8 << 20)
  for (let i = 0; i < 8; i++) {
    tunnel.cork()
    tunnel.write(chunk, () => written++)
    tunnel.write(Buffer.alloc(0))
    tunnel.uncork()
  }
  await barrier(listener)
  t.true(written < 8, 'nobody reads')
  t.is(await received(client, tunnel), 8 * chunk.length)
})

test('large chunks of which one was detached while a tunnel was corked are refused together', async (t) => {
  const { request } = await asked(t, upgrade(), {}, true)
  const tunnel = await request.stream.upgrade(request.key)
  const failed = once(tunnel, 'error')
  const lost = new Uint8Array(10)
  tunnel.cork()
  const outcomes = [new Uint8Array(20_000), lost, new Uint8Array(6)].map((chunk) => new Promise((resolve) => tunnel.write(chunk, resolve)))
  structuredClone(null, { transfer: [lost.buffer] })
  tunnel.uncork()
  for (const error of await Promise.all(outcomes)) t.is((error as PullError).code, 'ERR_BODY_LENGTH_MISMATCH')
  t.is(((await failed)[0] as PullError).code, 'ERR_BODY_LENGTH_MISMATCH')
})

test('what a tunnel brings is told in the context (AsyncLocalStorage) of who reads it', async (t) => {
  const storage = new AsyncLocalStorage<string>()
  const { client, request } = await asked(t, upgrade(), {}, true)
  const tunnel = await request.stream.upgrade(request.key)
  const seen: Array<string | undefined> = []
  storage.run('reader', () => tunnel.on('data', () => seen.push(storage.getStore())).on('end', () => seen.push(storage.getStore())))
  for (let i = 0; i < 3; i++) {
    const data = once(tunnel, 'data')
    await client.write('x')
    await data
  }
  client.finish()
  await once(tunnel, 'end')
  t.deepEqual(seen, Array(4).fill('reader'))
})

test('h1: half-close works in both directions', async (t) => {
  const { client, request } = await asked(t, upgrade(), {}, true)
  const tunnel = await request.stream.upgrade(request.key)
  await client.response()
  tunnel.end('server is done')
  t.is(await client.rest(), 'server is done')
  await client.write('client goes on')
  client.finish()
  let text = ''
  for await (const chunk of tunnel) text += chunk
  t.is(text, 'client goes on')
})

test('h1: a peer that resets is told as an error', async (t) => {
  const { client, request } = await asked(t, upgrade(), {}, true)
  const tunnel = await request.stream.upgrade(request.key)
  const closed = new Promise((resolve) => tunnel.once('close', resolve))
  const errors: Error[] = []
  tunnel.on('error', (error) => errors.push(error))
  tunnel.resume()
  client.reset()
  await closed
  t.true(['ERR_PEER_RESET', 'ERR_PEER_CLOSED'].includes(String((errors[0] as { code?: string } | undefined)?.code)), String(errors[0]))
})

test('h1: a peer that has reset before anybody has its tunnel is told as an error to whoever takes that', async (t) => {
  const { listener, client, request } = await asked(t, upgrade(), { ioThreads: 1 })
  const others = [await RawClient.connect(portOf(listener)), await RawClient.connect(portOf(listener))]
  await setImmediate()
  const told = request.stream.upgrade(request.key).then((tunnel) => once(tunnel, 'error'))
  // Behind the tick that hands the answer over. Until it returns nobody here is told anything.
  process.nextTick(() => {
    t.regex(heard(client), /^HTTP\/1.1 101/)
    client.reset()
    // What the I/O thread answers by itself says that it has been round since.
    for (const other of others) {
      writeSync(descriptor(other), 'rubbish\r\n\r\n')
      t.regex(heard(other), /^HTTP\/1.1 400/)
    }
  })
  const [error] = await told
  t.true(['ERR_PEER_RESET', 'ERR_PEER_CLOSED'].includes((error as PullError).code), String(error))
})

test('a peer that resets a tunnel that nobody listens to closes it, and no more', async (t) => {
  const { client, request } = await asked(t, upgrade(), {}, true)
  const tunnel = await request.stream.upgrade(request.key)
  const closed = new Promise((resolve) => tunnel.once('close', resolve))
  client.reset()
  await closed
  t.true(tunnel.destroyed)
  t.is(tunnel.errored, null)
})

test('h1: a tunnel that is reset behind its outgoing half has succeeded', async (t) => {
  const { listener, client, request } = await asked(t, upgrade(), {}, true)
  const { signal } = request
  const tunnel = await request.stream.upgrade(request.key)
  tunnel.end()
  await once(tunnel, 'finish')
  await client.rest()
  const drained = listener.drain()
  const failed = once(tunnel, 'error')
  client.reset()
  await failed
  t.like(await drained, { completed: 1, aborted: 0 })
  t.false(signal.aborted)
})

test('h1: what is written to a tunnel that is then destroyed goes out, as from a net.Socket', async (t) => {
  const { client, request } = await asked(t, upgrade(), {}, true)
  const tunnel = await request.stream.upgrade(request.key)
  await client.response()
  tunnel.write('no, thank you')
  tunnel.destroy()
  t.is(await client.rest(), 'no, thank you')
})

test('h1: a tunnel that is reset behind its outgoing half counts once', async (t) => {
  const { listener, client, request } = await asked(t, upgrade(), {}, true)
  const tunnel = await request.stream.upgrade(request.key)
  tunnel.end()
  await client.ended
  const failed = once(tunnel, 'error')
  client.reset()
  const [error] = await failed
  t.true(['ERR_PEER_RESET', 'ERR_PEER_CLOSED'].includes((error as PullError).code), String(error))
  t.like(listener.stats(), { requestsTotal: 1, requestsInFlight: 0, responsesSent: 1, responsesFailed: 0 })
})

test('h1: destroy ends the tunnel for the peer', async (t) => {
  const { client, request } = await asked(t, upgrade(), {}, true)
  const tunnel = await request.stream.upgrade(request.key)
  await client.response()
  tunnel.destroy()
  await client.ended
  t.pass()
})

for (const how of ['connection.close', 'listener.close', 'stream.reset'] as const) {
  test(`a tunnel with bytes to send is closed by ${how} without an error: that is told to the writes`, async (t) => {
    for (const protocol of ['h1', 'h2'] as const) {
      const listener = await open(t)
      const client = protocol === 'h1' ? await RawClient.connect(portOf(listener)) : await FrameClient.connect(portOf(listener))
      t.teardown(() => client.close())
      client.socket.pause()
      const connect = Buffer.concat([h2.field(':method', 'CONNECT'), h2.field(':authority', 'a:1')])
      await client.write(protocol === 'h1' ? upgrade() : h2.frame(h2.HEADERS, h2.END_HEADERS, 1, connect))
      const { stream, key } = await pull(listener)
      const tunnel = await stream.upgrade(key)
      const errors: Error[] = []
      tunnel.on('error', (error) => errors.push(error))
      const closed = new Promise((resolve) => tunnel.once('close', resolve))
      // More than the kernel takes: the first waits for the peer, the second behind it.
      const writes = [16 << 20, 1].map((size) => new Promise((resolve) => tunnel.write(Buffer.alloc(size), resolve)))
      if (how === 'connection.close') stream.connection.close()
      if (how === 'listener.close') void listener.close()
      if (how === 'stream.reset') stream.reset()
      await closed
      t.deepEqual(errors, [], protocol)
      t.is(((await writes[0]) as PullError).code, 'ERR_CLOSED')
      t.true((await writes[1]) instanceof Error)
    }
  })
}

test('h2: a tunnel whose end waits for the peer is closed without an error', async (t) => {
  const listener = await open(t)
  const client = await FrameClient.connect(portOf(listener))
  t.teardown(() => client.close())
  await client.write(h2.frame(h2.HEADERS, h2.END_HEADERS, 1, Buffer.concat([h2.field(':method', 'CONNECT'), h2.field(':authority', 'a:1')])))
  const { stream, key } = await pull(listener)
  const tunnel = await stream.upgrade(key)
  const errors: Error[] = []
  tunnel.on('error', (error) => errors.push(error))
  const closed = new Promise((resolve) => tunnel.once('close', resolve))
  // More than the window, and less than makes a write wait.
  await new Promise((resolve) => tunnel.write(Buffer.alloc(100_000), resolve))
  const ended = new Promise((resolve) => tunnel.end(resolve))
  stream.connection.close()
  await closed
  t.deepEqual(errors, [])
  t.is(((await ended) as PullError).code, 'ERR_CLOSED')
})

test('a timeout of a tunnel that is too long for a timer does not come at once', async (t) => {
  const timeouts: number[] = []
  const passed: Promise<unknown>[] = []
  // In the order in which they are due.
  for (const milliseconds of [2 ** 31, Infinity, 3]) {
    const { request } = await asked(t, upgrade())
    const tunnel = await request.stream.upgrade(request.key)
    t.teardown(() => tunnel.destroy())
    passed.push(once(tunnel, 'timeout').then(() => timeouts.push(milliseconds)))
    tunnel.setTimeout(milliseconds)
  }
  await Promise.race(passed)
  t.deepEqual(timeouts, [3])
})

test('the timeout of a tunnel counts from what the peer has taken, too, and ends with the tunnel', async (t) => {
  const { client, request } = await asked(t, upgrade(), {}, true)
  const tunnel = await request.stream.upgrade(request.key)
  await client.response()
  client.socket.pause()
  tunnel.setTimeout(1e6)
  let refreshed = 0
  const { idle } = tunnel as unknown as { idle: NodeJS.Timeout }
  idle.refresh = () => (refreshed++, idle)
  await new Promise((resolve) => {
    tunnel.write(Buffer.alloc(16 << 20), resolve)
    t.is(refreshed, 1)
    client.socket.removeAllListeners('data').resume()
  })
  t.true(refreshed > 1)
  tunnel.destroy()
  tunnel.setTimeout(1, () => t.fail('it was destroyed'))
  t.is(tunnel.listenerCount('timeout'), 0)
})

test('a tunnel has no place at limits.requestsInFlight: it is answered', async (t) => {
  const listener = await open(t, { limits: { requestsInFlight: 1 } })
  const client = await FrameClient.connect(portOf(listener))
  t.teardown(() => client.close())
  const connect = Buffer.concat([h2.field(':method', 'CONNECT'), h2.field(':authority', 'a:1')])
  await client.write(h2.frame(h2.HEADERS, h2.END_HEADERS, 1, connect), h2.frame(h2.HEADERS, h2.END_HEADERS, 3, connect), h2.get(5, '/'))
  const connection = must(await listener.nextConnection())
  const next = async () => must(await must(await connection.nextStream()).nextRequest())
  const [first, second] = [await next(), next()]
  const tunnel = await first.stream.upgrade(first.key)
  await (await second).stream.upgrade((await second).key)
  const last = await next()
  const waiting = watch(connection.nextStream())
  await client.write(h2.get(7, '/'))
  tunnel.destroy()
  await client.end(1)
  t.false(waiting.settled, 'that a tunnel is over gives no place back a second time')
  await last.stream.send(last.key, {})
  await soon(() => waiting.settled)
})

test('h2: a tunnel that is reset behind its outgoing half counts once, and gives back no place but its own', async (t) => {
  const listener = await open(t)
  const client = await FrameClient.connect(portOf(listener))
  t.teardown(() => client.close())
  const connect = [h2.field(':method', 'CONNECT'), h2.field(':authority', 'a:1')]
  await client.write(h2.frame(h2.HEADERS, h2.END_HEADERS, 1, Buffer.concat(connect)), h2.get(3, '/'))
  const connection = must(await listener.nextConnection())
  const { stream, key } = must(await must(await connection.nextStream()).nextRequest())
  must(await must(await connection.nextStream()).nextRequest())
  const tunnel = await stream.upgrade(key)
  tunnel.end()
  await once(tunnel, 'finish')
  await client.end(1)
  const failed = once(tunnel, 'error')
  await client.write(h2.reset(1))
  const [error] = await failed
  t.is((error as PullError).code, 'ERR_PEER_RESET')
  t.like(listener.stats(), { requestsTotal: 2, requestsInFlight: 1, responsesSent: 1, responsesFailed: 0 })
})
