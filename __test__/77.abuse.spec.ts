// HTTP/2 abuse, frame by frame: a flood is absorbed or the connection is cut, in bounded memory, and who stands beside is served.
import test from 'ava'
import { listen } from '../index.js'
import { Scene, cut } from './_abuse-scene.js'
import { h2Client } from './_client.js'
import * as h2 from './_frames.js'
import { FrameClient } from './_frames.js'
import { answer, must, open, portOf, rejected, soon } from './_server.js'

const odd = (i: number) => 2 * i + 1
const calm = h2.ENHANCE_YOUR_CALM

test.serial('rapid reset (CVE-2023-44487)', async (t) => {
  const scene = await Scene.start(t)
  const attacker = await scene.under(t, async (client) => {
    await client.flood(100_000, (i) => Buffer.concat([h2.get(odd(i), '/idle'), h2.reset(odd(i))]))
    await client.ping()
  })
  if (attacker.isCut) await cut(t, scene, attacker, calm)
  await scene.released(t)
})

test.serial('rapid reset of what nobody pulls', async (t) => {
  const listener = await open(t, { readAhead: { requests: 0 } })
  const patient = await FrameClient.connect(portOf(listener))
  const connection = must(await listener.nextConnection())
  for (let i = 0; i < 100; i++) void patient.write(h2.get(odd(i), '/reset'), h2.reset(odd(i)))
  t.true(await patient.ping(), 'less than limits.concurrentStreams are absorbed')
  const attacker = await FrameClient.connect(portOf(listener))
  must(await listener.nextConnection())
  await attacker.flood(1000, (i) => Buffer.concat([h2.get(odd(i), '/reset'), h2.reset(odd(i))]))
  t.false(await attacker.ping(), 'more are not')
  t.true(attacker.goAway === null || attacker.goAway === calm)
  // What was reset before it was pulled never comes up.
  await patient.write(h2.get(odd(100), '/good'))
  const request = must(await must(await connection.nextStream()).nextRequest())
  t.is(request.target, '/good')
  t.is(listener.stats().requestsTotal, 1)
  await request.stream.send(request.key, {})
  t.is(h2.statusOf(must(await patient.head(odd(100)))), 200)
  patient.close()
})

const selfish = Buffer.concat([h2.u32(1), Buffer.from([16])])
const provocations: Array<[title: string, path: string, provoke: (stream: number) => Buffer]> = [
  ['WINDOW_UPDATE of 0', '/hold', (stream) => h2.windowUpdate(stream, 0)],
  ['a window that overflows', '/hold', (stream) => h2.windowUpdate(stream, 0x7fff_ffff)],
  ['DATA after END_STREAM', '/hold', (stream) => h2.data(stream, 'x')],
  ['HEADERS after END_STREAM', '/hold', (stream) => h2.get(stream, '/hold')],
  ['PRIORITY on itself', '/hold', (stream) => h2.frame(h2.PRIORITY, 0, stream, Buffer.concat([h2.u32(stream), Buffer.from([16])]))],
  ['PRIORITY of a wrong length', '/hold', (stream) => h2.frame(h2.PRIORITY, 0, stream, selfish.subarray(1))],
  ['RST_STREAM of a wrong length', '/hold', (stream) => h2.frame(h2.RST_STREAM, 0, stream, selfish)],
]
for (const [title, path, provoke] of provocations) {
  test.serial(`MadeYouReset (CVE-2025-8671): ${title}`, async (t) => {
    const scene = await Scene.start(t)
    const rounds = 20_000
    const attacker = await scene.under(t, async (client) => {
      await client.flood(rounds, (i) => Buffer.concat([h2.get(odd(i), path), provoke(odd(i))]))
      await client.ping()
    })
    await cut(t, scene, attacker, 1, 3, 5, 6, calm)
    t.true((await scene.released(t)) < 3000, 'the number of requests is bounded')
  })
}

