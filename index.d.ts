/**
 * hyperpull: a pull-mode HTTP/1.1 and HTTP/2 server.
 *
 *     listener -> connection -> stream -> request + key -> send(key, response)
 *
 * - What is not pulled is not read: each layer is a pull, so the caller owns the flow control.
 * - HTTP/1.1: a connection yields exactly one stream, and the stream yields request after request.
 * - HTTP/2: a connection yields many streams, and each stream yields one request.
 * - `send` resolves when the response HAS BEEN SENT: the kernel took its last byte.
 * - Nothing runs behind the caller's back: to "spawn" is not to await.
 *
 * Three rules hold for every promise of this file.
 * - A rejection is a {@link PullError}, except where a body source, a file or a callback of the caller's own failed: then it is that error.
 * - Not awaiting a promise, or no longer looking at it, cancels nothing. `reset`, `close` and `drain` end things.
 * - What fails because the PEER left, the transport broke or this side closed is told to those who look (`await`, `catch`) and is
 *   not an unhandled rejection for those who do not. A mistake of the caller (`side === 'local'`, other than ERR_CLOSED) stays loud.
 */

import type { Duplex, Readable } from 'node:stream'

// ---------------------------------------------------------------------------------------------- listener

/**
 * Binds, listens and starts the I/O threads.
 *
 * Rejects with ERR_INVALID_OPTION (an unknown option is named, with the nearest one that exists), ERR_ADDRESS_IN_USE,
 * ERR_IO (the host name does not resolve, no permission, ...) or ERR_CLOSED (`signal` was aborted already).
 */
export function listen(options: ListenOptions): Promise<Listener>

/** What {@link listen} is told. An option that is `undefined` has its default, here as in all other options. */
export interface ListenOptions {
  /** TCP port, 0 to 65535. Default 0, which picks a free one: see {@link Listener.address}. */
  port?: number | undefined
  /** Address or name to bind. Default '127.0.0.1'. '::' or '0.0.0.0' must be asked for. */
  host?: string | undefined
  /**
   * Unix-domain socket path, instead of host and port. A stale socket file is replaced; a live one is ERR_ADDRESS_IN_USE. Two that find the same
   * stale file at the same moment may both succeed, and one of them has no name: let one process bind a path.
   */
  path?: string | undefined
  /** An inherited listening socket. Not supported yet: ERR_INVALID_OPTION. */
  fd?: number | undefined
  /** Connections that the kernel holds before they are accepted, 1 to 65535. Default 511, as in node:net. The kernel may hold fewer. */
  backlog?: number | undefined
  /** SO_REUSEPORT, so that several workers or processes listen on one port: see docs/processes.md. Default false. */
  reusePort?: boolean | undefined
  /**
   * Native I/O threads behind this listener, 0 to 64; a connection stays on one of them. Default: 1 on up to 2 cores, else 2.
   *
   * With 0 the JavaScript thread reads, writes and keeps the timeouts itself, between its other work. Nothing crosses between threads:
   * a server whose own work is small, or that has one core, spends less CPU time on a request, and answers sooner. While JavaScript is busy
   * nothing is accepted, read, sent or timed out. Linux, macOS and BSD under Node.js; elsewhere ERR_INVALID_OPTION.
   */
  ioThreads?: number | undefined
  /** Default both, told apart by the HTTP/2 preface (prior knowledge, RFC 9113 section 3.3). */
  protocols?: ReadonlyArray<'http/1.1' | 'h2'> | undefined
  /** Not supported yet: ERR_INVALID_OPTION. Put a TLS proxy in front. */
  tls?: TlsOptions | undefined
  /** PROXY protocol. Only 'off', the default, is supported yet: else ERR_INVALID_OPTION. */
  proxyProtocol?: 'off' | 'accept' | 'require' | undefined
  /** How far the native side may run ahead of the pulls. */
  readAhead?: {
    /**
     * Connections not yet pulled, on each I/O thread, 0 to 65535. Default 64. With 0, each waiting `nextConnection` lets each I/O thread
     * accept one. Those that have not said yet which protocol they speak are not counted: `timeouts.handshake` is for them.
     */
    connections?: number | undefined
    /** Request heads read and not yet pulled, 0 or 1 per stream. Default 1, which hides the hand-over; 0 is strict. */
    requests?: number | undefined
  } | undefined
  /** Each limit has a default: see {@link Limits}. */
  limits?: { [Name in keyof Limits]?: Limits[Name] | undefined } | undefined
  /** Each timeout has a default: see {@link Timeouts}. */
  timeouts?: { [Name in keyof Timeouts]?: Timeouts[Name] | undefined } | undefined
  /** Extended CONNECT (RFC 8441), for WebSocket over HTTP/2. Default true. */
  extendedConnect?: boolean | undefined
  /**
   * HTTP/1.1: a client that has closed its sending side (FIN) behind its request still gets its answer. Default true. One that has gone
   * looks the same: browsers and most clients close both sides at once. So while an answer takes its time (a long poll, server-sent events, a query)
   * it is only seen by the bytes that it answers with a reset. With false a FIN ends the exchange at once: `signal` aborts, `send`
   * rejects with ERR_PEER_CLOSED, as node:http and hyper have it.
   */
  halfClose?: boolean | undefined
  /** Aborting it is `close()`. */
  signal?: AbortSignal | undefined
}

