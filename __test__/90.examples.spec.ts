// Each example, as a reader would try it: started, talked to, and stopped by SIGTERM.
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import type { ExecutionContext } from 'ava'
import { WebSocket } from 'ws'
import { h1Client, h2Client } from './_client.js'
import { command, portPrinted, program, root, tool } from './_process.js'
import { RawClient } from './_raw.js'
import { soon } from './_server.js'

async function example(t: ExecutionContext, name: string, env: Record<string, string> = {}) {
  t.timeout(60_000)
  const child = program(t, `examples/${name}.ts`, { PORT: '0', ...env })
  const port = await portPrinted(child)
  const h1 = h1Client(port)
  t.teardown(() => h1.close())
  /** SIGTERM, and the end it must come to. */
  const stop = async () => {
    child.child.kill('SIGTERM')
    const { code, signal, stderr } = await child.ended
    t.is(signal, null)
    t.is(code, 0, stderr)
    t.is(stderr, '')
  }
  return { child, port, url: `http://127.0.0.1:${port}`, h1, stop }
}

test('there are ten, none longer than 60 lines, and each has a test here', (t) => {
  const names = readdirSync(join(root, 'examples')).filter((name) => name.endsWith('.ts'))
  t.is(names.length, 10)
  const own = readFileSync(join(root, '__test__/90.examples.spec.ts'), 'utf8')
  for (const name of names) {
    t.true(readFileSync(join(root, 'examples', name), 'utf8').split('\n').length <= 61, name)
    t.true(own.includes(`example(t, '${name.slice(0, -3)}'`), name)
  }
})

for (const name of readdirSync(join(root, 'examples')).filter((file) => file.endsWith('.ts'))) {
  test(`${name} outlives clients that break the protocol or leave`, async (t) => {
    const { port } = await example(t, name.slice(0, -3), { COST: '1', INTERVAL: '1', DIRECTORY: tmpdir() })
    const preface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'
    const bad = [preface + '\0\0\0\x04\0\0\0\0\0' + '\0\0\x01\x04\0\0\0\0\0\0', 'rubbish\r\n\r\n', 'POST /x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nrubbish\r\n']
    for (const bytes of bad) {
      const client = await RawClient.connect(port)
      const heard = once(client.socket, 'data').catch(() => {})
      await client.write(bytes)
      await Promise.race([client.ended, heard])
      client.reset()
    }
    for (const request of ['GET', 'PUT']) {
      const client = await RawClient.connect(port)
      await client.write(`${request} /x?10000000 HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n`)
      client.reset()
      await client.ended
    }
    const alive = await RawClient.connect(port)
    await alive.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n')
    t.regex(await alive.until('\r\n\r\n'), /^HTTP\/1\.1 (103|200|400|426) /)
  })
}

test('hello', async (t) => {
  const { url, h1, stop } = await example(t, 'hello')
  t.is((await h1.fetch()).text, 'Hello, World!\n')
  const { stdout } = await tool('curl', ['-sS', '--http2-prior-knowledge', url])
  t.is(stdout, 'Hello, World!\n')
  await stop()
})

test('echo', async (t) => {
  const { url, h1, stop } = await example(t, 'echo')
  const content = randomBytes(5_000_000)
  const reply = await h1.fetch({ method: 'PUT', headers: { 'content-type': 'image/x-test' }, body: content })
  t.true(reply.body.equals(content))
  t.is(reply.headers['content-type'], 'image/x-test')
  t.is((await h1.fetch()).text, '')
  t.is(await (await fetch(url, { method: 'POST', body: 'fetched' })).text(), 'fetched')
  await stop()
})

test('upload', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'hyperpull-'))
  t.teardown(() => rmSync(directory, { recursive: true }))
  const { url, port, h1, stop } = await example(t, 'upload', { DIRECTORY: directory })
  const content = randomBytes(20_000_000)
  const source = join(directory, 'source')
  writeFileSync(source, content)
  const { stdout } = await tool('curl', ['-sS', '-T', source, `${url}/copy`])
  t.deepEqual(JSON.parse(stdout), { bytes: content.length, sha256: createHash('sha256').update(content).digest('hex') })
  t.true(readFileSync(join(directory, 'copy')).equals(content))
  t.is((await h1.fetch({ method: 'GET', path: '/copy' })).status, 400)
  t.is((await h1.fetch({ method: 'PUT', path: '/a/../../..', body: 'x' })).status, 400)
  const broken = await RawClient.connect(port)
  await broken.write('PUT /half HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\nhalf of it')
  await soon(() => existsSync(join(directory, 'half')))
  broken.reset()
  await soon(() => !existsSync(join(directory, 'half')), 'the removal of half an upload')
  t.deepEqual(readdirSync(directory).sort(), ['copy', 'source'])
  await stop()
})

