// Each limit from outside: what is on it is let in, what is one over it gets its answer.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import test from 'ava'
import type { ExecutionContext } from 'ava'
import type { Connection, IncomingRequest, Limits, Listener } from '../index.js'
import { checkListenOptions } from '../src/options.js'
import { h1Client, h2Client } from './_client.js'
import * as h2 from './_frames.js'
import { FrameClient } from './_frames.js'
import { command, portPrinted, root } from './_process.js'
import { RawClient } from './_raw.js'
import { answer, barrier, must, open, portOf, pull, rejected, soon, watch } from './_server.js'

const get = 'GET / HTTP/1.1\r\nhost: a\r\n\r\n'
const odd = (i: number) => 2 * i + 1

/** A listener that answers all. */
async function answering(t: ExecutionContext, limits: Partial<Limits>): Promise<Listener> {
  const listener = await open(t, { limits })
  void answer(listener, (request, stream) => stream.send(request.key, { body: 'let in' }))
  return listener
}

async function h1Status(t: ExecutionContext, listener: Listener, bytes: string): Promise<number> {
  const client = await RawClient.connect(portOf(listener))
  t.teardown(() => client.close())
  await client.write(bytes)
  const { status, get: field } = await client.response()
  if (status >= 400) t.is(field('connection'), 'close')
  return status
}

async function h2Status(t: ExecutionContext, listener: Listener, block: Buffer, flags = h2.END_STREAM): Promise<number> {
  const client = await FrameClient.connect(portOf(listener))
  t.teardown(() => client.close())
  await client.write(h2.headers(1, block, flags))
  const status = h2.statusOf(must(await client.head(1)))
  t.true(await client.ping(), 'the connection goes on')
  return status
}

async function pullOf(connection: Connection): Promise<IncomingRequest> {
  return must(await must(await connection.nextStream()).nextRequest())
}

// ---- the docs

/** '65 536', '16 KiB', 'none', 'off'. */
function amount(text: string): number {
  if (text === 'none' || text === 'Infinity') return Infinity
  if (text === 'off') return 0
  const [, number, unit] = /^([\d ]+?)(?: ([KM]iB))?$/.exec(text)!
  return Number(number!.replaceAll(' ', '')) * ({ KiB: 1 << 10, MiB: 1 << 20 }[unit!] ?? 1)
}

test('the defaults are what the docs say', (t) => {
  const { limits, native } = checkListenOptions({})
  const defaults = new Map(Object.entries(limits))
  const timeouts = ['handshake', 'headers', 'bodyIdle', 'keepAliveIdle', 'writeStall', 'connectionAge', 'h2Ping']
  for (const [i, name] of timeouts.entries()) defaults.set(name, native.timeouts[i]!)
  const row = /^\| `(\w+)` \| ([^|]+?) \|/gm
  const comment = /\/\*\*((?:(?!\*\/).)*)\*\/\n  (\w+): number\n/gs
  const options = (text: string) => text.slice(text.indexOf('export interface Limits'), text.indexOf('export interface TlsOptions'))
  for (const [file, found] of [
    ['README.md', (text: string) => Array.from(text.matchAll(row), ([, name, value]) => [name!, value!] as const)],
    ['docs/limits.md', (text: string) => Array.from(text.matchAll(row), ([, name, value]) => [name!, value!] as const)],
    ['index.d.ts', (text: string) => Array.from(options(text).matchAll(comment), ([, told, name]) => [name!, /Default ([\d ]*\d|Infinity)/.exec(told!)?.[1] ?? ''] as const)],
  ] as const) {
    const said = new Map(found(readFileSync(join(root, file), 'utf8')).filter(([name]) => defaults.has(name)))
    t.deepEqual(new Map(Array.from(said, ([name, value]) => [name, amount(value)])), defaults, file)
  }
})

// ---- heads

test('headerBytes, h1: from the first byte of the head to its last', async (t) => {
  const listener = await answering(t, { headerBytes: 1024 })
  const head = (length: number) => {
    const start = 'GET / HTTP/1.1\r\nhost: a\r\nx: '
    return `${start}${'v'.repeat(length - start.length - 4)}\r\n\r\n`
  }
  t.is(await h1Status(t, listener, head(1024)), 200)
  t.is(await h1Status(t, listener, head(1025)), 431)
  await soon(() => listener.stats().refused['head-too-large'] === 1)
})