/**
 * Whole numbers. Over a limit there is a typed answer, never a crash. `Infinity` is no limit, where the range says so.
 */
export interface Limits {
  /**
   * Connections open at once, 1 to Infinity; over it none is accepted (they wait in the kernel's backlog). Default 65 536. Never more
   * than the process may have open files, less 256 for the rest of it (with few, half of them).
   */
  connections: number
  /**
   * Requests pulled and not yet answered, whole listener, 1 to Infinity; over it none is delivered. Default Infinity: it is the caller who
   * pulls. With a limit none is read ahead of the pulls: `readAhead.requests` is 0. A tunnel is answered.
   */
  requestsInFlight: number
  /**
   * Requests on one connection, 1 to Infinity, after which it ends: the last answer says `connection: close`; on h2 GOAWAY, and what the
   * client opens before it has heard of that is served, at most twice `concurrentStreams`. Default Infinity.
   */
  requestsPerConnection: number
  /** Bytes of an h1 head or an h2 header list, 1 024 to 1 048 576; over it 431. Default 16 384 (node:http 16 KiB, nginx 32 KiB). */
  headerBytes: number
  /** Fields in one head, 1 to 1 000; over it 431. Default 100 (Envoy 100). */
  headerCount: number
  /** Bytes of a request target, 1 to 65 534; over it 414. Default 8 192 (RFC 9112 section 3 asks for 8 000). */
  targetBytes: number
  /** Bytes of one request body, 0 to Infinity; over it ERR_BODY_TOO_LARGE, to be answered with 413. Default 134 217 728 (128 MiB). */
  bodyBytes: number
  /** Open streams on one h2 connection, 1 to 2 147 483 647. Default 128 (RFC 9113 section 6.5.2 advises 100 or more). */
  concurrentStreams: number
  /**
   * Request bytes read and not yet pulled, per connection, 65 536 to 2 147 483 647. Default 1 048 576. On HTTP/2 a stream may have a
   * sixteenth of it, and when bodies that nobody pulls have all of it, one that is waited for goes on beyond it: then it is a sixteenth
   * for each of the open streams, at most.
   */
  bufferedBytes: number
  /** Response bytes written and not yet sent, per connection, 1 to Infinity: over it `write` waits. Default 1 048 576. */
  pendingWriteBytes: number
}

/** Milliseconds, 0 to 2 147 483 647; 0 turns one off. */
export interface Timeouts {
  /** Protocol detection and the h2 preface with its SETTINGS, from accept. Default 10 000. */
  handshake: number
  /** From the first byte of a request head to its last; then 408 on h1, and the connection ends. Default 30 000. */
  headers: number
  /** Between request-body bytes, only while the caller is pulling; then ERR_BODY_TIMEOUT. Default 30 000. */
  bodyIdle: number
  /** Between exchanges. Default 65 000, over the 60 s of most load balancers. */
  keepAliveIdle: number
  /** No response byte taken by the peer, as far as the kernel shows (docs/limits.md); then ERR_WRITE_STALLED. Default 60 000. */
  writeStall: number
  /**
   * Age after which a connection ends, and no request with it: on HTTP/1.1 the next answer says `connection: close`, and an idle one has
   * what is left of `keepAliveIdle`; on h2 GOAWAY, and what the client opens before it has heard of that is served, at most twice
   * `limits.concurrentStreams`. Default 0.
   */
  connectionAge: number
  /** Period of h2 keep-alive pings. Default 30 000. */
  h2Ping: number
}