const faulty: Array<[title: string, request: (stream: number) => Buffer]> = [
  ['HEADERS that depend on themselves', (stream) => h2.frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM | h2.PRIORITY_FLAG, stream,
    Buffer.concat([h2.u32(stream), Buffer.from([16]), h2.block('GET', '/idle')]))],
  ['a pseudo-field after a field', (stream) => h2.headers(stream, Buffer.concat([h2.field('a', 'b'), h2.block('GET', '/idle')]))],
  ['no path', (stream) => h2.headers(stream, h2.field(':method', 'GET'))],
  ['a connection-specific field', (stream) => h2.headers(stream, h2.block('GET', '/idle', h2.field('connection', 'close')))],
  ['more DATA than was declared', (stream) => Buffer.concat([
    h2.headers(stream, h2.block('POST', '/idle', h2.field('content-length', '1')), 0), h2.data(stream, 'xx')])],
  ['less DATA than was declared', (stream) => Buffer.concat([
    h2.headers(stream, h2.block('POST', '/idle', h2.field('content-length', '2')), 0), h2.data(stream, 'x', true)])],
  ['trailers without END_STREAM', (stream) => Buffer.concat([h2.post(stream, '/idle'), h2.headers(stream, h2.field('a', 'b'), 0)])],
]
for (const [title, request] of faulty) {
  test.serial(`MadeYouReset (CVE-2025-8671): ${title}`, async (t) => {
    const scene = await Scene.start(t)
    const attacker = await scene.under(t, async (client) => {
      await client.flood(20_000, (i) => request(odd(i)))
      await client.ping()
    })
    await cut(t, scene, attacker, 1, calm)
    t.true((await scene.released(t)) < 3000, 'the number of requests is bounded')
  })
}

test.serial('MadeYouReset (CVE-2025-8671): DATA over the window', async (t) => {
  const scene = await Scene.start(t, { limits: { bufferedBytes: 65_536 } })
  const attacker = await scene.under(t, async (client) => {
    const much = Buffer.alloc(16_384)
    await client.flood(5000, (i) => Buffer.concat([h2.post(odd(i), '/idle'), h2.data(odd(i), much), h2.data(odd(i), 'x')]), 1)
    await client.ping()
  })
  await cut(t, scene, attacker, 3, calm)
  await scene.released(t)
})

for (const size of [0, 1, 16_384]) {
  test.serial(`CONTINUATION flood, ${size} bytes each`, async (t) => {
    const scene = await Scene.start(t)
    const attacker = await scene.under(t, async (client) => {
      await client.write(h2.frame(h2.HEADERS, h2.END_STREAM, 1, h2.block('GET', '/')))
      // A literal whose value never ends.
      await client.write(h2.frame(h2.CONTINUATION, 0, 1, Buffer.from([0, 1, 0x61, 0x7f, 0xff, 0xff, 0xff, 0x7f])))
      const piece = h2.frame(h2.CONTINUATION, 0, 1, Buffer.alloc(size, 'a'))
      await client.flood(10_000, () => piece, 50)
      await client.ping()
    })
    await cut(t, scene, attacker, calm, 9)
  })
}

test.serial('empty DATA flood', async (t) => {
  const scene = await Scene.start(t)
  const attacker = await scene.under(t, async (client) => {
    await client.write(h2.post(1, '/'))
    await client.flood(100_000, () => h2.data(1, ''))
    await client.ping()
  })
  await cut(t, scene, attacker, calm)
})

test.serial('1-byte DATA flood that nobody pulls: held in bounded memory as far as the window goes', async (t) => {
  const scene = await Scene.start(t)
  const attacker = await scene.under(t, async (client) => {
    await client.write(h2.post(1, '/idle'))
    await client.flood(1000, () => h2.data(1, 'x'))
    t.true(await client.ping(), 'the connection lives')
    await client.flood(50_000, () => h2.data(1, 'x'))
    // Cut, when they come faster than a turn takes them; else what they bring is held, copied together.
    await client.ping()
  })
  attacker.close()
  t.is(await scene.released(t), 1)
})

const floods: Array<[title: string, one: Buffer, answers: (frame: h2.Frame) => boolean]> = [
  ['PING', h2.frame(h2.PING, 0, 0, Buffer.alloc(8, 'p')), (f) => f.type === h2.PING && f.payload.toString() === 'pppppppp'],
  ['SETTINGS', h2.settings({ [h2.INITIAL_WINDOW_SIZE]: 65_535 }), (f) => f.type === h2.SETTINGS && (f.flags & h2.ACK) > 0],
]
for (const [title, one, answers] of floods) {
  test.serial(`${title} flood whose answers are not read`, async (t) => {
    const scene = await Scene.start(t)
    const batch = Buffer.concat(Array.from({ length: 4096 }, () => one))
    let batches = 0
    let held = false
    const attacker = await scene.under(
      t,
      async (client) => {
        // Until the server does not read any more: the neighbours have had many turns, and it has not taken a byte.
        while (!held && !client.isCut && batches < 3000) {
          let taken = false
          const written = client.write(batch).then(() => {
            taken = true
          })
          batches++
          const turn = scene.exchanges
          await Promise.race([written, soon(() => taken || client.isCut || scene.exchanges > turn + 100, 'a turn')])
          held = !taken && !client.isCut
        }
      },
      { deaf: true },
    )
    t.true(held || attacker.isCut, 'it does not take all, and buffer the answers')
    if (!held) return
    // Who reads again gets every answer.
    attacker.listen()
    t.true(await attacker.ping())
    // The first SETTINGS are those of the preface.
    t.is(attacker.count(answers), batches * 4096 + (title === 'SETTINGS' ? 1 : 0))
  })
}

