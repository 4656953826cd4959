// The listener: where it listens, what it refuses, what it counts.
import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import http from 'node:http'
import net from 'node:net'
import os from 'node:os'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import test from 'ava'
import type { ExecutionContext } from 'ava'
import { listen, Listener, PullError } from '../index.js'
import type { ListenOptions } from '../index.js'
import { h1Client } from './_client.js'
import { RawClient } from './_raw.js'
import { answer, asked, must, open, portOf, pull, rejected, soon, watch } from './_server.js'

const get = 'GET / HTTP/1.1\r\nhost: a\r\n\r\n'

test('a free port on 127.0.0.1 by default', async (t) => {
  const listener = await open(t)
  t.true(listener instanceof Listener)
  t.like(listener.address, { host: '127.0.0.1' })
  t.true(portOf(listener) > 0)
})

/** A free port that the system gives to nobody who has not asked for it: those begin at 32768, or higher. */
async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(20_000, 32_000)
    const probe = net.createServer().listen(port, '127.0.0.1')
    try {
      await once(probe, 'listening')
    } catch {
      continue
    }
    probe.close()
    await once(probe, 'close')
    return port
  }
}

test('a port that was asked for', async (t) => {
  const port = await freePort()
  t.is(portOf(await open(t, { port })), port)
})

test('an IPv6 address', async (t) => {
  const has = Object.values(os.networkInterfaces()).flat().some((entry) => entry?.address === '::1')
  if (!has) {
    await rejected(t, listen({ port: 0, host: '::1' }), 'ERR_IO')
    return
  }
  const listener = await open(t, { host: '::1' })
  t.like(listener.address, { host: '::1' })
  void answer(listener, (request, stream) => stream.send(request.key, { body: JSON.stringify(request.stream.connection.remote) }))
  const body = await (await fetch(`http://[::1]:${portOf(listener)}/`)).json()
  t.is((body as { host: string }).host, '::1')
  t.like((await open(t, { host: '::1%lo' })).address, { host: '::1' }, 'a zone means nothing here, and node:net takes it')
})

test('a taken port is ERR_ADDRESS_IN_USE', async (t) => {
  const port = portOf(await open(t))
  const error = await rejected(t, listen({ port }), 'ERR_ADDRESS_IN_USE')
  t.is(error.side, 'local')
})

test('reusePort lets two listeners share a port', async (t) => {
  const first = await open(t, { reusePort: true })
  const second = await open(t, { port: portOf(first), reusePort: true })
  t.is(portOf(second), portOf(first))
})

test('a Unix-domain socket', async (t) => {
  const path = socketPath(t)
  const listener = await open(t, { path })
  t.deepEqual(listener.address, { path })
  const client = await RawClient.connect(path)
  await client.write(get)
  const request = await pull(listener)
  t.deepEqual(request.stream.connection.local, { path })
  t.is(typeof (request.stream.connection.remote as { path: string }).path, 'string')
  await request.stream.send(request.key, { body: 'over a path' })
  t.is((await client.response()).body.toString(), 'over a path')
  await listener.close()
  t.false(existsSync(path), 'the socket file goes with its listener')
})

test('a stale socket file is replaced, a live one is an error', async (t) => {
  const path = socketPath(t)
  // A bound socket whose owner went without removing the file: a rename keeps net.Server from finding it.
  const server = net.createServer().listen(`${path}.old`)
  await once(server, 'listening')
  renameSync(`${path}.old`, path)
  server.close()
  await once(server, 'close')
  t.true(existsSync(path))
  const listener = await open(t, { path })
  t.deepEqual(listener.address, { path })
  await rejected(t, listen({ path }), 'ERR_ADDRESS_IN_USE')
  const client = await RawClient.connect(path)
  await client.write(get)
  const request = await pull(listener)
  await request.stream.send(request.key, { body: 'still there' })
  t.is((await client.response()).body.toString(), 'still there')
})