/** Not supported yet. */
export interface TlsOptions {
  /** PEM chain. */
  cert: string | Uint8Array
  /** PEM. */
  key: string | Uint8Array
  /** More identities by server name. */
  sni?: Record<string, { cert: string | Uint8Array; key: string | Uint8Array }> | undefined
  /** PEM roots for client certificates. */
  clientCa?: string | Uint8Array | undefined
  /** Whether a client certificate is asked for, and needed. */
  clientAuth?: 'none' | 'request' | 'require' | undefined
  /** The oldest version that is spoken. */
  minVersion?: 'TLSv1.2' | 'TLSv1.3' | undefined
}

/** Where one end of a connection is: TCP, or a Unix-domain socket (the path is empty when that end has none). */
export type Address = { host: string; port: number } | { path: string }

/**
 * A listening socket and its I/O threads. Made by {@link listen}. One that nobody keeps goes on until it is closed, as a server of
 * node:net does.
 */
export class Listener implements AsyncIterable<Connection> {
  /** The bound address, with the port that was picked. */
  readonly address: Address
  /**
   * The next accepted connection, or null once the listener drains or closes. Several may wait at once; they are served in order.
   * Rejects once, with ERR_IO, when the I/O loops have ended by a fault of this library; then null.
   */
  nextConnection(): Promise<Connection | null>
  [Symbol.asyncIterator](): AsyncIterator<Connection>
  /** Not supported yet: rejects with ERR_INVALID_OPTION. */
  updateTls(tls: TlsOptions): Promise<void>
  /**
   * Takes nothing new, lets what is in flight finish, closes idle connections; at the deadline aborts what is left.
   * Requests that were read and not pulled are answered 503 (h1) or refused (h2, REFUSED_STREAM), and counted as 'draining' in
   * {@link ListenerStats.refused}; connections that were not accepted yet are reset by the kernel. Resolves when the last
   * connection has ended and the I/O threads have stopped. Calling it again gives the same report; each call's deadline and
   * signal count. After `close()` it resolves at once with what had been counted.
   */
  drain(options?: DrainOptions): Promise<DrainReport>
  /** Ends everything now: pulls give null, answers under way reject with ERR_CLOSED. Resolves when the I/O threads have stopped. Idempotent. */
  close(): Promise<void>
  /** Counters since start. They are as of the last batch of events: reading them costs no crossing. */
  stats(): ListenerStats
  /** Keeps the process alive (the state after `listen`). */
  ref(): this
  /** Lets the process end although the listener is open. A drain or close under way keeps the process until it is done. */
  unref(): this
  /** `close()`. */
  [Symbol.asyncDispose](): Promise<void>
}

export interface DrainOptions {
  /** Milliseconds after which what is left is aborted, 0 to Infinity. Default 30 000. */
  deadlineMs?: number | undefined
  /** Aborting it is the deadline, now. */
  signal?: AbortSignal | undefined
}

export interface DrainReport {
  /** Exchanges whose response was sent after the drain began. */
  completed: number
  /** Exchanges that were pulled and ended, after the drain began, without their response having been sent. */
  aborted: number
  /** From the call of `drain` to the end, milliseconds. */
  elapsedMs: number
}

export interface ListenerStats {
  /** Accepted and not ended, whether or not they were pulled. */
  connectionsOpen: number
  /** Accepted since the start. */
  connectionsTotal: number
  /** Requests that have come up, be they pulled or not: what was refused before that is none of them. */
  requestsTotal: number
  /** Of those, the ones whose exchange is not over. */
  requestsInFlight: number
  /** Exchanges that have ended with their response sent. */
  responsesSent: number
  /** Exchanges that have ended without. */
  responsesFailed: number
  /** Bytes taken from the sockets. */
  bytesRead: number
  /** Bytes that the sockets took. */
  bytesWritten: number
  /**
   * What ended before a request reached the caller, by reason: 'bad-request' (400, on h2 also RST_STREAM PROTOCOL_ERROR), 'target-too-long'
   * (414), 'head-too-large' (431), 'method-too-long' (501), 'body-too-large' (413), 'unknown-coding' (501), 'version' (505),
   * 'too-many-streams' (REFUSED_STREAM), 'handshake-timeout', 'headers-timeout' (408 on h1), 'protocol-error' (GOAWAY), 'draining' (503,
   * REFUSED_STREAM).
   */
  refused: Readonly<Record<string, number>>
}

// ---------------------------------------------------------------------------------------------- connection