test('headerBytes, h2: names, values, and 32 for each field (RFC 9113 section 6.5.2)', async (t) => {
  const listener = await answering(t, { headerBytes: 1024 })
  const rest = [':method', 'GET', ':scheme', 'http', ':path', '/', ':authority', 'a'].join('').length + 5 * 32 + 1
  const list = (length: number) => h2.block('GET', '/', h2.field('x', 'v'.repeat(length - rest)))
  t.is(await h2Status(t, listener, list(1024)), 200)
  t.is(await h2Status(t, listener, list(1025)), 431)
})

test('headerCount', async (t) => {
  const listener = await answering(t, { headerCount: 5 })
  const fields = (count: number) => Array.from({ length: count }, (_, i) => `x${i}`)
  const h1 = (count: number) => `GET / HTTP/1.1\r\nhost: a\r\n${fields(count - 1).map((name) => `${name}: v\r\n`).join('')}\r\n`
  t.is(await h1Status(t, listener, h1(5)), 200)
  t.is(await h1Status(t, listener, h1(6)), 431)
  const block = (count: number) => h2.block('GET', '/', ...fields(count).map((name) => h2.field(name, 'v')))
  t.is(await h2Status(t, listener, block(5)), 200)
  t.is(await h2Status(t, listener, block(6)), 431)
  await soon(() => listener.stats().refused['head-too-large'] === 2)
})

test('targetBytes', async (t) => {
  const listener = await answering(t, { targetBytes: 50 })
  const long = (length: number, start = '/') => start + 'x'.repeat(length - start.length)
  const h1 = (target: string) => `GET ${target} HTTP/1.1\r\nhost: a\r\n\r\n`
  t.is(await h1Status(t, listener, h1(long(50))), 200)
  t.is(await h1Status(t, listener, h1(long(51))), 414)
  t.is(await h1Status(t, listener, h1(long(50, '/a?b='))), 200)
  t.is(await h1Status(t, listener, h1(long(51, '/a?b='))), 414)
  t.is(await h2Status(t, listener, h2.block('GET', long(50))), 200)
  t.is(await h2Status(t, listener, h2.block('GET', long(51))), 414)
  await soon(() => listener.stats().refused['target-too-long'] === 3)
})

test('targetBytes: an absolute target counts as a whole', async (t) => {
  const listener = await answering(t, { targetBytes: 50 })
  const absolute = (length: number) => `http://a/${'x'.repeat(length - 9)}`
  t.is(await h1Status(t, listener, `GET ${absolute(50)} HTTP/1.1\r\nhost: a\r\n\r\n`), 200)
  t.is(await h1Status(t, listener, `GET ${absolute(51)} HTTP/1.1\r\nhost: a\r\n\r\n`), 414)
})

// ---- bodies

for (const [protocol, connect] of [['h1', h1Client], ['h2', h2Client]] as const) {
  test(`bodyBytes, ${protocol}`, async (t) => {
    const listener = await open(t, { limits: { bodyBytes: 1000 } })
    const post = (bytes: number, declared: boolean) => {
      const client = connect(portOf(listener))
      t.teardown(() => client.close())
      const exchange = client.open({ method: 'POST', ...(declared && { headers: { 'content-length': String(bytes) } }) })
      exchange.write(Buffer.alloc(bytes)).catch(() => {}) // a refusal may come before it
      return exchange
    }
    for (const declared of [true, false]) {
      const on = post(1000, declared)
      on.end()
      const request = await pull(listener)
      t.is((await must(request.body).bytes()).length, 1000)
      await request.stream.send(request.key, {})
      t.is((await on.reply).status, 200)
    }
    // Undeclared, it is its reader's to answer, who gets no byte over the limit.
    const undeclared = post(1001, false)
    const request = await pull(listener)
    let taken = 0
    const reading = (async () => {
      for await (const chunk of must(request.body)) taken += chunk.length
    })()
    t.like(await rejected(t, reading, 'ERR_BODY_TOO_LARGE'), { side: 'peer', status: 413 })
    t.true(taken <= 1000, `${taken} bytes`)
    await request.stream.send(request.key, { status: 413 })
    t.is((await undeclared.reply).status, 413)
    // Declared, it never comes up.
    t.is((await post(1001, true).reply).status, 413)
    t.is(listener.stats().requestsTotal, 3)
    await soon(() => listener.stats().refused['body-too-large'] === 1)
  })
}

