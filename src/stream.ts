// Hot: one send and one nextRequest a request. Budget: two promises, the Sent report, no closure, no crossing of its own.

import { inspect } from 'node:util'

import type * as contract from '../index.js'
import type { RequestBody } from './body.js'
import type { Connection } from './connection.js'
import type { Commands, Head } from './commands.js'
import { type Code, PullError, refused } from './errors.js'
import * as fields from './fields.js'
import { COMMAND, RESET } from './layout.js'
import * as queue from './queue.js'
import type { Receiver } from './receiver.js'
import type { IncomingRequest } from './request.js'
import * as responses from './response.js'
import { closeBody, sendSource } from './source.js'
import { checkFinal, checkInterim, checkUpgrade } from './status.js'
import { UpgradedStream } from './upgraded.js'

// V8 does not fold what is imported, but it does fold these.
const { IN_CHUNKS, IN_INTERIM, IN_TRAILERS, IN_UPGRADE, NO_CONTENT, ON_H2 } = fields
const { outcome } = queue
const { Sent, Writer } = responses

/**
 * The exchange that a stream is in. HTTP/1.1 comes back to IDLE after each; an HTTP/2 stream has one.
 *
 *     IDLE ──request──► OPEN ──send, start, upgrade──► ANSWERING ──sent──► IDLE
 *                        ▲                               │  │
 *                        └───────────rejected────────────┘  └──upgraded──► TUNNEL ──sent──► HALF_SHUT ──end──► IDLE
 *
 *     any but IDLE ──failed, reset, closed──► LOST ──request──► OPEN
 */
const IDLE = 0
const OPEN = 1
const ANSWERING = 2
const TUNNEL = 3
/** A tunnel whose outgoing half is finished and sent; the peer may go on. */
const HALF_SHUT = 4
const LOST = 5

/** A key has the lower bits of the request's sequence, and above them a number that names the stream, for so many requests. */
const KEY_BITS = 20
const KEY_SPAN = 2 ** KEY_BITS

/** A body up to this is copied as a whole, whatever else waits to be sent. */
const AT_ONCE = 64 << 10

/** Upper parts of keys that have been given out. */
let serials = 0

export class Stream implements contract.Stream {
  readonly id: number
  readonly connection: Connection
  /** The upper part of the first KEY_SPAN keys; no two streams of a process have the same. */
  private readonly serial = ++serials
  /** Those of the keys behind them, for each KEY_SPAN. */
  private laterSerials: number[] | null = null
  /** Of the exchange that `state` tells of. */
  sequence = -1

  private readonly commands: Commands
  /** The bits that every field section of this stream is checked with. */
  private readonly place: number
  /** Nothing is read ahead of the pulls. */
  private readonly strict: boolean
  private state = IDLE
  /** The request of the exchange; null when none is in flight, or when it was refused without having been pulled. */
  private request: IncomingRequest | null = null
  /** It was delivered and not yet pulled. */
  private unpulled = false
  /** The pull that waits, and whether it is an iterator's; others wait behind it. */
  private waiting: queue.Resolve | null = null
  private iterated = false
  private waitingMore: { resolve: queue.Resolve; iterated: boolean }[] | null = null
  /** No request will come any more. */
  private ended: boolean
  /** What ended the exchange, in LOST, and whether its key had been used by then. */
  private failure: PullError | null = null
  private keyUsed = false

  /** The halves of the exchange that are at work piece by piece. */
  private receiver: Receiver | null = null
  private writer: responses.Writer | null = null
  private whenIdle: (() => void)[] | null = null

  constructor(connection: Connection, id: number) {
    this.connection = connection
    this.id = id
    this.commands = connection.crossing.commands
    const isH2 = connection.protocol === 'h2'
    this.place = isH2 ? ON_H2 : 0
    // An HTTP/2 stream comes with its one request.
    this.ended = isH2
    this.strict = connection.listener.settings.readAheadRequests === 0
  }

  static {
    // As in IncomingRequest.
    Object.defineProperty(this.prototype, 'then', { value: undefined })
  }

  // --------------------------------------------------------------------------------------------- pulls