/** One accepted connection whose protocol is known. */
export class Connection implements AsyncIterable<Stream> {
  /** Counts up from 1 in each listener. */
  readonly id: number
  readonly protocol: 'http/1.1' | 'h2'
  /** The peer's end: whoever is connected, be it a proxy, whatever a header says. */
  readonly remote: Address
  /** This side's end: of a listener on all interfaces, the address that the peer has reached. */
  readonly local: Address
  /** null: TLS is not supported yet. */
  readonly tls: TlsInfo | null
  /**
   * The next stream, or null when the peer is done or the connection drains. On HTTP/1.1 the first pull gives the one stream
   * at once, the second waits for the end. Rejects once, and gives null from then on, when the peer broke HTTP/2 (ERR_PROTOCOL),
   * the transport failed (ERR_IO) or this library did (ERR_CLOSED). Any other end is null, that of a peer that leaves or that sent
   * an HTTP/1.1 head which was refused, too: `closed` tells.
   */
  nextStream(): Promise<Stream | null>
  [Symbol.asyncIterator](): AsyncIterator<Stream>
  /**
   * h1: `connection: close` on the answer in flight (RFC 9112 section 9.6), an idle one closes. h2: GOAWAY (RFC 9113 section 6.8),
   * then the streams in flight finish. Resolves when the connection has ended; at the deadline it is closed. It ends when the
   * client has closed its side behind the last answer, or 5 s after that: closed before, what the client still sends could cost it the answer.
   */
  drain(options?: DrainOptions): Promise<void>
  /** Ends it now: what is in flight rejects with ERR_CLOSED. Idempotent. */
  close(): void
  /** Resolves (never rejects) with why it ended. */
  readonly closed: Promise<CloseReason>
}

export interface TlsInfo {
  version: 'TLSv1.2' | 'TLSv1.3'
  cipher: string
  alpn: string | null
  serverName: string | null
  /** DER of the verified client certificate chain, leaf first. */
  peerCertificates: ReadonlyArray<Uint8Array>
}

/** Why a connection ended. */
export interface CloseReason {
  /**
   * 'peer-closed', 'peer-reset', 'drained', 'closed', 'exchange-ended', 'upgraded', 'bad-request', 'protocol-error', 'handshake-timeout',
   * 'headers-timeout', 'body-timeout', 'keep-alive-timeout', 'write-stalled', 'ping-timeout', 'io' or 'internal'.
   */
  code: string
  /** Who ended it. */
  side: 'peer' | 'local' | 'io'
  /** For people. */
  message: string
}

// ---------------------------------------------------------------------------------------------- stream

/** A sequence of exchanges: all those of an HTTP/1.1 connection, or the one of an HTTP/2 stream. */
export class Stream implements AsyncIterable<IncomingRequest> {
  /** 1 on HTTP/1.1, the stream identifier (RFC 9113 section 5.1.1) on HTTP/2. */
  readonly id: number
  readonly connection: Connection
  /**
   * The next request, or null when there will be none. Never rejects. One at a time: on HTTP/1.1 the next comes after the
   * last was answered. One that was read ahead is given without a crossing.
   */
  nextRequest(): Promise<IncomingRequest | null>
  [Symbol.asyncIterator](): AsyncIterator<IncomingRequest>

  /**
   * Answers the request that `key` names, and resolves when the response HAS BEEN SENT. Bytes must not be changed or detached until
   * then: of a long body (over 64 KiB on HTTP/2, over `limits.pendingWriteBytes` on HTTP/1.1) only what fits that limit is copied at a
   * time. Bytes that were detached reject with ERR_BODY_LENGTH_MISMATCH.
   *
   * - Date and, for a body of known length, Content-Length are added unless given.
   * - HEAD and 304: the body is not sent, its length is, if there is one or `content-length` is given (RFC 9110 section 9.3.2). Streamed
   *   sources are closed unread.
   * - 204 and 205 with a body that is not empty: ERR_BODY_LENGTH_MISMATCH. `content-length: 0` is left out of a 204 (RFC 9110 section 8.6).
   * - A streamed source (Blob, file, ReadableStream, iterable) is read as the peer takes it. If it throws, the exchange is reset and
   *   `send` rejects with that very error. If the peer leaves, the source is cancelled (`cancel`, `return`, `destroy`).
   * - A file that cannot be opened rejects with the error of node:fs; nothing was sent and the key is still good.
   * - Trailers go out on HTTP/2, and on HTTP/1.1 with chunked coding when the request said `TE: trailers` (RFC 9110 section 6.5.1), else
   *   they are left out. `send` names those given as an object in `trailer` (section 6.6.2); the names of those of a function or of
   *   `finish` only the caller can know.
   * - Of a Response `connection`, `keep-alive`, `proxy-connection`, `te`, `transfer-encoding` and `upgrade` are left out: they are of the
   *   connection that it came by, or of none (RFC 9110 section 7.6.1). One of a `fetch` has the fields of an encoding that was undone, too:
   *   make one of your own without `content-encoding` and `content-length`.
   * - It is handed over when the event of Node.js that it is called in is over, promises and `process.nextTick` with it: code that turns the event
   *   loop by itself inside of that event, to wait for the answer, waits for ever.
   *
   * Rejects, key still good and nothing sent: ERR_INVALID_HEADER, ERR_INVALID_STATUS, ERR_BODY_LENGTH_MISMATCH (an explicit
   * content-length that a complete body does not have). Rejects: ERR_KEY_USED, ERR_KEY_UNKNOWN, and for what happens on the way
   * ERR_PEER_CLOSED, ERR_PEER_RESET, ERR_WRITE_STALLED, ERR_PROTOCOL, ERR_IO, ERR_CLOSED, and ERR_BODY_LENGTH_MISMATCH (a streamed body; the exchange is reset).
   */
  send(key: RequestKey, response: OutgoingResponse | globalThis.Response): Promise<Sent>

