// One client interface over node:http and node:http2, for what both protocols promise alike.
import { once } from 'node:events'
import http from 'node:http'
import http2 from 'node:http2'
import type { Readable } from 'node:stream'

export type Fields = Record<string, string | string[]>

export interface Ask {
  method?: string
  path?: string
  headers?: Fields
  body?: string | Uint8Array
  trailers?: Record<string, string>
}

export interface Reply {
  status: number
  headers: Fields
  /** Paused until it is read. */
  body: Readable
  /** Complete after the body's end. */
  trailers(): Fields
}

export interface Exchange {
  readonly reply: Promise<Reply>
  /** The 1xx responses so far. */
  readonly informational: Array<{ status: number; headers: Fields }>
  write(chunk: string | Uint8Array): Promise<void>
  end(trailers?: Record<string, string>): void
  /** Leave without waiting for the answer: RST, of the connection on h1 and of the stream on h2. */
  abort(): void
}

export interface Whole {
  status: number
  headers: Fields
  body: Buffer
  text: string
  trailers: Fields
  informational: Exchange['informational']
}

export interface TestClient {
  /** An exchange whose request body is written piece by piece. */
  open(ask: Omit<Ask, 'body' | 'trailers'>): Exchange
  /** An exchange from end to end. */
  fetch(ask?: Ask): Promise<Whole>
  close(): void
}

export function h1Client(port: number, maxSockets = Number.POSITIVE_INFINITY): TestClient {
  const agent = new http.Agent({ keepAlive: true, maxSockets, scheduling: 'fifo' })
  const start = (ask: Ask, whole: boolean): Exchange => {
    const headers: Record<string, string | string[] | number> = { ...ask.headers }
    if (whole && ask.body !== undefined && !ask.trailers) headers['content-length'] = Buffer.byteLength(ask.body)
    const request = http.request({ host: '127.0.0.1', port, agent, method: ask.method ?? 'GET', path: ask.path ?? '/', headers })
    if (!whole) request.flushHeaders()
    const informational: Exchange['informational'] = []
    request.on('information', (info) => informational.push({ status: info.statusCode, headers: info.headers as Fields }))
    const reply = once(request, 'response').then(([response]: http.IncomingMessage[]) => {
      response!.on('error', () => {}) // told by whoever reads it
      return { status: response!.statusCode!, headers: response!.headers as Fields, body: response!, trailers: () => response!.trailers as Fields }
    })
    reply.catch(() => {}) // told by whoever awaits it
    request.on('error', () => {}) // once() has told it
    return {
      reply,
      informational,
      write: (chunk) => new Promise((resolve, reject) => request.write(chunk, (error) => (error ? reject(error) : resolve()))),
      end: (trailers) => {
        if (trailers) request.addTrailers(trailers)
        request.end()
      },
      abort: () => void request.socket?.resetAndDestroy(),
    }
  }
  return { open: (ask) => start(ask, false), fetch: (ask = {}) => whole(start(ask, true), ask), close: () => agent.destroy() }
}

export function h2Client(port: number): TestClient & { readonly session: http2.ClientHttp2Session } {
  // Its memory limit counts what waits to be written, and resets streams over it.
  const session = http2.connect(`http://127.0.0.1:${port}`, { maxSessionMemory: 1000 })
  session.on('error', () => {}) // the streams tell it
  const start = (ask: Ask, whole: boolean): Exchange => {
    const { host, ...headers } = ask.headers ?? {}
    const head = { ':method': ask.method ?? 'GET', ':path': ask.path ?? '/', ...(host ? { ':authority': host } : {}), ...headers }
    const bodiless = whole && ask.body === undefined && !ask.trailers
    const stream = session.request(head as http2.OutgoingHttpHeaders, { endStream: bodiless, waitForTrailers: true })
    let trailersToSend: Record<string, string> = {}
    let trailers: Fields = {}
    stream.on('wantTrailers', () => stream.sendTrailers(trailersToSend))
    stream.on('trailers', (fields) => {
      trailers = clean(fields)
    })
    stream.on('error', () => {}) // told by whoever awaits the reply or reads it
    const informational: Exchange['informational'] = []
    stream.on('headers', (fields) => informational.push({ status: fields[':status']!, headers: clean(fields) }))
    const reply = new Promise<Reply>((resolve, reject) => {
      stream.once('response', (fields) => {
        resolve({ status: fields[':status']!, headers: clean(fields), body: stream, trailers: () => trailers })
      })
      stream.once('close', () => reject(new Error(`the stream closed with code ${stream.rstCode}`)))
      stream.once('error', reject)
    })
    reply.catch(() => {}) // told by whoever awaits it
    return {
      reply,
      informational,
      write: (chunk) => new Promise((resolve, reject) => stream.write(chunk, (error) => (error ? reject(error) : resolve()))),
      end: (fields) => {
        trailersToSend = fields ?? {}
        stream.end()
      },
      abort: () => stream.close(http2.constants.NGHTTP2_CANCEL),
    }
  }
  return { session, open: (ask) => start(ask, false), fetch: (ask = {}) => whole(start(ask, true), ask), close: () => session.destroy() }
}

function whole(exchange: Exchange, ask: Ask): Promise<Whole> {
  const reply = read(exchange, ask)
  reply.catch(() => {}) // told by whoever awaits it
  return reply
}

async function read(exchange: Exchange, ask: Ask): Promise<Whole> {
  if (ask.body !== undefined) exchange.write(ask.body).catch(() => {}) // an early answer may cut it short
  exchange.end(ask.trailers)
  const reply = await exchange.reply
  const body = await drainBody(reply.body)
  const { status, headers } = reply
  return { status, headers, body, text: body.toString(), trailers: reply.trailers(), informational: exchange.informational }
}

/** The whole of a body; rejects when it breaks off. */
export async function drainBody(body: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of body) chunks.push(chunk)
  return Buffer.concat(chunks)
}

function clean(fields: http2.IncomingHttpHeaders): Fields {
  return Object.fromEntries(Object.entries(fields).filter(([name]) => !name.startsWith(':'))) as Fields
}