  nextRequest(): Promise<IncomingRequest | null> {
    return this.pull(false) as Promise<IncomingRequest | null>
  }

  [Symbol.asyncIterator](): AsyncIterator<IncomingRequest> {
    return new queue.PullIterator(this)
  }

  pull(iterated: boolean): Promise<unknown> {
    if (this.unpulled) {
      this.unpulled = false
      return Promise.resolve(outcome(this.request, iterated))
    }
    if (this.ended) return Promise.resolve(outcome(null, iterated))
    if (this.strict) this.commands.pullRequests(this.connection.number, 1)
    if (this.waiting !== null) return this.waitBehind(iterated)
    this.iterated = iterated
    // No more than that: V8 inlines what is as small whatever else it has inlined, and an executor that it does not costs 200 instructions.
    return new Promise((resolve) => (this.waiting = resolve))
  }

  private waitBehind(iterated: boolean): Promise<unknown> {
    return new Promise((resolve) => (this.waitingMore ??= []).push({ resolve, iterated }))
  }

  // ------------------------------------------------------------------------------------------- answers

  send(key: contract.RequestKey, response: contract.OutgoingResponse | globalThis.Response): Promise<contract.Sent> {
    if (typeof response !== 'object' || response === null) return refused(this.misuse(key) ?? noResponse(response))
    try {
      // Once each, and before anything else: they may be getters, which do what they like.
      const { status, headers, body, trailers } = response as contract.OutgoingResponse
      // Whichever implementation of Fetch it is of.
      const given = typeof body !== 'string' && 'bodyUsed' in response ? fields.endToEnd(headers as Headers) : headers
      const misuse = this.misuse(key)
      if (misuse !== null) {
        if (misuse === this.failure) closeBody(body)
        return refused(misuse)
      }
      const whole = trailers === undefined ? wholeOf(body) : null
      return whole !== null && this.takesAtOnce(whole.length)
        ? this.sendWhole(status ?? 200, given, whole)
        : sendSource(this, status ?? 200, given, body, trailers)
    } catch (error) {
      return refused(error)
    }
  }

  /** May a body of this length be copied as a whole? If not, it goes out in pieces, as there is room for them. */
  private takesAtOnce(length: number): boolean {
    // On HTTP/1.1 it is the only one of its connection, on HTTP/2 each stream may have one.
    return length <= AT_ONCE || (this.place !== ON_H2 && length <= this.connection.listener.settings.limits.pendingWriteBytes)
  }

  /** Sends a body that is there whole; the key was checked. Throws, with nothing queued, when it may not be sent so. */
  sendWhole(status: number, headers: Head, body: string | Uint8Array): Promise<contract.Sent> {
    if (status !== 200) checkFinal(status, body.length)
    const place = status === 204 ? this.place | NO_CONTENT : this.place
    this.commands.send(this, status, headers, body, place)
    this.state = ANSWERING
    return this.request!.answered()
  }

  start(key: contract.RequestKey, head: contract.ResponseHead): responses.Writer {
    if (typeof head !== 'object' || head === null) throw this.misuse(key) ?? noResponse(head)
    const { status, headers } = head
    const misuse = this.misuse(key)
    if (misuse !== null) throw misuse
    return this.begin(status ?? 200, headers, -1, false)
  }

  /** Begins the answer to the current request, whose body has `length` bytes if that is known (else -1), `chunked` though it is. */
  begin(status: number, headers: Head, length: number, chunked: boolean): responses.Writer {
    checkFinal(status, length)
    const withoutBody = status === 204 || status === 205
    const bodiless = this.isBodiless(status)
    const place = (status === 204 ? this.place | NO_CONTENT : this.place) | (chunked ? IN_CHUNKS : 0)
    const told = status === 204 || (chunked && bodiless) ? -1 : length
    const declared = this.commands.start(this, status, headers, told, place)
    this.state = ANSWERING
    this.writer = new Writer(this, this.commands, withoutBody ? 0 : declared, bodiless)
    return this.writer
  }

  /** The body of the current request, if a stream was made of it. */
  get streamedBody(): RequestBody | null {
    return this.request!.streamedBody
  }