test('server-sent-events', async (t) => {
  const { port, stop } = await example(t, 'server-sent-events', { INTERVAL: '10' })
  const client = await RawClient.connect(port)
  await client.write('GET / HTTP/1.1\r\nhost: a\r\nlast-event-id: 41\r\n\r\n')
  t.regex(await client.until('\r\n\r\n'), /content-type: text\/event-stream/i)
  for (const id of [42, 43, 44]) t.true((await client.until('\n\n')).includes(`id: ${id}\ndata: 2`))
  const leaves = await RawClient.connect(port)
  await leaves.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n')
  await leaves.until('id: 1\n')
  leaves.reset()
  const stopped = stop()
  await client.until('event: end\ndata: bye\n\n')
  await stopped
})

test('trailers', async (t) => {
  const { h1, stop } = await example(t, 'trailers')
  const reply = await h1.fetch({ headers: { te: 'trailers' } })
  t.is(reply.text.split('\n').length, 1001)
  t.is(reply.trailers['x-sha256'], createHash('sha256').update(reply.body).digest('hex'))
  const headers = { trailer: 'x-sha256' }
  const right = createHash('sha256').update('content').digest('hex')
  t.is((await h1.fetch({ method: 'POST', headers, body: 'content', trailers: { 'x-sha256': right } })).status, 200)
  t.is((await h1.fetch({ method: 'POST', headers, body: 'broken', trailers: { 'x-sha256': right } })).status, 400)
  await stop()
})

test('early-hints', async (t) => {
  const { port, h1, stop } = await example(t, 'early-hints')
  const h2 = h2Client(port)
  for (const client of [h1, h2]) {
    const reply = await client.fetch()
    t.is(reply.informational[0]!.status, 103)
    t.is(reply.informational[0]!.headers.link, '</style.css>; rel=preload; as=style')
    t.true(reply.text.startsWith('<!doctype html>'))
    t.is((await client.fetch({ path: '/style.css' })).headers['content-type'], 'text/css')
  }
  const old = await RawClient.connect(port)
  await old.write('GET / HTTP/1.0\r\n\r\n')
  t.is((await old.response()).status, 200)
  h2.close()
  await stop()
})

test('websocket', async (t) => {
  const { url, h1, port, stop } = await example(t, 'websocket')
  const client = new WebSocket(url.replace('http', 'ws'), ['echo'])
  await once(client, 'open')
  const texts: string[] = []
  client.on('message', (data) => texts.push(String(data)))
  const sent = ['hello', 'žluťoučký kůň', 'x'.repeat(1_000_000), '']
  for (const text of sent) client.send(text)
  await soon(() => texts.length === sent.length)
  t.deepEqual(texts, sent)
  client.ping('are you there')
  t.is(String((await once(client, 'pong'))[0]), 'are you there')
  t.is((await h1.fetch()).status, 426)
  const other = new WebSocket(`ws://127.0.0.1:${port}`)
  await once(other, 'open')
  const goodbye = once(client, 'close')
  client.close(1000, 'done')
  t.is((await goodbye)[0], 1000)
  const told = once(other, 'close')
  const stopped = stop()
  t.is((await told)[0], 1001, 'going away')
  await stopped
})

test('priority-queue: the most urgent first, the batch last', async (t) => {
  const { port, stop } = await example(t, 'priority-queue', { WORKERS: '1', COST: '400' })
  const client = h2Client(port)
  const order: string[] = []
  const ask = (path: string, priority = 'u=3') => client.fetch({ path, headers: { priority } }).then(({ text }) => order.push(text))
  await Promise.all([ask('/first'), ask('/batch/1', 'u=0'), ask('/later', 'u=5'), ask('/batch/2'), ask('/now', 'u=0'), ask('/plain')])
  t.deepEqual(order, ['/first', '/now', '/plain', '/later', '/batch/1', '/batch/2'].map((path) => `${path} is done\n`))
  client.close()
  await stop()
})