  /**
   * Begins a response that is written piece by piece; the head is queued when it returns. Throws (it is not a promise) what
   * `send` rejects with, key still good.
   *
   * Who reads the request's body besides begins with that: behind the head a peer that waits for 100 Continue gets none, and on HTTP/1.1
   * the connection of a body that nobody has begun to read ends with the answer. `send` of the body, or of a stream made of it, sees to that.
   */
  start(key: RequestKey, head: ResponseHead): ResponseWriter

  /**
   * An interim response (RFC 9110 section 15.2), any number of them before the final one: 103 Early Hints, 102, or 100 to ask for
   * the body by hand (the first pull of the body asks by itself). Resolves when it is queued.
   * Rejects with ERR_INVALID_STATUS for 101, for anything but 1xx, and on HTTP/1.0, which has none (RFC 9110 section 15.2).
   */
  inform(key: RequestKey, status: number, headers?: HeadersLike): Promise<void>

  /**
   * Leaves HTTP on this stream: 101 on HTTP/1.1, 200 for CONNECT and extended CONNECT (RFC 9110 sections 7.8 and 9.3.6, RFC 8441).
   * Uses up the stream: `nextRequest` gives null from then on. `connection` is set by hyperpull. Where an HTTP/1.1 request asks for
   * several protocols, `headers: { upgrade }` of the head names the chosen one; default the first. One that was not asked for is
   * ERR_INVALID_HEADER.
   * Rejects with ERR_NOT_UPGRADABLE when {@link IncomingRequest.upgrade} is null, and, key still good, while the request has a body
   * that was not read to its end.
   */
  upgrade(key: RequestKey, head?: ResponseHead): Promise<UpgradedStream>

  /**
   * Abandons the exchange: RST_STREAM on HTTP/2 (CANCEL, REFUSED_STREAM, INTERNAL_ERROR, ENHANCE_YOUR_CALM), the connection on
   * HTTP/1.1. What waits on the exchange rejects with ERR_CLOSED. Default 'cancel'. Idempotent.
   */
  reset(reason?: 'cancel' | 'refused' | 'internal' | 'enhance-your-calm'): void

  /**
   * Lets the exchange in flight be the last; a request that was not pulled is refused. Resolves when there is none in flight:
   * on HTTP/1.1 it is the connection that drains, as with {@link Connection.drain} without a deadline.
   */
  drain(): Promise<void>
}

/**
 * Names one request of one stream. A plain number: free to copy, store and compare. Used up by what begins the final answer: from then
 * on it is ERR_KEY_USED. The key of another stream's request is ERR_KEY_UNKNOWN. So an answer never reaches another request.
 */
export type RequestKey = number & { readonly __requestKey: unique symbol }

// ---------------------------------------------------------------------------------------------- request

