// serve: the loop that most programs want.
import { mock } from 'node:test'
import test from 'ava'
import type { ExecutionContext } from 'ava'
import { serve } from '../index.js'
import type { IncomingRequest, ServeOptions } from '../index.js'
import { h1Client, h2Client } from './_client.js'
import { program, portPrinted } from './_process.js'
import { RawClient } from './_raw.js'
import { portOf, rejected, soon } from './_server.js'

type Handler = Parameters<typeof serve>[1]

async function scene(t: ExecutionContext, handler: Handler, options: ServeOptions = {}) {
  const server = await serve({ port: 0, ioThreads: 1, signals: false, ...options }, handler)
  t.teardown(() => server.close())
  return { server, port: portOf(server.listener) }
}

test("the handler's value is the answer, at once or later", async (t) => {
  const handler: Handler = (request) => {
    if (request.path === '/web') return new Response('web')
    const answer = { status: 201, body: request.path }
    // As await does, whatever has a `then` is waited for.
    const promises: Record<string, PromiseLike<typeof answer>> = {
      '/later': Promise.resolve(answer),
      '/thenable': { then: (resolve) => Promise.resolve(answer).then(resolve) },
    }
    return (promises[request.path] as Promise<typeof answer> | undefined) ?? answer
  }
  const { port } = await scene(t, handler)
  for (const client of [h1Client(port), h2Client(port)]) {
    t.teardown(() => client.close())
    for (const path of ['/now', '/later', '/thenable']) t.like(await client.fetch({ path }), { status: 201, text: path })
    t.like(await client.fetch({ path: '/web' }), { status: 200, text: 'web' })
  }
})

test('a misspelt option is named, with the one that was meant', async (t) => {
  const handler = () => ({})
  const misspelt: Array<[object, string]> = [[{ onerror: handler }, 'onError'], [{ concurency: 1 }, 'concurrency'], [{ prot: 1 }, 'port']]
  for (const [options, hint] of misspelt)
    t.true((await rejected(t, serve(options as ServeOptions, handler), 'ERR_INVALID_OPTION')).message.includes(`did you mean '${hint}'?`))
  for (const wrong of [undefined, { concurrency: '5' }, { concurrency: 1.5 }, { limits: null }])
    await rejected(t, serve(wrong as unknown as ServeOptions, handler), 'ERR_INVALID_OPTION')
})

test('a throw is a 500 and a call of onError', async (t) => {
  const errors: Array<[unknown, IncomingRequest | null]> = []
  const handler: Handler = (request) => {
    if (request.path === '/throw') throw new Error('a fault')
    if (request.path === '/reject') return Promise.reject(new Error('a fault'))
    if (request.path === '/wrong') return { status: 42 }
    if (request.path === '/nothing') return undefined
    return { body: 'fine' }
  }
  const { port } = await scene(t, handler, { onError: (error, request) => errors.push([error, request]) })
  const client = h1Client(port)
  t.teardown(() => client.close())
  for (const path of ['/throw', '/reject', '/wrong', '/nothing']) {
    const reply = await client.fetch({ path })
    t.is(reply.status, 500)
    t.false(reply.text.includes('a fault'), 'the client is not told why')
    t.is(errors.at(-1)![1]!.path, path)
  }
  t.is(errors.length, 4)
  t.is((errors[3]![0] as { code?: string }).code, 'ERR_INVALID_OPTION')
  t.is((await client.fetch({ path: '/fine' })).text, 'fine')
})

test("what the peer is at fault for is answered with that error's status", async (t) => {
  const handler: Handler = async (request) => ({ body: request.path === '/web' ? request.toWeb().url : await request.body!.text() })
  const { port } = await scene(t, handler, { limits: { bodyBytes: 4 }, onError: () => {} })
  const large = await RawClient.connect(port)
  await large.write('POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfive!\r\n0\r\n\r\n')
  const tooLarge = await large.response()
  t.deepEqual([tooLarge.status, tooLarge.body.toString()], [413, 'Payload Too Large'])
  const odd = await RawClient.connect(port)
  await odd.write('GET /web HTTP/1.1\r\nhost: 999.999.999.999\r\n\r\n')
  t.is((await odd.response()).status, 400)
})