const FLOW_CONTROL_ERROR = 3
const overflows: Array<[title: string, bytes: () => Buffer]> = [
  ['a WINDOW_UPDATE of the connection', () => h2.windowUpdate(0, 0x7fff_ffff)],
  ['SETTINGS_INITIAL_WINDOW_SIZE over 2^31 - 1', () => h2.settings({ [h2.INITIAL_WINDOW_SIZE]: 0x8000_0000 })],
  // The window of an open stream is moved by the difference (RFC 9113 section 6.9.2).
  ['SETTINGS_INITIAL_WINDOW_SIZE on top of a WINDOW_UPDATE', () =>
    Buffer.concat([h2.get(3, '/hold'), h2.windowUpdate(3, 0x7fff_0000), h2.settings({ [h2.INITIAL_WINDOW_SIZE]: 0x7fff_ffff })])],
]
for (const [title, bytes] of overflows) {
  test.serial(`a window that overflows: by ${title}`, async (t) => {
    const scene = await Scene.start(t)
    const attacker = await scene.under(t, async (client) => {
      await client.write(h2.get(1, '/hold'))
      t.is((await client.head(1))?.type, h2.HEADERS)
      await client.write(bytes())
      await client.cut
    })
    await cut(t, scene, attacker, h2.PROTOCOL_ERROR, FLOW_CONTROL_ERROR)
    await scene.released(t)
  })
}

const ignored: Array<[title: string, one: Buffer]> = [
  ['PRIORITY (CVE-2019-9513)', h2.frame(h2.PRIORITY, 0, 1, Buffer.concat([h2.u32(0), Buffer.from([16])]))],
  ['PRIORITY_UPDATE of a stream that is not open', h2.frame(h2.PRIORITY_UPDATE, 0, 0, Buffer.concat([h2.u32(99), Buffer.from('u=1, i')]))],
  ['WINDOW_UPDATE by one byte', h2.windowUpdate(0, 1)],
  ['frames of no known type', h2.frame(0xbe, 0, 0, Buffer.alloc(100))],
]
for (const [title, one] of ignored) {
  test.serial(`${title}: a flood that needs no answer costs nothing but its reading`, async (t) => {
    const scene = await Scene.start(t)
    const attacker = await scene.under(t, async (client) => {
      await client.flood(100_000, () => one)
      await client.ping()
    })
    if (attacker.isCut) await cut(t, scene, attacker, calm)
  })
}

test.serial('HPACK bomb: small blocks that unfold to 64 MB each', async (t) => {
  const scene = await Scene.start(t)
  const attacker = await scene.under(t, async (client) => {
    await client.write(h2.headers(1, h2.block('GET', '/', h2.field('bomb', 'b'.repeat(4000), true))))
    must(await client.end(1))
    const bomb = Buffer.concat([h2.block('GET', '/idle'), Buffer.alloc(16_000, 0x80 | 62)])
    for (let i = 1; i <= 50 && !client.isCut; i++) {
      await client.write(h2.headers(odd(i), bomb))
      const head = await client.head(odd(i))
      if (head?.type === h2.HEADERS) t.not(h2.statusOf(head), 200)
    }
  })
  if (attacker.isCut) await cut(t, scene, attacker, calm, 1)
  t.is((await scene.requests()).held, 0, 'none was let in')
})