/** The head of one request, and the way to its body. Not named Request: that name is the WHATWG one's. */
export class IncomingRequest {
  readonly key: RequestKey
  readonly stream: Stream
  /** As sent: methods are case-sensitive (RFC 9110 section 9.1). */
  readonly method: string
  /** The target as it was sent, e.g. '/a?b=c' (RFC 9112 section 3.2; `:path` on HTTP/2). */
  readonly target: string
  /** The target's path, as sent: not decoded. Empty for CONNECT with an authority; '*' for OPTIONS *. */
  readonly path: string
  /** What follows the '?', without it; '' when there is none. */
  readonly query: string
  /** What the peer says: 'https' where an absolute target or `:scheme` has it, though there is no TLS here. */
  readonly scheme: 'http' | 'https'
  /** Host, and port if it was given: from the target, `:authority` or Host. '' when the request names none (HTTP/1.0). */
  readonly authority: string
  readonly httpVersion: '1.0' | '1.1' | '2.0'
  readonly headers: RequestHeaders
  /**
   * null: this request cannot be upgraded. Else what it asks for: 'websocket', 'connect', or the Upgrade token, in lower case. Of a request
   * that asks for several it is the list, the most wanted first: 'h2c, websocket'.
   */
  readonly upgrade: string | null
  /** null when the request has no body. */
  readonly body: RequestBody | null
  /**
   * RFC 9218, from the Priority field: urgency 0..7 (default 3), incremental. On HTTP/2 response bytes go out in that order, or in
   * that of a later PRIORITY_UPDATE. This holds for the bytes that are queued, `limits.pendingWriteBytes` of a connection: beyond those an answer is
   * brought up as there is room, and less urgent ones have their share of that.
   */
  readonly priority: { urgency: number; incremental: boolean }
  /**
   * Aborts when the exchange ends without its response having been sent: the peer went away or reset, a timeout, `reset`, `close`. Its
   * reason is the PullError. Never aborts after a success. Created on first use.
   */
  readonly signal: AbortSignal
  /** performance.now() clock: when the head was complete on the native side. */
  readonly receivedAt: number
  /**
   * The same request as a WHATWG Request; it takes over the body. GET and HEAD lose theirs, and CONNECT and TRACE throw a
   * TypeError: the Fetch standard has it so. Throws ERR_PROTOCOL (status 400) when what the client asked for is no URL: a host may
   * be one by RFC 9110 and none by the URL standard.
   */
  toWeb(): globalThis.Request
}

/**
 * Case-insensitive, decoded on first use. Values are latin1, as in node:http. Names are in lower case, and fields of the same
 * name in wire order.
 */
export interface RequestHeaders extends Iterable<[name: string, value: string]> {
  /** The value; a repeated field's joined by ', ' (cookie by '; '). null when there is none. */
  get(name: string): string | null
  getAll(name: string): string[]
  has(name: string): boolean
  /** Fields, repeated ones counted each. */
  readonly size: number
  /** [name, value, name, value, ...]. */
  raw(): string[]
  /** By name; a repeated field is an array. The object has no prototype. */
  toObject(): Record<string, string | string[]>
}

/**
 * The body of one request. One reader at a time: a second `nextChunk` before the first has resolved, or anything else beside a
 * reader that is at work, is ERR_BODY_IN_USE. `bytes`, `text` and `json` of a body that was read to its end are ERR_BODY_IN_USE too; after
 * some chunks they give the rest.
 *
 * Reads reject with ERR_BODY_TOO_LARGE (over `limits.bodyBytes`), ERR_BODY_TIMEOUT, ERR_PROTOCOL, with ERR_PEER_CLOSED or ERR_PEER_RESET
 * when the peer left, and with ERR_CLOSED when the exchange is over: what was not read when the response had been sent is gone. Of a body
 * whose Content-Length is 16 KiB at most and that came whole with its head the peer's leaving takes nothing.
 */
export interface RequestBody extends AsyncIterable<Uint8Array> {
  /** Content-Length if the peer gave one. */
  readonly length: number | null
  /**
   * A pull: bytes are read from the peer, and h2 window given back, as chunks are taken. null at the end. A chunk has at most 128 KiB, and is
   * the caller's own. Before the first pull 16 KiB are read on HTTP/1, on HTTP/2 what the stream's window lets in; after it, HTTP/1 reads up to 512 KiB ahead
   * (never more than `limits.bufferedBytes`).
   */
  nextChunk(): Promise<Uint8Array | null>
  /**
   * The whole body. Rejects with ERR_BODY_TOO_LARGE past `limit` bytes (default limits.bodyBytes; ERR_INVALID_OPTION if that is no number
   * from 0 on); a declared length over it is not read at all.
   */
  bytes(limit?: number): Promise<Uint8Array>
  /** As UTF-8, without a byte order mark. */
  text(limit?: number): Promise<string>
  /** Rejects with ERR_PROTOCOL (status 400, `cause` the SyntaxError) when it is not JSON. */
  json<T = unknown>(limit?: number): Promise<T>
  /** Resolves after the last chunk has been taken; null if none were sent. Rejects if the body fails; that is no unhandled rejection. */
  readonly trailers: Promise<RequestHeaders | null>
  /** Reads and drops what is left, so that the connection can be kept; stops after `limit` bytes (default limits.bodyBytes). */
  discard(limit?: number): Promise<void>
  /** The rest as a byte stream that pulls only when it is read. Cancelling it leaves the rest unread. */
  toWeb(): ReadableStream<Uint8Array>
  /**
   * The rest as a Readable that pulls only when it is read. Destroying it leaves the rest unread. As in node:http, that the peer has left
   * is an 'error' event only if somebody listens, and 'close' in any case.
   */
  toNode(): Readable
  /** Leaving the loop early leaves the rest unread: it can still be read or discarded. */
  [Symbol.asyncIterator](): AsyncIterator<Uint8Array>
}

