// Peers that leave, at every point of an exchange: nothing of them stays behind. The server is a process of its own, so that its
// descriptors and its promises can be counted.
import type net from 'node:net'
import test from 'ava'
import type { ExecutionContext } from 'ava'
import type { IncomingRequest, ListenerStats } from '../index.js'
import { h1Client } from './_client.js'
import type { TestClient } from './_client.js'
import * as h2 from './_frames.js'
import { FrameClient } from './_frames.js'
import { portPrinted, program } from './_process.js'
import { RawClient } from './_raw.js'
import { asked, barrier, must, open, portOf, rejected, soon } from './_server.js'

/** How often each is done, so many at once. */
const TIMES = 500
const AT_ONCE = 25

interface State {
  connections: number
  streams: number
  handlers: number
  descriptors: number | null
  stats: ListenerStats
  /** By kind and code: 'handlers ERR_PEER_RESET'. */
  rejected: Record<string, number>
}

const ends: Array<() => void> = []
let port: number
let asker: TestClient
let before: State
test.before(async () => {
  port = await portPrinted(program({ teardown: (end) => ends.push(end) }, '__test__/_abuse-server.ts'))
  asker = h1Client(port, 1)
  before = await ask()
})
test.after.always(() => {
  asker.close()
  for (const end of ends) end()
})

async function ask(): Promise<State> {
  return JSON.parse((await asker.fetch({ path: '/state' })).text) as State
}

/** Waits until nothing is left but the asker. Gives what was rejected since the last time: of whichever kind, for the peer's sake. */
async function nothingLeft(t: ExecutionContext): Promise<Record<string, number>> {
  for (const deadline = performance.now() + 20_000; ; ) {
    const now = await ask()
    const { connections, streams, handlers, descriptors, stats } = now
    const left = { connections, streams, handlers, descriptors, open: stats.connectionsOpen, inFlight: stats.requestsInFlight }
    const alone = { connections: 1, streams: 1, handlers: 1, descriptors: before.descriptors, open: 1, inFlight: 1 }
    const same = Object.entries(alone).every(([name, count]) => left[name as keyof typeof left] === count)
    if (!same && performance.now() < deadline) continue
    t.deepEqual(left, alone)
    const rejected: Record<string, number> = {}
    for (const [name, count] of Object.entries(now.rejected)) {
      const [kind, code] = name.split(' ') as [string, string]
      const more = count - (before.rejected[name] ?? 0)
      if (more === 0) continue
      if (!code.startsWith('ERR_PEER_')) t.fail(`${more} ${kind} were rejected with ${code}`)
      rejected[kind] = (rejected[kind] ?? 0) + more
    }
    before = now
    return rejected
  }
}

/** Does `one` TIMES times, AT_ONCE at once. */
async function often(one: (i: number) => Promise<void>): Promise<void> {
  const worker = async (first: number) => {
    for (let i = first; i < TIMES; i += AT_ONCE) await one(i)
  }
  await Promise.all(Array.from({ length: AT_ONCE }, (_, first) => worker(first)))
}

interface Point {
  where: string
  /** What the peer says before it leaves, and what the server then says first. */
  h1: string
  wait: string
  h2: (stream: number) => Uint8Array
  /** What the server's handler is left with. */
  lost: 'bodies' | 'handlers' | null
}

const EXPECT = 'POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\n'
const expect = (stream: number) => h2.headers(stream, h2.block('POST', '/', h2.field('expect', '100-continue')), 0)

const points: Point[] = [
  {
    where: 'in the head',
    h1: 'GET / HTTP/1.1\r\nhost: a\r\nx-',
    wait: '',
    h2: (stream) => h2.frame(h2.HEADERS, h2.END_STREAM, stream, h2.block('GET', '/')),
    lost: null,
  },
  {
    where: 'in the body',
    h1: `${EXPECT}content-length: 100\r\n\r\nbody`,
    wait: '100 Continue\r\n\r\n',
    h2: (stream) => Buffer.concat([expect(stream), h2.data(stream, 'body')]),
    lost: 'bodies',
  },
  {
    where: 'in a chunk of the body',
    h1: `${EXPECT}transfer-encoding: chunked\r\n\r\n4\r\nbody\r\n4\r\nbo`,
    wait: '100 Continue\r\n\r\n',
    h2: (stream) => Buffer.concat([expect(stream), h2.data(stream, 'body'), h2.data(stream, 'body').subarray(0, 11)]),
    lost: 'bodies',
  },
  {
    where: 'while the handler is at work',
    h1: 'GET /work HTTP/1.1\r\nhost: a\r\n\r\n',
    wait: '103 Early Hints\r\n\r\n',
    h2: (stream) => h2.get(stream, '/work'),
    lost: 'handlers',
  },
  {
    where: 'in the answer',
    h1: 'GET /download?50000000 HTTP/1.1\r\nhost: a\r\n\r\n',
    wait: '200 OK\r\n',
    h2: (stream) => h2.get(stream, '/download?50000000'),
    lost: 'handlers',
  },
]