// ---- numbers of things

test('connections: one over waits in the backlog', async (t) => {
  const listener = await open(t, { limits: { connections: 2 } })
  const clients = await Promise.all([0, 1, 2].map(() => RawClient.connect(portOf(listener))))
  const first = [clients[0]!, clients[1]!]
  for (const client of first) await client.write(get)
  const held = [await pull(listener), await pull(listener)]
  const third = pull(listener)
  const waiting = watch(third)
  await clients[2]!.write(get)
  for (const request of held) {
    t.false(waiting.settled)
    await request.stream.send(request.key, { body: 'x' })
  }
  for (const client of first) await client.response()
  t.false(waiting.settled, 'two connections are open')
  t.is(listener.stats().connectionsOpen, 2)
  clients[0]!.close()
  const request = await third
  t.is((request.stream.connection.remote as { port: number }).port, clients[2]!.port)
})

// Serial: the rounds of the event loop are everybody's.
test.serial('a loop with one place for a connection left and none for a request waits like any other', async (t) => {
  const listener = await open(t, { ioThreads: 0, limits: { connections: 3, requestsInFlight: 1 } })
  const clients = await Promise.all([0, 1].map(() => RawClient.connect(portOf(listener))))
  for (const client of clients) await client.write(get)
  const request = await pull(listener)
  const held = pull(listener)
  const waiting = watch(held)
  await soon(() => listener.stats().connectionsOpen === 2)
  const rounds = (): number => performance.nodeTiming.uvMetricsInfo.loopCount
  const during = async (milliseconds: number): Promise<number> => {
    const before = rounds()
    await setTimeout(milliseconds)
    return rounds() - before
  }
  let busy = await during(100)
  // In a process that has just begun others have rounds, too, but not for ever.
  for (let tries = 1; tries < 20 && busy >= 20; tries++) busy = await during(100)
  t.true(busy < 20, `${busy} rounds of the event loop in which nothing happened`)
  t.false(waiting.settled)
  await request.stream.send(request.key, {})
  await (await held).stream.send((await held).key, {})
  for (const client of clients) t.is((await client.response()).status, 200)
})

test('connections: no more than the open-file limit leaves, so that the process can open files still', async (t) => {
  if (process.platform === 'win32') return t.pass('no such limit')
  const files = 400
  const script = `ulimit -n ${files} && exec "$0" --import @oxc-node/core/register __test__/_abuse-server.ts`
  const port = await portPrinted(command(t, 'sh', ['-c', script, process.execPath]))
  const asker = h1Client(port, 1)
  t.teardown(() => asker.close())
  const connectionsOpen = async () => JSON.parse((await asker.fetch({ path: '/state' })).text).stats.connectionsOpen as number
  t.is(await connectionsOpen(), 1)
  const clients = await Promise.all(Array.from({ length: files }, () => RawClient.connect(port)))
  t.teardown(() => clients.forEach((client) => client.close()))
  for (const client of clients) await client.write(get)
  while ((await connectionsOpen()) < files / 2);
  for (let i = 0; i < 20; i++) t.is(await connectionsOpen(), files / 2)
  t.regex((await asker.fetch({ path: '/file?package.json' })).text, /hyperpull/)
  // Those that waited are served as the others leave.
  for (const client of clients) {
    await client.response()
    client.close()
  }
})

for (const protocol of ['h1', 'h2'] as const) {
  test(`requestsInFlight, ${protocol}: one over is delivered when one was sent`, async (t) => {
    const listener = await open(t, { limits: { requestsInFlight: 2 } })
    const connect = protocol === 'h1' ? h1Client : h2Client
    const client = connect(portOf(listener))
    t.teardown(() => client.close())
    const replies = ['/0', '/1', '/2'].map((path) => client.fetch({ path }))
    const connection = protocol === 'h2' ? must(await listener.nextConnection()) : null
    const next = () => (connection === null ? pull(listener) : pullOf(connection))
    const held = [await next(), await next()]
    const third = next()
    const waiting = watch(third)
    for (const request of held) {
      for (let i = 0; i < 10; i++) await request.stream.inform(request.key, 102)
      await soon(() => listener.stats().requestsInFlight === 2)
      t.false(waiting.settled)
    }
    await held[0]!.stream.send(held[0]!.key, { body: 'x' })
    const request = await third
    t.is(listener.stats().requestsInFlight, 2)
    for (const { stream, key } of [request, held[1]!]) await stream.send(key, { body: 'x' })
    for (const reply of replies) t.is((await reply).status, 200)
  })
}