// ---------------------------------------------------------------------------------------------- response

/**
 * Names are RFC 9110 tokens and sent in lower case. Values are latin1 (0x20..0xff and tab, but not 0x7f), without the white space
 * around them; an array is a field repeated. Else ERR_INVALID_HEADER. So are `transfer-encoding`, which is hyperpull's own, and on
 * HTTP/2 the connection-specific fields (RFC 9113 section 8.2.2). On HTTP/1.1 `connection` may be 'close',
 * 'keep-alive', or 'upgrade' beside an `upgrade` field that says what could be spoken instead (426, RFC 9110 section 7.8).
 */
export type HeadersLike =
  Record<string, string | number | ReadonlyArray<string>> | ReadonlyArray<readonly [string, string]> | Iterable<readonly [string, string]>

export interface ResponseHead {
  /** 200 to 599. Default 200. */
  status?: number | undefined
  headers?: HeadersLike | PreparedHead | undefined
}

export interface OutgoingResponse extends ResponseHead {
  /** A string is sent as UTF-8. No content-type is guessed. */
  body?:
    | string
    | Uint8Array
    | ArrayBuffer
    | Blob
    | FileBody
    | ReadableStream<Uint8Array>
    | AsyncIterable<Uint8Array | string>
    | Iterable<Uint8Array | string>
    | null
    | undefined
  /** Sent after the body; a function is called when the body is complete. Framing and routing fields are ERR_INVALID_HEADER (RFC 9110 section 6.5.1). */
  trailers?: HeadersLike | (() => HeadersLike | Promise<HeadersLike>) | undefined
}

/**
 * A file, or a part of one. `start` and `end` are bytes, both inclusive, as in `fs.createReadStream`: whole numbers, of which `end` may be
 * Infinity. What lies past the file's end is left out, and an `end` before `start - 1` is ERR_INVALID_OPTION. Content-Length is set from the file's size; a
 * device, a pipe, or a file that says 0 and is not empty, is sent without.
 */
export interface FileBody {
  file: string
  start?: number | undefined
  end?: number | undefined
}

/** Headers checked and encoded once, sent many times. Each is remembered until its listeners close: prepare at start-up, not per request. */
export interface PreparedHead {
  readonly __preparedHead: unique symbol
}

/** Throws ERR_INVALID_HEADER. A process may send the first 65 536 that it prepares: any other is ERR_INVALID_HEADER when it is sent. */
export function prepareHead(headers: HeadersLike): PreparedHead

export interface ResponseWriter {
  /**
   * Resolves when there is room for more: await it and a slow reader holds the writer, not the memory. The chunk is copied before
   * `write` returns. Rejects with ERR_BODY_LENGTH_MISMATCH, nothing written, past a declared content-length or of detached bytes, or with
   * what ended the exchange.
   */
  write(chunk: Uint8Array | string): Promise<void>
  /** Resolves when all that was written so far has been sent. */
  flush(): Promise<void>
  /**
   * Ends the response; resolves when it has been sent. Rejects with ERR_BODY_LENGTH_MISMATCH when bytes of a declared content-length
   * are missing: they can still be written. Once finished, `write` and `finish` reject with ERR_KEY_USED.
   */
  finish(trailers?: HeadersLike): Promise<Sent>
  /** Abandons the response: the peer sees that it is cut short. What waits rejects with ERR_CLOSED, `cause` the reason. Idempotent. */
  abort(reason?: unknown): void
}

/** What became of a response. */
export interface Sent {
  /** Response body bytes on the wire. */
  bytes: number
  /** performance.now() clock, taken on the native side: when the request's head was complete. */
  receivedAt: number
  /** The same clock: when the last byte was taken by the kernel. The event loop's delay is not in it. */
  sentAt: number
}