test.serial('a zero window stalls no more than timeouts.writeStall lets it, and holds no more than limits.pendingWriteBytes', async (t) => {
  const limits = { pendingWriteBytes: 65_536 }
  const listener = await open(t, { limits, timeouts: { writeStall: 200 } })
  const chunk = Buffer.alloc(16_384)
  let produced = 0
  let closed = 0
  function* endless() {
    try {
      for (;;) {
        produced += chunk.length
        yield chunk
      }
    } finally {
      closed++
    }
  }
  const sent: Array<Promise<unknown>> = []
  void answer(listener, (request, stream) => {
    const sending = stream.send(request.key, request.path === '/endless' ? { body: endless() } : { body: 'ok' })
    if (request.path === '/endless') sent.push(sending)
    return sending.catch(() => {})
  })
  const neighbour = h2Client(portOf(listener))
  t.teardown(() => neighbour.close())
  const attacker = await FrameClient.connect(portOf(listener), { settings: { [h2.INITIAL_WINDOW_SIZE]: 0 } })
  t.teardown(() => attacker.close())
  await attacker.flood(100, (i) => h2.get(odd(i), '/endless'))
  for (let i = 0; i < 100; i++) {
    const end = must(await attacker.first((f) => f.stream === odd(i) && f.type === h2.RST_STREAM))
    t.is(end.payload.readUInt32BE(0), h2.CANCEL)
    if (i % 10 === 0) t.is((await neighbour.fetch()).text, 'ok')
  }
  for (const sending of sent) await rejected(t, sending, 'ERR_WRITE_STALLED')
  t.is(sent.length, 100)
  await soon(() => closed === 100, 'the end of the sources')
  t.is(attacker.dataBytes, 0)
  // Each stream may have a chunk in hand when the connection has no more room.
  t.true(produced <= limits.pendingWriteBytes + 101 * 2 * chunk.length, `${produced} bytes were asked of the sources`)
  t.true(await attacker.ping(), 'the connection lives')
})

test.serial('a header list under limits.headerBytes is let in, one over it is 431, and the connection goes on', async (t) => {
  const listener = await open(t, { limits: { headerBytes: 4096 } })
  const paths: string[] = []
  void answer(listener, (request, stream) => {
    paths.push(request.path)
    return stream.send(request.key, {})
  })
  const client = await FrameClient.connect(portOf(listener))
  t.teardown(() => client.close())
  // RFC 9113 section 6.5.2: names, values, and 32 bytes for each field.
  const rest = [':method', 'GET', ':scheme', 'http', ':path', '/', ':authority', 'a'].join('').length + 5 * 32 + 1
  const list = (bytes: number) => h2.block('GET', '/', h2.field('x', 'v'.repeat(bytes - rest)))
  await client.write(h2.headers(1, list(4095)))
  t.is(h2.statusOf(must(await client.head(1))), 200)
  await client.write(h2.headers(3, list(4097)))
  t.is(h2.statusOf(must(await client.head(3))), 431)
  await client.write(h2.headers(5, list(8192), h2.END_STREAM, 2048))
  t.is(must(await client.head(5)).type, h2.HEADERS, 'the same in pieces')
  await client.write(h2.get(7, '/after'))
  t.is(h2.statusOf(must(await client.head(7))), 200)
  t.deepEqual(paths, ['/', '/after'])
})

test.serial('1000 half-open streams: those over limits.concurrentStreams are refused, the others go on', async (t) => {
  const scene = await Scene.start(t)
  const client = await scene.under(t, async (client) => {
    await client.flood(1000, (i) => h2.post(odd(i), '/'), 100)
    t.true(await client.ping())
  })
  t.is(client.count((f) => f.type === h2.RST_STREAM && f.payload.readUInt32BE(0) === h2.REFUSED_STREAM), 1000 - 128)
  for (let i = 0; i < 128; i++) await client.write(h2.data(odd(i), 'x', true))
  for (let i = 0; i < 128; i++) t.is(must(await client.end(odd(i))).type, h2.DATA, 'answered')
})

test.serial('half-open streams without end', async (t) => {
  const scene = await Scene.start(t)
  const attacker = await scene.under(t, async (client) => {
    await client.flood(50_000, (i) => h2.post(odd(i), '/idle'), 100)
    await client.ping()
  })
  await cut(t, scene, attacker, calm)
  t.true((await scene.released(t)) <= 128)
})

test.serial('as many half-open streams as are allowed on many connections, each with a full window nobody pulls', async (t) => {
  const listener = await listen({ port: 0, ioThreads: 1 })
  t.teardown(() => listener.close())
  const full = Buffer.alloc(16_384)
  const clients = await Promise.all(Array.from({ length: 8 }, () => FrameClient.connect(portOf(listener))))
  for (const client of clients) {
    for (let i = 0; i < 16; i++) {
      await client.write(h2.post(odd(i), '/full'), ...Array.from({ length: 4 }, () => h2.data(odd(i), full)))
    }
    t.true(await client.ping(), 'a full window is no fault')
    await client.write(h2.post(33, '/more'), h2.data(33, full))
    await client.cut
    t.true(client.goAway === null || client.goAway === 3, 'what goes over the window of the connection is FLOW_CONTROL_ERROR')
    client.close()
  }
})