test('priority-queue: at most so many in work', async (t) => {
  const { h1, stop } = await example(t, 'priority-queue', { WORKERS: '3', COST: '10' })
  const replies = await Promise.all(Array.from({ length: 30 }, (_, i) => h1.fetch({ path: `/${i}` })))
  t.is(Math.max(...replies.map(({ headers }) => Number(headers['x-working']))), 3)
  await stop()
})

test('shutdown: a connection and a stream', async (t) => {
  const { child, port, stop } = await example(t, 'shutdown')
  for (const level of ['connection', 'stream']) {
    const client = await RawClient.connect(port)
    await client.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n')
    t.is((await client.response()).get('connection'), undefined)
    await client.write(`GET /${level} HTTP/1.1\r\nhost: a\r\n\r\n`)
    const response = await client.response()
    t.is(response.body.toString(), `the last answer of this ${level}\n`)
    t.is(response.get('connection'), 'close')
    t.is(await client.ended, 'end')
  }
  await child.printed(/connection 1: drained\n[^]*connection 2: drained\n/)
  const h2 = h2Client(port)
  const goaway = once(h2.session, 'goaway')
  t.is((await h2.fetch({ path: '/stream' })).text, 'the last answer of this stream\n')
  t.is((await h2.fetch()).text, 'the last answer of this request\n', 'the other streams go on')
  const [reply] = await Promise.all([h2.fetch({ path: '/connection' }), goaway])
  t.is(reply.text, 'the last answer of this connection\n')
  await child.printed(/connection 3: drained\n/)
  await stop()
})

test('shutdown: the listener', async (t) => {
  const { child, port, stop } = await example(t, 'shutdown')
  const client = await RawClient.connect(port)
  await client.write('GET /slow?700 HTTP/1.1\r\nhost: a\r\n\r\n')
  await child.printed(/slow\n/)
  const stopped = stop()
  const response = await client.response()
  t.is(response.get('connection'), 'close')
  t.regex(response.body.toString(), /however long/)
  await stopped
  t.regex(child.stdout(), /draining\n[^]*completed 1, aborted 0\n/)
})

test('reply-time', async (t) => {
  const { child, h1, port, stop } = await example(t, 'reply-time')
  t.is((await h1.fetch({ path: '/?100000' })).body.length, 100_000)
  await child.printed(/GET \/\?100000: 100000 bytes, reply time \d+\.\d{3} ms\n/)
  const leaves = await RawClient.connect(port)
  await leaves.write('GET /?50000000 HTTP/1.1\r\nhost: a\r\n\r\n')
  await leaves.until('\r\n\r\n')
  leaves.reset()
  await child.printed(/GET \/\?50000000: not sent, PullError/)
  await stop()
})

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  test(`npm start, until ${signal}`, async (t) => {
    t.timeout(60_000)
    const child = command(t, 'npm', ['start'], { PORT: '0' })
    const port = await portPrinted(child)
    const { stdout } = await tool('curl', ['-sS', `http://127.0.0.1:${port}/path`])
    t.regex(stdout, /Hello, World!/)
    await child.printed(/GET \/path HTTP\/1\.1: reply time \d+\.\d{3} ms\n/)
    child.child.kill(signal)
    const { code, signal: killed } = await child.ended
    t.is(killed, null)
    t.is(code, 0)
    await t.throwsAsync(fetch(`http://127.0.0.1:${port}/`), undefined, 'and the server is gone')
  })
}

test('npm start on a port that is taken says so in a line', async (t) => {
  const { port } = await example(t, 'hello')
  const { code, stderr } = await command(t, process.execPath, ['scripts/start.js'], { PORT: `${port}` }).ended
  t.is(code, 1)
  // npm may have its own to say about its settings.
  const said = stderr.split('\n').filter((line) => line !== '' && !line.startsWith('npm warn'))
  t.is(said.length, 1, stderr)
  t.regex(said[0]!, new RegExp(`${port}.*in use`, 'i'))
})