  /** Ends the body of `begin`. Throws, with the writer still good, when the trailers may not be sent. */
  finish(trailers: contract.HeadersLike | undefined): Promise<contract.Sent> {
    this.commands.finish(this, trailers, this.place | IN_TRAILERS)
    return this.request!.answered()
  }

  /** Does the answer go without the body that it describes (RFC 9110 sections 9.3.2 and 15.4.5)? */
  isBodiless(status: number): boolean {
    return status === 304 || this.request!.isHead
  }

  /** Throws when `trailers` may not be sent; sends nothing. */
  checkTrailers(trailers: contract.HeadersLike): void {
    this.commands.check(trailers, this.place | IN_TRAILERS)
  }

  inform(key: contract.RequestKey, status: number, headers?: contract.HeadersLike): Promise<void> {
    const misuse = this.misuse(key)
    if (misuse !== null) return refused(misuse)
    try {
      checkInterim(status, this.request!.httpVersion)
      this.commands.inform(this, status, headers, this.place | IN_INTERIM)
    } catch (error) {
      return refused(error)
    }
    return Promise.resolve()
  }

  upgrade(key: contract.RequestKey, head: contract.ResponseHead = {}): Promise<UpgradedStream> {
    if (typeof head !== 'object' || head === null) return refused(this.misuse(key) ?? noResponse(head))
    try {
      const { status, headers } = head
      const misuse = this.misuse(key)
      if (misuse !== null) throw misuse
      const request = this.request!
      if (!request.upgradable) throw new PullError('ERR_NOT_UPGRADABLE', 'the request does not ask to leave HTTP')
      if (request.body?.isRead === false) throw new PullError('ERR_NOT_UPGRADABLE', 'the request body has not been read to its end')
      if (status !== undefined) checkUpgrade(status, this.place !== ON_H2 && request.method !== 'CONNECT')
      this.commands.upgrade(this, status ?? 0, headers, this.place | IN_UPGRADE)
    } catch (error) {
      return refused(error)
    }
    this.state = ANSWERING
    return this.request!.answered()
  }

  reset(reason: keyof typeof RESET = 'cancel'): void {
    if (!Object.hasOwn(RESET, reason))
      throw new PullError('ERR_INVALID_OPTION', `${JSON.stringify(reason)} is not a reason to reset: ${Object.keys(RESET).join(', ')} are`)
    this.abandon(RESET[reason], new PullError('ERR_CLOSED', 'the exchange was reset by this side'))
  }

  /** Ends the exchange, if it is not over: the peer is told `reason`, who waits here is told `error`. */
  abandon(reason: number, error: PullError): void {
    if (this.state === IDLE || this.state === LOST) return
    this.commands.reset(this, reason)
    this.lose(error)
  }

  isUnanswered(key: contract.RequestKey): boolean {
    return this.misuse(key) === null
  }

  /** The answer to the request that `key` names is broken off, if it was begun piece by piece and is not finished. */
  breakOff(key: contract.RequestKey, reason: unknown): void {
    if (this.state === ANSWERING && key === this.keyOf(this.sequence)) this.writer?.breakOff(reason)
  }

  drain(): Promise<void> {
    if (this.place !== ON_H2) return this.connection.drain({ deadlineMs: Infinity })
    this.refuse()
    if (this.state === IDLE || this.state === LOST) return Promise.resolve()
    return new Promise((resolve) => (this.whenIdle ??= []).push(resolve))
  }

  [inspect.custom](): string {
    return `Stream { ${this.id} of ${inspect(this.connection)} }`
  }

  /** The key of one request. */
  keyOf(sequence: number): contract.RequestKey {
    const span = sequence >>> KEY_BITS
    const serial = span === 0 ? this.serial : this.laterSerial(span)
    return (serial * KEY_SPAN + (sequence & (KEY_SPAN - 1))) as contract.RequestKey
  }

  private laterSerial(span: number): number {
    this.laterSerials ??= []
    return (this.laterSerials[span] ??= ++serials)
  }

  /** Why the request that `key` names cannot be answered now. */
  private misuse(key: contract.RequestKey): PullError | null {
    return this.state === OPEN && key === this.keyOf(this.sequence) ? null : this.refusal(key)
  }