const misspelt: Array<[string, object]> = [
  ['prot', { prot: 0 }],
  ['limits.bodyByte', { port: 0, limits: { bodyByte: 1 } }],
  ['timeouts.header', { port: 0, timeouts: { header: 1 } }],
  ['readAhead.request', { port: 0, readAhead: { request: 1 } }],
]
for (const [option, options] of misspelt) {
  test(`the misspelt option ${option} is named`, async (t) => {
    const error = await rejected(t, listen(options as ListenOptions), 'ERR_INVALID_OPTION')
    t.true(error.message.includes(option.split('.').at(-1)!), error.message)
    t.is(error.side, 'local')
  })
}

const wrong: Array<[string, object]> = [
  ['port', { port: -1 }],
  ['port', { port: 70_000 }],
  ['port', { port: '80' }],
  ['port', { port: 1.5 }],
  ['port', { port: Object.create(null) }],
  ['host', { port: 0, host: 5 }],
  ['path', { path: '' }],
  ['backlog', { port: 0, backlog: -1 }],
  ['ioThreads', { port: 0, ioThreads: -1 }],
  ['ioThreads', { port: 0, ioThreads: 65 }],
  ['protocols', { port: 0, protocols: [] }],
  ['protocols', { port: 0, protocols: ['h3'] }],
  ['protocols', { port: 0, protocols: [Symbol('h2')] }],
  ['requests', { port: 0, readAhead: { requests: 2 } }],
  ['bodyBytes', { port: 0, limits: { bodyBytes: -1 } }],
  ['bodyBytes', { port: 0, limits: { bodyBytes: Number.NaN } }],
  ['headers', { port: 0, timeouts: { headers: '1s' } }],
  ['signal', { port: 0, signal: {} }],
  ['tls', { port: 0, tls: { cert: '', key: '' } }],
  ['proxyProtocol', { port: 0, proxyProtocol: 'accept' }],
  ['fd', { fd: 3 }],
]
for (const [option, options] of wrong) {
  test(`${JSON.stringify(options)} is refused`, async (t) => {
    const error = await rejected(t, listen(options as ListenOptions), 'ERR_INVALID_OPTION')
    t.true(error.message.includes(option), error.message)
  })
}

test('each connection comes once, to the pulls in their order', async (t) => {
  const listener = await open(t)
  const pulls = [listener.nextConnection(), listener.nextConnection(), listener.nextConnection()]
  const remotes: number[] = []
  for (const pulled of pulls) {
    const client = await RawClient.connect(portOf(listener))
    await client.write(get)
    const connection = must(await pulled)
    t.is((connection.remote as { port: number }).port, client.port)
    remotes.push(client.port)
  }
  t.is(new Set(remotes).size, 3)
})

test('close answers the waiting pulls with null, twice is once, and the address is free', async (t) => {
  const port = await freePort()
  const listener = await open(t, { port })
  const pulls = [listener.nextConnection(), listener.nextConnection()]
  await Promise.all([listener.close(), listener.close()])
  t.deepEqual(await Promise.all(pulls), [null, null])
  t.is(await listener.nextConnection(), null)
  await listener.close()
  t.is(portOf(await open(t, { port })), port)
})

test('its signal closes it', async (t) => {
  const controller = new AbortController()
  const listener = await open(t, { signal: controller.signal })
  const next = listener.nextConnection()
  controller.abort()
  t.is(await next, null)
})

test('leaving the iteration early leaves the listener open', async (t) => {
  const listener = await open(t)
  for (let i = 0; i < 2; i++) {
    const client = await RawClient.connect(portOf(listener))
    await client.write(get)
    for await (const connection of listener) {
      t.is((connection.remote as { port: number }).port, client.port)
      break
    }
  }
})

test('await using closes it', async (t) => {
  const listener = await open(t)
  await listener[Symbol.asyncDispose]()
  t.is(await listener.nextConnection(), null)
  await t.throwsAsync(RawClient.connect(portOf(listener)), { code: 'ECONNREFUSED' })
})