/**
 * A node:stream Duplex, so that `ws` and other socket libraries take it as they take a net.Socket. When this side closes or resets it is
 * destroyed without an 'error' event; the writes that are cut short have ERR_CLOSED. When the peer leaves that is an 'error' only if somebody
 * listens. Of what was written, `destroy` sends on HTTP/1.1 what the socket takes at once, on HTTP/2 nothing that had not gone out.
 */
export interface UpgradedStream extends Duplex {
  /** What the stream speaks now: the request's {@link IncomingRequest.upgrade}, of several the chosen one. */
  readonly protocol: string
  readonly remote: Connection['remote']
  /** As in net.Socket; undefined on a Unix-domain socket. */
  readonly remoteAddress: string | undefined
  readonly remotePort: number | undefined
  readonly remoteFamily: 'IPv4' | 'IPv6' | undefined
  readonly localAddress: string | undefined
  readonly localPort: number | undefined
  readonly bytesRead: number
  readonly bytesWritten: number
  /** As in net.Socket: 'timeout' is emitted after so long without a byte either way; nothing is closed. 0 turns it off; over 24 days is 24 days. */
  setTimeout(milliseconds: number, listener?: () => void): this
  /** There for those that call it: TCP_NODELAY is always on. */
  setNoDelay(noDelay?: boolean): this
  /** There for those that call it. */
  setKeepAlive(enable?: boolean, initialDelay?: number): this
  /** There for those that call it: the listener is what keeps the process alive. */
  ref(): this
  unref(): this
}

// ---------------------------------------------------------------------------------------------- one level up

/**
 * The loop that most programs want, built on the above. The handler's value is the answer; a throw is a 500, or the `status` of a PullError
 * whose side is 'peer' (a body over the limit: 413), if the request can still be answered, and a call of `onError`. An answer that the
 * handler has begun by itself when it throws is cut short. It gives back nothing when it has answered by itself: by `send`, `start` or
 * `upgrade`.
 */
export function serve(
  options: ServeOptions,
  handler: (request: IncomingRequest) => OutgoingResponse | globalThis.Response | void | Promise<OutgoingResponse | globalThis.Response | void>,
): Promise<Server>

export interface ServeOptions extends ListenOptions {
  /**
   * Requests in flight at once; beyond it nothing is pulled. Default Infinity: at most limits.connections times
   * limits.concurrentStreams. It is `limits.requestsInFlight`; if both are given the smaller counts.
   */
  concurrency?: number | undefined
  /** Drain on SIGTERM and SIGINT, and close on the second one. Default true. The handlers are removed when the listener has ended. */
  signals?: boolean | undefined
  /** What the handler threw, or why a response could not be sent; `request` is null for a fault of a connection or of the listener. Default: console.error, but for what the peer did. */
  onError?: ((error: unknown, request: IncomingRequest | null) => void) | undefined
}

export interface Server {
  readonly listener: Listener
  /**
   * Resolves when the listener has drained or closed and every handler's answer is settled. Rejects with ERR_IO, as do `drain` and `close`,
   * when the I/O loops have ended by a fault of this library.
   */
  readonly finished: Promise<DrainReport>
  drain(options?: DrainOptions): Promise<DrainReport>
  close(): Promise<void>
}

// ---------------------------------------------------------------------------------------------- errors

/**
 * What is thrown and rejected here, but for the errors of the caller's own sources and callbacks. `side` says whose fault it is: 'peer'
 * broke the protocol or left, 'local' is the caller's misuse, or that this side closed, 'io' is the transport.
 *
 * local: ERR_KEY_USED, ERR_KEY_UNKNOWN, ERR_NOT_UPGRADABLE, ERR_BODY_IN_USE, ERR_INVALID_HEADER, ERR_INVALID_STATUS,
 *        ERR_BODY_LENGTH_MISMATCH, ERR_INVALID_OPTION, ERR_CLOSED, ERR_ADDRESS_IN_USE, ERR_TLS_CONFIG
 * peer:  ERR_PEER_CLOSED, ERR_PEER_RESET, ERR_BODY_TOO_LARGE, ERR_BODY_TIMEOUT, ERR_WRITE_STALLED, ERR_PROTOCOL
 * io:    ERR_IO
 */
export class PullError extends Error {
  constructor(code?: string, message?: string, options?: ErrorOptions)
  readonly code: string
  readonly side: 'peer' | 'local' | 'io'
  /** The status that answers it best, when there is one: 400 ERR_PROTOCOL, 408 ERR_BODY_TIMEOUT, 413 ERR_BODY_TOO_LARGE. */
  readonly status: number | null
}