test('a handler that throws in the middle of its own answer cuts it short, and gives its place back', async (t) => {
  const handler: Handler = async ({ path, stream, key }) => {
    if (path === '/fine') return { body: 'fine' }
    await stream.start(key, {}).write('part')
    throw new Error('a fault')
  }
  const errors: unknown[] = []
  const { port } = await scene(t, handler, { concurrency: 1, onError: (error) => errors.push((error as Error).message) })
  for (const client of [h1Client(port), h2Client(port)]) {
    t.teardown(() => client.close())
    await t.throwsAsync(client.fetch({ path: '/cut' }))
    t.is((await client.fetch({ path: '/fine' })).text, 'fine')
  }
  t.deepEqual(errors, ['a fault', 'a fault'])
})

test('a handler that answers by other means gives back nothing', async (t) => {
  const handler: Handler = async ({ path, stream, key }) => {
    if (path === '/tunnel') return void (await stream.upgrade(key)).end('bye')
    if (path === '/sent') return void (await stream.send(key, { body: 'sent' }))
    const writer = stream.start(key, {})
    setImmediate(() => void writer.finish())
  }
  const errors: unknown[] = []
  const { port } = await scene(t, handler, { onError: (error) => errors.push(error) })
  const client = h1Client(port)
  t.teardown(() => client.close())
  t.is((await client.fetch({ path: '/sent' })).text, 'sent')
  t.is((await client.fetch({ path: '/later' })).text, '')
  const raw = await RawClient.connect(port)
  await raw.write('GET /tunnel HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n')
  t.true((await raw.rest()).endsWith('\r\n\r\nbye'))
  t.deepEqual(errors, [])
})

test('many servers of a process hear a signal by one handler', async (t) => {
  const before = process.listenerCount('SIGTERM')
  const servers = await Promise.all(Array.from({ length: 3 }, () => serve({ port: 0, ioThreads: 1 }, () => ({}))))
  t.is(process.listenerCount('SIGTERM'), before + 1)
  await servers[0]!.close()
  t.is(process.listenerCount('SIGTERM'), before + 1)
  process.emit('SIGTERM')
  await Promise.all(servers.map(({ finished }) => finished))
  await soon(() => process.listenerCount('SIGTERM') === before)
})

test('concurrency: uploads that wait for their turn do not keep the window from those that are read', async (t) => {
  // Bodies of requests that were not pulled fill the connection's window several times over.
  const { port } = await scene(t, async ({ body }) => ({ body: `${(await body!.bytes()).length}` }), { concurrency: 2 })
  const client = h2Client(port)
  t.teardown(() => client.close())
  const replies = await Promise.all(Array.from({ length: 60 }, () => client.fetch({ method: 'POST', body: Buffer.alloc(100_000) })))
  t.deepEqual(replies.map(({ text }) => text), Array(60).fill('100000'))
})

test('a client that goes is no error', async (t) => {
  const errors: unknown[] = []
  let started = () => {}
  const running = new Promise<void>((resolve) => (started = resolve))
  const handler: Handler = async (request) => {
    started()
    await new Promise((resolve) => request.signal.addEventListener('abort', resolve))
    return { body: 'nobody hears it' }
  }
  const { server, port } = await scene(t, handler, { onError: (error) => errors.push(error) })
  const client = await RawClient.connect(port)
  await client.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n')
  await running
  client.reset()
  await soon(() => server.listener.stats().responsesFailed === 1)
  await server.close()
  await server.finished
  for (const error of errors) t.is((error as { side?: string }).side, 'peer')
})

test('concurrency: no more are pulled', async (t) => {
  let running = 0
  let most = 0
  const gates: Array<() => void> = []
  const handler: Handler = async () => {
    most = Math.max(most, ++running)
    await new Promise<void>((resolve) => gates.push(resolve))
    running--
    return {}
  }
  const { port } = await scene(t, handler, { concurrency: 3 })
  const client = h1Client(port)
  t.teardown(() => client.close())
  let done = 0
  const replies = Promise.all(Array.from({ length: 10 }, () => client.fetch().then(() => done++)))
  while (done < 10) {
    await soon(() => gates.length > 0 || done === 10)
    gates.shift()?.()
  }
  await replies
  t.is(most, 3)
})

