// Every request gets one answer, and it is its own: 100 000 of them, with delays and orders drawn at random.
import http from 'node:http'
import http2 from 'node:http2'
import { setImmediate, setTimeout } from 'node:timers/promises'
import test from 'ava'
import type { ExecutionContext } from 'ava'
import type { IncomingRequest, ListenOptions, Stream } from '../index.js'
import { answer, must, open, portOf, seeded, soon } from './_server.js'

const half = 50_000

/** A server that answers with the token of the request after a while, in one of several ways; counts each token. */
async function scene(t: ExecutionContext, seed: number, options: ListenOptions = {}) {
  t.timeout(120_000)
  const listener = await open(t, options)
  const random = seeded(seed)
  const seen = new Uint8Array(half)
  const handler = async (request: IncomingRequest, stream: Stream) => {
    const number = Number(request.path.slice(1))
    seen[number]!++
    const draw = random()
    if (draw < 0.3) await setImmediate()
    else if (draw < 0.35) await setTimeout(Math.floor(random() * 5))
    const token = `${request.target} ${must(request.headers.get('x-token'))}`
    const way = random()
    const headers = { 'x-token': number }
    if (way < 0.6) await stream.send(request.key, { headers, body: token })
    else if (way < 0.7) void stream.send(request.key, { headers, body: token })
    else if (way < 0.8) await stream.send(request.key, { headers, body: [token.slice(0, 3), token.slice(3)] })
    else if (way < 0.9) await stream.send(request.key, { headers, body: Buffer.from(token) })
    else {
      const writer = stream.start(request.key, { headers })
      void writer.write(token.slice(0, 3))
      void writer.write(token.slice(3))
      await writer.finish()
    }
  }
  void answer(listener, handler)
  return { listener, seen }
}

/** Runs `one` for each number, `width` at a time, and says for which the answer was not its own. */
async function all(width: number, one: (number: number) => Promise<string>): Promise<string[]> {
  const wrong: string[] = []
  let next = 0
  const worker = async () => {
    while (next < half) {
      const number = next++
      const text = await one(number).catch((error) => String(error))
      if (text !== `${number}: /${number} token-${number}`) wrong.push(`${number} got ${text}`)
    }
  }
  await Promise.all(Array.from({ length: width }, worker))
  return wrong
}

test.serial('h1: 50 000 requests over 64 connections', async (t) => {
  const { listener, seen } = await scene(t, 11)
  const agent = new http.Agent({ keepAlive: true, maxSockets: 64 })
  t.teardown(() => agent.destroy())
  const one = (number: number) =>
    new Promise<string>((resolve, reject) => {
      const request = http.get({ agent, host: '127.0.0.1', port: portOf(listener), path: `/${number}`, headers: { 'x-token': `token-${number}` } })
      request.on('error', reject).on('response', (response) => {
        let text = `${response.headers['x-token']}: `
        response.on('data', (chunk) => (text += chunk))
        response.on('end', () => resolve(text))
      })
    })
  t.deepEqual(await all(64, one), [])
  t.true(seen.every((count) => count === 1), 'each came up once')
  await soon(() => listener.stats().requestsInFlight === 0)
  t.like(listener.stats(), { requestsTotal: half, requestsInFlight: 0, responsesSent: half, responsesFailed: 0, connectionsTotal: 64 })
})

test.serial('h2: 50 000 requests over 8 connections of 32 streams', async (t) => {
  const { listener, seen } = await scene(t, 12, { ioThreads: 2 })
  const sessions = Array.from({ length: 8 }, () => http2.connect(`http://127.0.0.1:${portOf(listener)}`))
  t.teardown(() => sessions.forEach((session) => session.destroy()))
  const one = (number: number) =>
    new Promise<string>((resolve, reject) => {
      const stream = sessions[number % 8]!.request({ ':path': `/${number}`, 'x-token': `token-${number}` })
      let text = ''
      stream.on('response', (fields) => (text = `${fields['x-token']}: `))
      stream.on('data', (chunk) => (text += chunk))
      stream.on('end', () => resolve(text)).on('error', reject)
    })
  t.deepEqual(await all(256, one), [])
  t.true(seen.every((count) => count === 1), 'each came up once')
  await soon(() => listener.stats().requestsInFlight === 0)
  t.like(listener.stats(), { requestsTotal: half, requestsInFlight: 0, responsesSent: half, responsesFailed: 0, connectionsTotal: 8 })
})