  private refusal(key: contract.RequestKey): PullError | null {
    if (this.state === LOST && key === this.keyOf(this.sequence) && !this.keyUsed) return this.failure
    const serial = typeof key === 'number' ? Math.floor(key / KEY_SPAN) : NaN
    if (serial !== this.serial && this.laterSerials?.includes(serial) !== true)
      return new PullError('ERR_KEY_UNKNOWN', 'the key does not name a request of this stream')
    return new PullError('ERR_KEY_USED', 'the request that the key names has its answer')
  }

  // ---------------------------------------------------------------- answers that take their time to begin

  /** Takes the current request's key out of use while a source for its answer is being opened. */
  claim(): void {
    this.state = ANSWERING
  }

  /** After `claim`: what ended the exchange since, if anything. */
  lost(sequence: number): PullError | null {
    return this.sequence === sequence && this.state === ANSWERING ? null : (this.failure ?? new PullError('ERR_CLOSED', 'the exchange is over'))
  }

  /** Gives the key back: nothing was sent. */
  unclaim(sequence: number): void {
    if (this.lost(sequence) === null) this.state = OPEN
  }

  // ------------------------------------------------------------------------------------------ the body

  /** `receiver` takes the chunks of the body, or of the tunnel. */
  receive(receiver: Receiver): void {
    const over = this.over(receiver.sequence)
    if (over === null) this.receiver = receiver
    else receiver.fail(over)
  }

  /** Why nothing of this exchange can be read any more, if it is over. */
  over(sequence: number): PullError | null {
    if (sequence !== this.sequence || this.state === IDLE) return new PullError('ERR_CLOSED', 'the exchange is over, its body is gone')
    return this.state === LOST ? this.failure : null
  }

  /** Tells of the chunks what `Commands.readOn` says. */
  readOn(taken: number, waits: boolean, quiet: boolean): void {
    this.commands.readOn(this, taken, waits, quiet)
  }

  /** Bytes that the I/O loop is told of at the latest when they have been taken. */
  tellsAfter(most: number): number {
    // On HTTP/2 the peer's windows wait for it.
    return this.place === ON_H2 ? 1 : Math.min(most, this.connection.listener.settings.limits.bufferedBytes / 2)
  }

  // -------------------------------------------------------------------------------------------- events

  /** A request that was granted. */
  requested(request: IncomingRequest): void {
    this.sequence = request.sequence
    this.request = request
    this.state = OPEN
    this.failure = null
    const { waiting, iterated } = this
    if (waiting === null) {
      this.unpulled = true
      return
    }
    const next = this.waitingMore?.shift()
    this.waiting = next?.resolve ?? null
    this.iterated = next?.iterated ?? false
    waiting(outcome(request, iterated))
  }

  sent(sequence: number, at: number, bytes: number): void {
    if (sequence !== this.sequence) return
    const { request } = this
    if (this.state === ANSWERING) this.complete()
    else if (this.state === TUNNEL) this.shut()
    else return
    request?.settle(new Sent(bytes, request.receivedAt, at))
  }

  /** The tunnel's outgoing half has been sent. */
  private shut(): void {
    if (this.receiver!.ended) return this.complete()
    this.state = HALF_SHUT
    this.writer!.sent()
  }

  failed(sequence: number, error: PullError): void {
    if (sequence === this.sequence && this.state !== IDLE && this.state !== LOST) this.lose(error)
  }

  /** The command changed nothing: what it began is taken back. */
  rejected(sequence: number, kind: number, error: PullError): void {
    if (sequence !== this.sequence || this.state !== ANSWERING) return
    switch (kind) {
      case COMMAND.start:
        this.state = OPEN
        this.writer?.fail(error)
        this.writer = null
        return this.request?.unanswered(error)
      case COMMAND.write:
        return this.writer?.fail(error)
      case COMMAND.finish:
        this.writer?.reopen()
        return this.request?.unanswered(error)
      case COMMAND.send:
      case COMMAND.upgrade:
        this.state = OPEN
        return this.request?.unanswered(error)
    }
  }