test('drain finishes what runs, and says so in finished', async (t) => {
  const gates: Array<() => void> = []
  const handler: Handler = async () => {
    await new Promise<void>((resolve) => gates.push(resolve))
    return { body: 'finished' }
  }
  const { server, port } = await scene(t, handler)
  const client = h1Client(port)
  t.teardown(() => client.close())
  const reply = client.fetch()
  await soon(() => gates.length === 1)
  const drained = server.drain()
  gates[0]!()
  t.is((await reply).text, 'finished')
  t.like(await drained, { completed: 1, aborted: 0 })
  t.like(await server.finished, { completed: 1, aborted: 0 })
})

test.serial('a tunnel has the deadline that the drain was given', async (t) => {
  const { server, port } = await scene(t, async ({ stream, key }) => {
    const tunnel = await stream.upgrade(key)
    tunnel.pipe(tunnel)
  })
  const client = await RawClient.connect(port)
  await client.write('GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n')
  await client.until('\r\n\r\n')
  mock.timers.enable({ apis: ['setTimeout'] })
  t.teardown(() => mock.timers.reset())
  const drained = server.drain({ deadlineMs: 50_000 })
  const echo = async () => {
    await client.write('x')
    await client.until('x')
  }
  await echo()
  mock.timers.tick(49_999)
  await echo()
  mock.timers.tick(1)
  t.like(await drained, { completed: 0, aborted: 1 })
})

test('close ends at once', async (t) => {
  const { server, port } = await scene(t, (request) => new Promise((resolve) => request.signal.addEventListener('abort', () => resolve({}))), { onError: () => {} })
  const client = await RawClient.connect(port)
  await client.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n')
  await soon(() => server.listener.stats().requestsInFlight === 1)
  await server.close()
  await client.ended
  t.is((await server.finished).completed, 0)
})

test('what is no number of requests is refused, whichever option says it', async (t) => {
  for (const wrong of ['5' as never, 0, 1.5, NaN, null as never]) {
    await rejected(t, serve({ port: 0, limits: { requestsInFlight: wrong } }, () => ({})), 'ERR_INVALID_OPTION')
    await rejected(t, serve({ port: 0, limits: { requestsInFlight: wrong }, concurrency: 1 }, () => ({})), 'ERR_INVALID_OPTION')
    await rejected(t, serve({ port: 0, concurrency: wrong }, () => ({})), 'ERR_INVALID_OPTION')
  }
})

test('a misspelt option is named', async (t) => {
  const error = await rejected(t, serve({ port: 0, concurency: 1 } as ServeOptions, () => ({})), 'ERR_INVALID_OPTION')
  t.true(error.message.includes('concurency'))
})

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  test(`${signal} drains, and the process ends by itself with 0`, async (t) => {
    const child = program(t, '__test__/_serve-program.ts')
    const port = await portPrinted(child)
    const client = await RawClient.connect(port)
    await client.write('GET /slow HTTP/1.1\r\nhost: a\r\n\r\n')
    await child.printed(/handling/)
    child.child.kill(signal)
    await child.printed(/draining/)
    const response = await client.response()
    t.is(response.body.toString(), 'answered while draining')
    t.is(response.get('connection'), 'close')
    const { code, stdout } = await child.ended
    t.is(code, 0)
    t.regex(stdout, /completed 1, aborted 0/)
  })
}

test('the second signal closes', async (t) => {
  const child = program(t, '__test__/_serve-program.ts')
  const port = await portPrinted(child)
  const client = await RawClient.connect(port)
  await client.write('GET /never HTTP/1.1\r\nhost: a\r\n\r\n')
  await child.printed(/handling/)
  child.child.kill('SIGTERM')
  await child.printed(/draining/)
  child.child.kill('SIGTERM')
  await client.ended
  t.is(client.pending, '')
  t.is((await child.ended).code, 0)
})