test('h1 alone refuses the HTTP/2 preface, h2 alone refuses HTTP/1', async (t) => {
  for (const [protocol, bytes] of [['http/1.1', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'], ['h2', get]] as const) {
    const listener = await open(t, { protocols: [protocol] })
    const requests = watch(pull(listener).catch(() => new Promise(() => {})))
    const client = await RawClient.connect(portOf(listener))
    await client.write(bytes)
    t.notRegex(await client.rest(), /^HTTP\/1\.1 [123]/, `${protocol} alone`)
    t.false(requests.settled)
  }
})

test('stats count', async (t) => {
  const { listener, client, request } = await asked(t, get)
  t.like(listener.stats(), { connectionsOpen: 1, connectionsTotal: 1, requestsTotal: 1, requestsInFlight: 1, responsesSent: 0 })
  await request.stream.send(request.key, { body: 'x'.repeat(1000) })
  const stats = listener.stats()
  t.like(stats, { requestsTotal: 1, requestsInFlight: 0, responsesSent: 1, responsesFailed: 0 })
  t.is(stats.bytesRead, get.length)
  t.true(stats.bytesWritten > 1000)
  client.close()
  await must(request.stream.connection).closed
  const bad = await RawClient.connect(portOf(listener))
  await bad.write('rubbish\r\n\r\n')
  await bad.rest()
  await soon(() => listener.stats().refused['bad-request'] === 1)
  t.is(await must(await must(await listener.nextConnection()).nextStream()).nextRequest(), null, 'and it did not come up')
})

test('many clients of several I/O threads', async (t) => {
  const listener = await open(t, { ioThreads: 3 })
  void answer(listener, (request, stream) => stream.send(request.key, { body: request.path }))
  const client = h1Client(portOf(listener))
  t.teardown(() => client.close())
  const replies = await Promise.all(Array.from({ length: 200 }, (_, i) => client.fetch({ path: `/${i}` })))
  t.deepEqual(replies.map(({ text }) => text), Array.from({ length: 200 }, (_, i) => `/${i}`))
  await soon(() => listener.stats().responsesSent === 200)
  t.is(listener.stats().requestsInFlight, 0)
})

test('without an I/O thread: a peer that has asked for much at once leaves the rest of the process its turns', async (t) => {
  const listener = await open(t, { ioThreads: 0 })
  const client = await RawClient.connect(portOf(listener))
  t.teardown(() => client.close())
  const asked = 2000
  await client.write(get.repeat(asked))
  let answered = 0
  let most = 0
  void answer(listener, async (request, stream) => {
    answered++
    await stream.send(request.key, {})
  })
  for (let before = 0; answered < asked; before = answered) {
    await setImmediate()
    most = Math.max(most, answered - before)
  }
  t.true(most > 1 && most < asked / 4, `${most} answers in one turn`)
})

test('a client of node:http keeps its connection', async (t) => {
  const listener = await open(t)
  void answer(listener, (request, stream) => stream.send(request.key, { body: 'x' }))
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
  t.teardown(() => agent.destroy())
  for (let i = 0; i < 20; i++) {
    const request = http.get({ port: portOf(listener), host: '127.0.0.1', agent })
    const [response] = (await once(request, 'response')) as [http.IncomingMessage]
    t.is(request.reusedSocket, i > 0)
    await once(response.resume(), 'end')
  }
  t.is(listener.stats().connectionsTotal, 1)
})

test('PullError is an Error with a code, a side and a status', async (t) => {
  const error = await rejected(t, listen({ port: -1 }), 'ERR_INVALID_OPTION')
  t.true(error instanceof Error)
  t.is(error.name, 'PullError')
  t.is(error.status, null)
  t.true(error instanceof PullError)
})

function socketPath(t: ExecutionContext): string {
  const directory = mkdtempSync(join(os.tmpdir(), 'hyperpull-'))
  t.teardown(() => rmSync(directory, { recursive: true }))
  return join(directory, 'socket')
}
