// A browser, and the page _browser.html in it: fetch, forms, streams, server-sent events, WebSocket.
import { createHash } from 'node:crypto'
import { EventEmitter, once } from 'node:events'
import { accessSync, constants, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import type { IncomingMessage } from 'node:http'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import test from 'ava'
import { WebSocketServer } from 'ws'
import type { IncomingRequest, Stream } from '../index.js'
import { command } from './_process.js'
import { answer, must, open, portOf } from './_server.js'

const FLAGS = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking']
const page = readFileSync(new URL('_browser.html', import.meta.url))
const wss = new WebSocketServer({ noServer: true })

const browser = ['chromium', 'chromium-browser', 'google-chrome']
  .flatMap((name) => (process.env.PATH ?? '').split(delimiter).map((directory) => join(directory, name)))
  .find((path) => {
    try {
      accessSync(path, constants.X_OK)
      return true
    } catch {
      return false
    }
  })

// Who has none may go without; .ci/run installs one.
const run = browser === undefined && process.env.CI === undefined ? test.skip : test

run('all that a page does with its server works in a browser', async (t) => {
  t.timeout(120_000)
  const listener = await open(t)
  const profile = mkdtempSync(join(tmpdir(), 'hyperpull-'))
  const events = new EventEmitter()
  const aborted = once(events, 'aborted')
  const report = once(events, 'report') as Promise<[Array<[name: string, passed: boolean | string]>]>

  /** Says `text` over and over, until the client leaves. */
  const repeat = async (stream: Stream, { key, signal }: IncomingRequest, type: string, text: (count: number) => string) => {
    const writer = stream.start(key, { headers: { 'content-type': type } })
    for (let count = 1; !signal.aborted; count++) {
      await writer.write(text(count))
      await writer.flush()
    }
  }

  const serving = answer(listener, async (request, stream) => {
    const { key, method, path, headers, body } = request
    switch (path) {
      case '/':
        return stream.send(key, { headers: { 'content-type': 'text/html' }, body: page })
      case '/hello':
        return stream.send(key, { headers: { 'content-length': 5 }, body: 'hello' })
      case '/nothing':
        return stream.send(key, { status: 204 })
      case '/echo':
        return stream.send(key, { body: must(body) })
      case '/length':
        return stream.send(key, { body: `${(await must(body).bytes()).length}` })
      case '/ticks':
        request.signal.addEventListener('abort', () => events.emit('aborted'))
        return repeat(stream, request, 'text/plain', () => 'tick\n')
      case '/aborted':
        await aborted
        return stream.send(key, { body: 'aborted' })
      case '/events':
        return repeat(stream, request, 'text/event-stream', (count) => `data: ${count}\n\n`)
      case '/socket': {
        const digest = createHash('sha1').update(`${headers.get('sec-websocket-key')}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
        const tunnel = await stream.upgrade(key, { headers: { 'sec-websocket-accept': digest } })
        // ws writes a 101 of its own first.
        const { write } = tunnel
        tunnel.write = () => {
          tunnel.write = write
          return true
        }
        const handshake = { method, headers: headers.toObject() } as IncomingMessage
        return wss.handleUpgrade(handshake, tunnel, Buffer.alloc(0), (socket) => socket.on('message', (data, binary) => socket.send(data, { binary })))
      }
      case '/report':
        events.emit('report', await must(body).json())
        return stream.send(key, {})
      default:
        return stream.send(key, { status: 404 })
    }
  })

  const { child, ended } = command(t, browser ?? 'chromium', [...FLAGS, `--user-data-dir=${profile}`, '--remote-debugging-port=0', `http://127.0.0.1:${portOf(listener)}/`])
  const failed = ended.then(({ stderr }) => Promise.reject(new Error(`the browser has ended: ${stderr}`)))
  const [found] = await Promise.race([report, failed])
  failed.catch(() => {})
  t.is(found.length, 9)
  for (const [name, passed] of found) t.is(passed, true, name)
  const exit = once(child, 'exit')
  child.kill()
  await exit
  rmSync(profile, { recursive: true, force: true, maxRetries: 5 })
  await listener.close()
  await serving
})