  upgraded(sequence: number, protocol: string): void {
    if (sequence !== this.sequence || this.state !== ANSWERING) return
    const request = this.request!
    this.state = TUNNEL
    this.end()
    this.writer = new Writer(this, this.commands, -1, false)
    request.settle(new UpgradedStream(this, sequence, protocol, this.writer))
  }

  chunk(sequence: number, bytes: Uint8Array, full: boolean): void {
    if (sequence === this.sequence) this.receiver?.chunk(bytes, full)
  }

  endBody(sequence: number, trailers: string | null): void {
    if (sequence !== this.sequence) return
    this.receiver?.end(trailers)
    if (this.state === HALF_SHUT) this.complete()
  }

  bodyFailed(sequence: number, error: PullError): void {
    if (sequence !== this.sequence) return
    if (this.state === HALF_SHUT) this.lose(error)
    else this.receiver?.breakOff(error)
  }

  written(sequence: number, bytes: number): void {
    if (sequence === this.sequence) this.writer?.written(bytes)
  }

  /** There will be no more requests. What was delivered can still be pulled. */
  end(): void {
    this.ended = true
    const { waiting, iterated, waitingMore } = this
    this.waiting = null
    this.waitingMore = null
    waiting?.(outcome(null, iterated))
    if (waitingMore !== null) for (const { resolve, iterated } of waitingMore) resolve(outcome(null, iterated))
  }

  /** The connection has ended. */
  gone(code: Code, message: string): void {
    if (this.state !== IDLE && this.state !== LOST) this.lose(new PullError(code, message))
    this.end()
  }

  /** Answers a request that nobody pulled, because a drain has begun: 503, or REFUSED_STREAM which h2 peers may try again elsewhere. */
  refuse(): void {
    if (this.place === ON_H2) this.end()
    if (!this.unpulled) return
    this.unpulled = false
    this.request = null
    this.connection.listener.refusedOne()
    if (this.place === ON_H2) return this.abandon(RESET.refused, new PullError('ERR_CLOSED', 'the connection is draining'))
    this.commands.send(this, 503, { connection: 'close' }, '', this.place)
    this.state = ANSWERING
  }

  /** The exchange is over, its response was sent. */
  private complete(): void {
    const counts = this.request === null ? 0 : 1
    this.state = IDLE
    this.request = null
    this.connection.exchanged(this, counts, 0)
    if (this.receiver !== null || this.writer !== null || this.whenIdle !== null) this.close(null)
  }

  /** The exchange is over, and its response was not sent, or the peer's half of its tunnel is not. */
  private lose(error: PullError): void {
    const { request, state } = this
    const answered = state === HALF_SHUT
    this.state = LOST
    this.failure = error
    this.keyUsed = state !== OPEN
    this.request = null
    this.connection.exchanged(this, answered ? 1 : 0, answered || request === null || this.unpulled ? 0 : 1)
    this.unpulled = false
    this.close(error)
    if (!answered) request?.fail(error)
  }

  /** Ends what is at work on the exchange. `error`: null when its response has been sent. */
  private close(error: PullError | null): void {
    const { receiver, writer, whenIdle } = this
    this.receiver = null
    this.writer = null
    this.whenIdle = null
    if (receiver !== null && !receiver.ended)
      receiver.fail(error ?? new PullError('ERR_CLOSED', 'the response was sent before the body was read to its end'))
    if (error === null) writer?.sent()
    else writer?.fail(error)
    if (whenIdle !== null) for (const resolve of whenIdle) resolve()
  }
}

function noResponse(given: unknown): PullError {
  return new PullError('ERR_INVALID_OPTION', `${inspect(given)} is not a response`)
}

/** A body that is there whole; null: it has to be read. */
function wholeOf(body: contract.OutgoingResponse['body']): string | Uint8Array | null {
  if (typeof body === 'string' || body instanceof Uint8Array) return body
  if (body === undefined || body === null) return ''
  // A detached one says that it is empty, and no view of it can be made.
  return body instanceof ArrayBuffer && body.byteLength > 0 ? new Uint8Array(body) : null
}
