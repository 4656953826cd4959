// The clients that people use.
import { once } from 'node:events'
import http2 from 'node:http2'
import test from 'ava'
import type { ExecutionContext } from 'ava'
import { Agent, fetch as undiciFetch, Pool } from 'undici'
import type { IncomingRequest } from '../index.js'
import { tool } from './_process.js'
import { answer, open, portOf, soon } from './_server.js'

async function scene(t: ExecutionContext) {
  const listener = await open(t)
  void answer(listener, async (request, stream) => {
    const { method, target, httpVersion } = request
    const body = JSON.stringify({ method, target, httpVersion, body: await request.body?.text(), userAgent: userAgent(request) })
    await stream.send(request.key, { headers: { 'content-type': 'application/json' }, body })
  })
  return { listener, url: `http://127.0.0.1:${portOf(listener)}` }
}

const userAgent = (request: IncomingRequest) => request.headers.get('user-agent')?.split('/')[0]

for (const [flag, httpVersion] of [
  ['--http1.1', '1.1'],
  ['--http1.0', '1.0'],
  ['--http2-prior-knowledge', '2.0'],
  ['--http2', '1.1'], // offers Upgrade: h2c, which is not taken
] as const) {
  test(`curl ${flag}`, async (t) => {
    const { url } = await scene(t)
    const told = (method: string, target: string, body?: string) => ({ method, target, httpVersion, ...(body ? { body } : {}), userAgent: 'curl' })
    // curl 7.88 cannot use a connection again that it has opened with prior knowledge, whoever the server is.
    const targets = flag === '--http2-prior-knowledge' ? ['/a?b'] : ['/a?b', '/c']
    const get = await tool('curl', ['-sS', flag, ...targets.map((target) => url + target)])
    t.is(get.code, 0, get.stderr)
    t.is(get.stdout, targets.map((target) => JSON.stringify(told('GET', target))).join(''))
    const post = await tool('curl', ['-sS', flag, '-d', 'form=data', url])
    t.deepEqual(JSON.parse(post.stdout), told('POST', '/', 'form=data'))
    const head = await tool('curl', ['-sS', flag, '-I', url])
    t.regex(head.stdout, /^HTTP\/[0-9.]+ 200/)
    t.regex(head.stdout, /content-length: \d+/i)
  })
}

test('curl sends many requests over one connection', async (t) => {
  const { listener, url } = await scene(t)
  const { code, stderr } = await tool('curl', ['-sS', `${url}/[1-500]`])
  t.is(code, 0, stderr)
  await soon(() => listener.stats().responsesSent === 500)
  t.is(listener.stats().connectionsTotal, 1)
})

test('fetch of Node', async (t) => {
  const { url } = await scene(t)
  const replies = await Promise.all(
    Array.from({ length: 100 }, async (_, i) => {
      const response = await fetch(`${url}/${i}`, { method: 'POST', body: `body ${i}` })
      return (await response.json()) as { target: string; body: string }
    }),
  )
  t.deepEqual(replies.map(({ target, body }) => `${target} ${body}`), Array.from({ length: 100 }, (_, i) => `/${i} body ${i}`))
})

test('undici with pipelining', async (t) => {
  const { listener, url } = await scene(t)
  const pool = new Pool(url, { connections: 4, pipelining: 10 })
  t.teardown(() => pool.destroy())
  const replies = await Promise.all(
    Array.from({ length: 400 }, async (_, i) => {
      const { body } = await pool.request({ method: 'GET', path: `/${i}` })
      return ((await body.json()) as { target: string }).target
    }),
  )
  t.deepEqual(replies, Array.from({ length: 400 }, (_, i) => `/${i}`))
  t.true(listener.stats().connectionsTotal <= 4)
})

test('undici fetch with a streamed body', async (t) => {
  const { url } = await scene(t)
  const dispatcher = new Agent()
  t.teardown(() => dispatcher.destroy())
  const body = new ReadableStream({
    start(controller) {
      for (const text of ['piece ', 'by ', 'piece']) controller.enqueue(new TextEncoder().encode(text))
      controller.close()
    },
  })
  const response = await undiciFetch(url, { method: 'PUT', body, duplex: 'half', dispatcher })
  t.is(((await response.json()) as { body: string }).body, 'piece by piece')
})

test('node:http2 with 100 streams on one connection', async (t) => {
  const { listener, url } = await scene(t)
  const session = http2.connect(url)
  t.teardown(() => session.destroy())
  for (let round = 0; round < 5; round++) {
    const replies = await Promise.all(
      Array.from({ length: 100 }, async (_, i) => {
        const stream = session.request({ ':method': 'POST', ':path': `/${i}` })
        stream.end(`body ${i}`)
        let text = ''
        for await (const chunk of stream) text += chunk
        return JSON.parse(text) as { target: string; body: string; httpVersion: string }
      }),
    )
    t.deepEqual(replies.map(({ target, body }) => `${target} ${body}`), Array.from({ length: 100 }, (_, i) => `/${i} body ${i}`))
    t.is(replies[0]!.httpVersion, '2.0')
  }
  t.is(listener.stats().connectionsTotal, 1)
  session.close()
  await once(session, 'close')
})

test('h2load finds no fault', async (t) => {
  const { url } = await scene(t)
  for (const flags of [['--h1', '-c', '16'], ['-c', '4', '-m', '32']]) {
    const { code, stdout, stderr } = await tool('h2load', ['-n', '5000', ...flags, url])
    t.is(code, 0, stderr)
    t.regex(stdout, /5000 succeeded, 0 failed, 0 errored, 0 timeout/)
    t.regex(stdout, /status codes: 5000 2xx, 0 3xx, 0 4xx, 0 5xx/)
  }
})