/** Nothing is left, and what the peers did was told to whoever was at work for them. */
async function told(t: ExecutionContext, lost: Point['lost']): Promise<void> {
  const rejected = await nothingLeft(t)
  // Every other peer has waited until its handler was at work.
  if (lost) t.true(rejected[lost]! >= TIMES / 2, `${rejected[lost]} of ${TIMES} ${lost} were told`)
}

for (const point of points) {
  const { where, lost } = point

  test.serial(`h1: RST ${where}`, async (t) => {
    await often(async (i) => {
      const client = await RawClient.connect(port)
      await client.write(point.h1)
      if (i % 2 && point.wait) await client.until(point.wait)
      client.reset()
    })
    await told(t, lost)
  })

  for (const how of ['RST', 'FIN'] as const) {
    test.serial(`h2: ${how} of the connection ${where}`, async (t) => {
        await often(async (i) => {
        const client = await FrameClient.connect(port)
        await client.write(point.h2(1))
        if (i % 2 && point.wait) t.is((await client.head(1))?.type, h2.HEADERS)
        if (how === 'RST') return void client.socket.resetAndDestroy()
        client.socket.end()
        await client.cut
        client.close()
      })
      await told(t, lost)
    })
  }

  // Within a frame, or a header block, a stream cannot be reset.
  if (where === 'in the head' || where === 'in a chunk of the body') continue
  test.serial(`h2: RST_STREAM ${where}`, async (t) => {
    const client = await FrameClient.connect(port)
    let last = -1
    await often(async (i) => {
      const stream = (last += 2)
      await client.write(point.h2(stream))
      if (i % 2) t.is((await client.head(stream))?.type, h2.HEADERS)
      await client.write(h2.reset(stream))
    })
    t.true(await client.ping(), 'the connection lives')
    client.close()
    await told(t, lost)
  })
}

for (const { where, h1, wait, lost } of points.slice(0, 3)) {
  test.serial(`h1: FIN ${where}`, async (t) => {
    await often(async (i) => {
      const client = await RawClient.connect(port)
      await client.write(h1)
      if (i % 2 && wait) await client.until(wait)
      client.finish()
      await client.ended
      client.close()
    })
    await told(t, lost)
  })
}

test.serial('h1: FIN after the request: it gets its answer all the same', async (t) => {
  await often(async () => {
    const client = await RawClient.connect(port, true)
    await client.write('GET /download?200000 HTTP/1.1\r\nhost: a\r\n\r\n')
    client.finish()
    t.is((await client.response()).body.length, 200_000)
    await client.ended
    client.close()
  })
  t.deepEqual(await nothingLeft(t), {})
})

for (const protocol of ['h1', 'h2'] as const) {
  test.serial(`${protocol}: RST of requests that nobody has pulled`, async (t) => {
    const listener = await open(t)
    const clients: net.Socket[] = []
    for (let i = 0; i < TIMES / 5; i++) {
      const client = protocol === 'h1' ? await RawClient.connect(portOf(listener)) : await FrameClient.connect(portOf(listener), { deaf: true })
      clients.push(client.socket)
      await client.write(protocol === 'h1' ? points[3]!.h1 : h2.get(1, '/work'))
    }
    await soon(() => listener.stats().requestsInFlight === 64, 'what may come up before it is pulled')
    for (const socket of clients) socket.resetAndDestroy()
    await soon(() => listener.stats().connectionsOpen === 0 && listener.stats().requestsInFlight === 0, 'the end of those')
    // The others wait to be accepted, if they are still there; the next good one is behind them all.
    const good = await RawClient.connect(portOf(listener))
    await good.write('GET /good HTTP/1.1\r\nhost: a\r\n\r\n')
    for (let request: IncomingRequest | null = null; request?.path !== '/good'; ) {
      const stream = await must(await listener.nextConnection()).nextStream()
      request = (await stream?.nextRequest()) ?? null
      if (request?.path === '/good') await stream!.send(request.key, { body: 'good' })
      else if (request) await rejected(t, stream!.send(request.key, {}), 'ERR_PEER_RESET', 'ERR_PEER_CLOSED')
    }
    t.is((await good.response()).body.toString(), 'good')
    t.is(listener.stats().connectionsOpen, 1)
  })
}

// What lies between the server and the RST is more than it reads ahead of its caller.
test.failing('h1: RST behind a body that nobody reads', async (t) => {
  const { listener, client, request } = await asked(t, 'POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n')
  await client.write(Buffer.alloc(100_000))
  client.reset()
  await barrier(listener, 20)
  t.true(request.signal.aborted)
})
