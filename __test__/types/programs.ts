// Checked by `npm run check:types`, never run: programs as users write them, over every public name.

import {
  type Connection,
  type DrainOptions,
  type DrainReport,
  type IncomingRequest,
  type ListenOptions,
  type Listener,
  type OutgoingResponse,
  type PreparedHead,
  PullError,
  type RequestKey,
  type ResponseWriter,
  type Sent,
  type Server,
  type Stream,
  type UpgradedStream,
  listen,
  prepareHead,
  serve,
} from '../../index.js'

/** The loop of hyper issue #2901, nothing spawned. */
export async function loop(): Promise<void> {
  const listener: Listener = await listen({ port: 0, readAhead: { connections: 0, requests: 0 } })
  for await (const connection of listener) {
    for await (const stream of connection) {
      for await (const request of stream) {
        if (request.upgrade !== null) {
          const socket: UpgradedStream = await stream.upgrade(request.key)
          socket.pipe(socket)
          break
        }
        const sent: Sent = await stream.send(request.key, await respond(request))
        console.log(request.method, request.target, sent.sentAt - sent.receivedAt, sent.bytes)
      }
    }
  }
}

async function respond(request: IncomingRequest): Promise<OutgoingResponse> {
  const accept: string | null = request.headers.get('accept')
  const entries: [string, string][] = [...request.headers]
  const { urgency, incremental } = request.priority
  if (request.body === null) return { status: 200, headers: { accept: accept ?? '*/*', urgency, incremental: String(incremental) } }
  const trailers = await request.body.trailers
  return { body: request.body, headers: entries, trailers: { 'x-fields': trailers?.size ?? 0 } }
}

export async function bodies(stream: Stream, key: RequestKey, text: AsyncIterable<string>): Promise<void> {
  const head: PreparedHead = prepareHead({ 'content-type': 'text/plain', link: ['</a>', '</b>'] })
  await stream.send(key, { headers: head, body: 'text' })
  await stream.send(key, { body: new Uint8Array(1) })
  await stream.send(key, { body: new ArrayBuffer(1) })
  await stream.send(key, { body: new Blob(['blob']) })
  await stream.send(key, { body: { file: '/etc/hosts', start: 0, end: 9 } })
  await stream.send(key, { body: new ReadableStream<Uint8Array>() })
  await stream.send(key, { body: text, trailers: async () => new Map([['x-sum', '1']]) })
  await stream.send(key, { body: ['a', new Uint8Array(1)], headers: new Headers() })
  await stream.send(key, { body: null, headers: [['a', 'b']] })
  await stream.send(key, new Response('web'))
  await stream.inform(key, 103, { link: '</style.css>; rel=preload' })
  const writer: ResponseWriter = stream.start(key, { status: 200 })
  await writer.write('chunk')
  await writer.write(Buffer.from('chunk'))
  await writer.flush()
  await writer.finish({ 'x-sum': '1' })
  writer.abort(new Error('enough'))
  stream.reset('enhance-your-calm')
  await stream.drain()
}

export async function reads(request: IncomingRequest): Promise<unknown> {
  const body = request.body!
  for await (const chunk of body) chunk.byteLength
  const chunk: Uint8Array | null = await body.nextChunk()
  await body.discard(1024)
  body.toNode().resume()
  await new Response(body.toWeb()).text()
  const value = await body.json<{ a: number }>()
  const web: Request = request.toWeb()
  request.signal.addEventListener('abort', () => console.log(web.url, chunk))
  return [value.a, await body.text(), await body.bytes(10), body.length, request.httpVersion, request.authority, request.scheme]
}

export async function ends(listener: Listener, connection: Connection): Promise<DrainReport> {
  await using _disposed = listener.unref().ref()
  const address = 'path' in listener.address ? listener.address.path : `${listener.address.host}:${listener.address.port}`
  const reason = await connection.closed
  const remote = 'host' in connection.remote ? connection.remote.host : connection.remote.path
  console.log(address, remote, reason.code, reason.side, connection.tls?.cipher, listener.stats().refused['bad-request'])
  await connection.drain({ deadlineMs: 10, signal: AbortSignal.timeout(5) })
  connection.close()
  return listener.drain()
}

export async function server(): Promise<void> {
  const running: Server = await serve(
    { port: 8080, concurrency: 100, signals: false, onError: (error, request) => console.error(request?.target, error) },
    async (request) => ({
      body: request.path,
    }),
  )
  await serve({ path: '/run/app.sock', limits: { bodyBytes: 1 }, timeouts: { headers: 0 } }, () => new Response('web'))
  await running.drain()
  const report: DrainReport = await running.finished
  if (report.aborted > 0) throw new PullError('ERR_CLOSED', 'some were cut')
}

/** Under `exactOptionalPropertyTypes`: what may be left out may also be undefined, as a value that somebody else may not have set is. */
export async function unset(stream: Stream, key: RequestKey, unset: undefined): Promise<void> {
  const drain: Required<DrainOptions> = { deadlineMs: unset, signal: unset }
  const options: Required<ListenOptions> = {
    port: unset,
    host: unset,
    path: unset,
    fd: unset,
    backlog: unset,
    reusePort: unset,
    ioThreads: unset,
    protocols: unset,
    tls: unset,
    proxyProtocol: unset,
    readAhead: { connections: unset, requests: unset },
    limits: { headerBytes: unset },
    timeouts: { headers: unset },
    extendedConnect: unset,
    halfClose: unset,
    signal: unset,
  }
  await listen({ ...options, readAhead: unset, limits: unset, timeouts: unset })
  const running = await serve({ ...options, concurrency: unset, signals: unset, onError: unset }, () => ({ body: unset }))
  await running.drain(drain)
  const response: Required<OutgoingResponse> = { status: unset, headers: unset, body: { file: '/etc/hosts', start: unset, end: unset }, trailers: unset }
  await stream.send(key, response)
}

/** The last of a class hierarchy that callers may tell apart. */
export function faults(error: unknown): string {
  if (!(error instanceof PullError)) return 'not ours'
  const side: 'peer' | 'local' | 'io' = error.side
  return `${error.code} ${side} ${error.status ?? 500}`
}