test('requestsInFlight: what nobody has pulled has no place', async (t) => {
  const listener = await open(t, { limits: { requestsInFlight: 1 } })
  const clients = [await RawClient.connect(portOf(listener)), await RawClient.connect(portOf(listener))]
  for (const client of clients) await client.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n')
  const streams = [must(await must(await listener.nextConnection()).nextStream()), must(await must(await listener.nextConnection()).nextStream())]
  // The one that has come last is pulled first.
  for (const stream of streams.reverse()) {
    const request = must(await stream.nextRequest())
    await request.stream.send(request.key, { body: 'x' })
  }
  for (const client of clients) t.is((await client.response()).status, 200)
})

test('requestsPerConnection, h1: the last one closes the connection', async (t) => {
  const listener = await answering(t, { requestsPerConnection: 3 })
  const client = await RawClient.connect(portOf(listener))
  await client.write(get.repeat(4))
  for (let i = 1; i <= 3; i++) t.is((await client.response()).get('connection'), i === 3 ? 'close' : undefined, `request ${i}`)
  t.is(await client.rest(), '', 'the fourth is not answered')
  t.is(listener.stats().requestsTotal, 3)
})

test('requestsPerConnection, h2: the last one brings GOAWAY', async (t) => {
  const listener = await answering(t, { requestsPerConnection: 3 })
  const client = await FrameClient.connect(portOf(listener))
  t.teardown(() => client.close())
  for (let i = 0; i < 3; i++) {
    t.is(client.goAway, null)
    await client.write(h2.get(odd(i), '/'))
    t.is(must(await client.end(odd(i))).type, h2.DATA)
  }
  await client.cut
  t.is(client.goAway, h2.NO_ERROR)
  t.is(listener.stats().requestsTotal, 3)
})

test('concurrentStreams: one over is REFUSED_STREAM, until another has ended', async (t) => {
  const listener = await open(t, { limits: { concurrentStreams: 3 } })
  const client = await FrameClient.connect(portOf(listener))
  t.teardown(() => client.close())
  const connection = must(await listener.nextConnection())
  for (let i = 0; i < 4; i++) await client.write(h2.get(odd(i), `/${i}`))
  const refused = must(await client.end(odd(3)))
  t.deepEqual([refused.type, refused.payload.readUInt32BE(0)], [h2.RST_STREAM, h2.REFUSED_STREAM])
  await soon(() => listener.stats().refused['too-many-streams'] === 1)
  for (let i = 0; i < 3; i++) {
    const { stream, key, path } = await pullOf(connection)
    t.is(path, `/${i}`)
    if (i === 0) await stream.send(key, {})
  }
  await client.write(h2.get(odd(4), '/4'))
  t.is((await pullOf(connection)).path, '/4')
})

// ---- bytes

test('bufferedBytes, h2: so much of what nobody pulls is let out, and no more', async (t) => {
  const bufferedBytes = 256 << 10
  const listener = await open(t, { limits: { bufferedBytes } })
  const client = await FrameClient.connect(portOf(listener))
  t.teardown(() => client.close())
  const connection = must(await listener.nextConnection())
  // The windows that were given: of the connection (RFC 9113 section 6.9.2 begins with 65 535), and of each stream, a sixteenth of it.
  const given = (stream: number) =>
    client.frames.reduce((sum, frame) => sum + (frame.type === h2.WINDOW_UPDATE && frame.stream === stream ? frame.payload.readUInt32BE(0) : 0), 0)
  t.is(65_535 + given(0), bufferedBytes)
  const piece = Buffer.alloc(16_384)
  const requests: IncomingRequest[] = []
  for (let i = 0; i < 16; i++) {
    await client.write(h2.post(odd(i), '/'))
    for (let left = bufferedBytes / 16; left > 0; left -= piece.length) await client.write(h2.data(odd(i), piece))
    requests.push(await pullOf(connection))
  }
  t.true(await client.ping(), 'all of it is let in')
  t.is(65_535 + given(0), bufferedBytes, 'and no window is given back')
  // What is pulled is given back.
  let pulled = 0
  while (pulled < bufferedBytes / 16) pulled += must(await must(requests[0]!.body).nextChunk()).length
  while (given(0) === bufferedBytes - 65_535) t.true(await client.ping())
  t.true(given(0) <= bufferedBytes - 65_535 + pulled)
  t.is(given(1), pulled)
})

test('bufferedBytes, h2: one byte over the window is a fault of the connection', async (t) => {
  const bufferedBytes = 128 << 10
  const listener = await open(t, { limits: { bufferedBytes } })
  const client = await FrameClient.connect(portOf(listener))
  t.teardown(() => client.close())
  // The window of a stream is never smaller than a frame.
  const frame = h2.data(1, Buffer.alloc(bufferedBytes / 8))
  for (let i = 0; i < 8; i++) {
    frame.writeUInt32BE(odd(i), 5)
    await client.write(h2.post(odd(i), '/'), frame)
  }
  t.true(await client.ping())
  await client.write(h2.post(17, '/'), h2.data(17, 'x'))
  await client.cut
  const FLOW_CONTROL_ERROR = 3
  t.is(client.goAway, FLOW_CONTROL_ERROR)
})

test('bufferedBytes, h1: no more is read than that, until it is pulled', async (t) => {
  const bufferedBytes = 64 << 10
  const total = 4 << 20
  const listener = await open(t, { limits: { bufferedBytes } })
  const client = await RawClient.connect(portOf(listener))
  t.teardown(() => client.close())
  const head = `POST / HTTP/1.1\r\nhost: a\r\ncontent-length: ${total}\r\n\r\n`
  void client.write(head)
  void client.write(Buffer.alloc(total))
  const request = await pull(listener)
  const body = must(request.body)
  let pulled = 0
  for (const atLeast of [0, 1, 1 << 20]) {
    while (pulled < atLeast) pulled += must(await body.nextChunk()).length
    await barrier(listener)
    const { bytesRead } = listener.stats()
    // The barriers are below 1 KiB.
    t.true(bytesRead <= head.length + pulled + bufferedBytes + 1024, `${bytesRead} bytes were read, ${pulled} pulled`)
  }
  while (pulled < total) pulled += must(await body.nextChunk()).length
  t.is(await body.nextChunk(), null)
  await request.stream.send(request.key, {})
})

for (const protocol of ['h1', 'h2'] as const) {
  test(`pendingWriteBytes, ${protocol}: write waits once so much is pending, until the peer has taken some`, async (t) => {
    const listener = await open(t, { limits: { pendingWriteBytes: 1000 } })
    let request: IncomingRequest
    let read: () => unknown
    if (protocol === 'h1') {
      const client = await RawClient.connect(portOf(listener))
      t.teardown(() => client.close())
      client.socket.pause()
      await client.write(get)
      request = await pull(listener)
      read = () => client.socket.resume()
    } else {
      const client = await FrameClient.connect(portOf(listener), { settings: { [h2.INITIAL_WINDOW_SIZE]: 0 } })
      t.teardown(() => client.close())
      await client.write(h2.get(1, '/'))
      request = await pull(listener)
      read = () => client.write(h2.windowUpdate(1, 1 << 20))
    }
    const writer = request.stream.start(request.key, {})
    // On h1 the kernel takes some first. It is full when a write still waits although others have come and gone.
    for (let full = protocol === 'h2'; !full; ) {
      const write = watch(writer.write(Buffer.alloc(1 << 20)))
      await barrier(listener)
      full = !write.settled
    }
    if (protocol === 'h2') await writer.write('x'.repeat(999))
    const waits = [writer.write('x'), writer.write('x')].map(watch)
    await barrier(listener)
    t.false(waits.some(({ settled }) => settled))
    await read()
    await soon(() => waits.every(({ settled }) => settled))
    await writer.finish()
  })
}
