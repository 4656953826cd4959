// Hot: runs for every command. With crossing.ts the only file that knows the layout of the records (docs/crossing.md).
// Budget of one response: no native call, nothing allocated.

import type { NativeLoop } from './binding.js'
import { PullError, rethrow } from './errors.js'
import * as fields from './fields.js'
import * as layout from './layout.js'
import { checkEmpty } from './raw.js'
import type { HeadersLike, PreparedHead } from '../index.js'

// V8 does not fold what is imported, but it does fold these.
const { BLOB, COMMAND, FLAG_PREPARED, FLAG_QUIET, FLAG_TRAILERS, FLAG_WAITS, INLINE_BYTES, PLACES, QUEUE_ARRANGED, QUEUE_BYTES, QUEUE_RECORDS } = layout
const { send: SEND } = COMMAND
const { IN_CHUNKS, IN_INTERIM, IN_TRAILERS, IN_UPGRADE, ON_H2, FieldMemory, Prepared, encodeFields, encodeLength } = fields
const WORDS = layout.COMMAND_WORDS

const RECORDS = 4096
const BYTES = 1 << 20
/** The largest header section that is sent. */
const HEAD_ROOM = 64 << 10
/** What must be free before a command is written: a head, and 16 Ki characters at three bytes each. */
const COMMAND_ROOM = HEAD_ROOM + 3 * INLINE_BYTES

/** What names an exchange to the I/O loop. */
export interface Exchange {
  readonly connection: { readonly number: number }
  readonly id: number
  readonly sequence: number
  isBodiless(status: number): boolean
}

/** A body that is there whole, or a piece of one. Of several arrays: INLINE_BYTES bytes at most. */
export type Body = string | Uint8Array | readonly Uint8Array[]
export type Head = HeadersLike | PreparedHead | undefined

/**
 * The commands to one I/O loop: written into memory that both sides see. Those that answer events are taken from there when all that the
 * events have set off has run: promises and ticks. For others a flush is arranged here.
 */
export class Commands {
  /** The first is the queue's own. The native side clears it when it takes what is queued. */
  readonly records = new Int32Array((1 + RECORDS) * WORDS)
  readonly memory = new FieldMemory(BYTES)
  /** The body that has just been put, when it travels apart. */
  private blob: Uint8Array | null = null
  /** Heads that the loop was told of. */
  private readonly prepared = new Set<number>()
  /** Of the head written last: its flag, its number, and the content-length it declares or -1. */
  private headFlag = 0
  private headNumber = 0
  private declared = -1
  /** Fields are being written. */
  private encoding = false
  private loop: NativeLoop | null = null

  private readonly tick = (): void => this.flush()

  /** From now on `loop` takes them; null: it is gone, and what is queued has nobody to go to. */
  connect(loop: NativeLoop | null): void {
    this.loop = loop
  }

  // ------------------------------------------------------------------------------------------ responses

  /** A whole response. Throws, with nothing queued, when it may not be sent so. */
  send(exchange: Exchange, status: number, headers: Head, body: Body, place: number): void {
    this.put(SEND, exchange, status, headers, place, -1, body)
  }

  /** Begins a response, whose body has `length` bytes if that is known (else -1). Gives the content-length that it declares, or -1. */
  start(exchange: Exchange, status: number, headers: Head, length: number, place: number): number {
    this.put(COMMAND.start, exchange, status, headers, place, length, '')
    return this.declared
  }

  inform(exchange: Exchange, status: number, headers: Head, place: number): void {
    this.put(COMMAND.inform, exchange, status, headers, place, -1, '')
  }

  upgrade(exchange: Exchange, status: number, headers: Head, place: number): void {
    this.put(COMMAND.upgrade, exchange, status, headers, place, -1, '')
  }

  /** Body or tunnel bytes. They are copied before it returns. */
  write(exchange: Exchange, chunk: Body): void {
    this.put(COMMAND.write, exchange, 0, undefined, 0, -1, chunk)
  }

  finish(exchange: Exchange, trailers: HeadersLike | undefined, place: number): void {
    this.put(trailers === undefined ? COMMAND.finish : COMMAND.finish | FLAG_TRAILERS, exchange, 0, trailers, place, -1, '')
  }

  /** Throws when the fields may not be sent; queues nothing. */
  check(section: HeadersLike, place: number): void {
    this.encode(this.room(), section, place)
  }

  /**
   * Queues a command with a head and a body. Throws, with nothing queued, when it may not be.
   * `length`: that of a body which will follow, or -1.
   */
  private put(
    kind: number,
    exchange: Exchange,
    status: number,
    headers: Head,
    place: number,
    length: number,
    body: Body,
  ): void {
    const start = this.begin(headers, place)
    const head = length === -1 ? this.putHead(start, headers, place) : this.putLength(this.putHead(start, headers, place), length, place)
    const size = this.putBody(head, body)
    if (kind === SEND && this.declared !== -1 && this.declared !== size && !exchange.isBodiless(status)) {
      this.blob = null
      throw this.mismatch(size)
    }
    if (size > INLINE_BYTES) this.handOver()
    const { records } = this
    const count = records[QUEUE_RECORDS] + 1
    const record = (count * WORDS) & PLACES
    records[record] = kind | this.headFlag
    records[record + 1] = exchange.connection.number
    records[record + 2] = exchange.id
    records[record + 3] = exchange.sequence
    records[record + 4] = status
    records[record + 5] = head - start
    records[record + 6] = size <= INLINE_BYTES ? size : BLOB
    records[record + 7] = this.headNumber
    records[QUEUE_RECORDS] = count
    records[QUEUE_BYTES] = head + (size <= INLINE_BYTES ? size : 0)
    this.arrange()
  }

  /** Writes fields from `at`. They may be read by code of the caller's: an iterator, a getter, which must not write here meanwhile. */
  private encode(at: number, section: HeadersLike, place: number): number {
    this.encoding = true
    try {
      at = encodeFields(this.memory, at, at + HEAD_ROOM, section, place)
    } catch (error) {
      this.encoding = false
      throw error
    }
    this.encoding = false
    return at
  }

  /** Writes a head from `at`, unless it is a prepared one, and gives the offset behind it. */
  private putHead(at: number, headers: Head, place: number): number {
    if (headers === undefined || this.headFlag !== 0) return at
    at = this.encode(at, headers as HeadersLike, place)
    this.declared = this.memory.declaredLength
    return at
  }

  /** Adds the content-length of a body of `length` bytes, if the head does not declare it. */
  private putLength(at: number, length: number, place: number): number {
    if (this.declared === -1) {
      if ((place & IN_CHUNKS) !== 0) return at
      at = encodeLength(this.memory, at, length)
      this.declared = length
    }
    if (this.declared !== length) throw this.mismatch(length)
    return at
  }

  private mismatch(length: number): PullError {
    return new PullError('ERR_BODY_LENGTH_MISMATCH', `content-length is ${this.declared}, but the body has ${length} bytes`)
  }

  /** Writes a body from `at`, or keeps it as a blob when it is over INLINE_BYTES, and gives its length. */
  private putBody(at: number, body: Body): number {
    if (typeof body === 'string') {
      if (body.length > INLINE_BYTES) return this.putBlob(Buffer.from(body))
      const written = this.memory.putText(at, body)
      return written <= INLINE_BYTES ? written : this.putBlob(Buffer.from(body))
    }
    if (!ArrayBuffer.isView(body)) return this.putAll(at, body)
    if (body.byteLength > INLINE_BYTES) return this.putBlob(body)
    if (body.byteLength === 0) checkEmpty(body)
    else this.memory.bytes.set(body, at)
    return body.byteLength
  }

  private putAll(at: number, pieces: readonly Uint8Array[]): number {
    const start = at
    for (const piece of pieces) at += this.putBody(at, piece)
    return at - start
  }

  private putBlob(body: Uint8Array): number {
    this.blob = body
    return body.byteLength
  }

  /** Queues the body that travels apart. */
  private handOver(): void {
    const { blob } = this
    this.blob = null
    this.loop?.putBlob(blob!)
  }

  // ------------------------------------------------------------------------------------ other commands

  reset(exchange: Exchange, reason: number): void {
    if (this.encoding) throw inUse()
    this.command(COMMAND.reset, exchange.connection.number, exchange.id, reason, exchange.sequence)
  }

  pullRequests(connection: number, count: number): void {
    this.command(COMMAND['pull-requests'], connection, 0, count)
  }

  /** Chunks are wanted as they come: `taken` bytes more of them have been taken. `waits`: all, and more is waited for. */
  readOn(exchange: Exchange, taken: number, waits: boolean, quiet: boolean): void {
    const kind = COMMAND['read-on'] | (waits ? FLAG_WAITS : 0) | (quiet ? FLAG_QUIET : 0)
    this.command(kind, exchange.connection.number, exchange.id, taken, exchange.sequence)
  }

  drain(connection: number): void {
    this.command(COMMAND.drain, connection, 0, 0)
  }

  close(connection: number): void {
    this.command(COMMAND.close, connection, 0, 0)
  }

  pullConnections(count: number): void {
    this.command(COMMAND['pull-connections'], 0, 0, count)
  }

  drainAll(): void {
    this.command(COMMAND['drain-all'], 0, 0, 0)
  }

  closeAll(): void {
    this.command(COMMAND['close-all'], 0, 0, 0)
  }

  /** The number of a connection that has ended may be used again. */
  releaseConnection(connection: number): void {
    this.command(COMMAND.release, connection, 0, 0)
  }

  private command(kind: number, connection: number, stream: number, aux: number, sequence = 0): void {
    // Code that a head is read by asks for it: it comes behind the head.
    if (this.encoding) return queueMicrotask(() => this.command(kind, connection, stream, aux, sequence))
    this.room()
    const { records } = this
    const count = records[QUEUE_RECORDS] + 1
    const record = count * WORDS
    records[record] = kind
    records[record + 1] = connection
    records[record + 2] = stream
    records[record + 3] = sequence
    records[record + 4] = 0
    records[record + 5] = 0
    records[record + 6] = 0
    records[record + 7] = aux
    records[QUEUE_RECORDS] = count
    this.arrange()
  }

  // ---------------------------------------------------------------------------------------------- room

  /** Begins a command with this head, and gives where it may be written. */
  private begin(headers: Head, place: number): number {
    const at = this.room()
    this.headFlag = 0
    this.headNumber = 0
    this.declared = -1
    return headers instanceof Prepared ? this.putPrepared(at, headers, place) : at
  }

  /** Names a prepared head. One that the loop does not know goes before the command. */
  private putPrepared(at: number, head: fields.Prepared, place: number): number {
    if ((place & IN_TRAILERS) !== 0) throw new PullError('ERR_INVALID_HEADER', 'a prepared head is not trailers')
    if (head.hop && (place & (ON_H2 | IN_INTERIM | IN_UPGRADE)) !== 0)
      throw new PullError(
        'ERR_INVALID_HEADER',
        'a prepared head with connection-specific fields may not be sent on HTTP/2 (RFC 9113 section 8.2.2), in an interim response or an upgrade',
      )
    if (head.declaredLength !== -1 && (place & (IN_INTERIM | IN_UPGRADE)) !== 0)
      throw new PullError('ERR_INVALID_HEADER', 'a prepared head with content-length may not be sent in an interim response or an upgrade')
    this.headFlag = FLAG_PREPARED
    this.headNumber = head.number
    this.declared = head.declaredLength
    if (this.prepared.has(head.number)) return at
    this.prepared.add(head.number)
    this.memory.bytes.set(head.bytes, at)
    this.command(COMMAND.prepare, 0, 0, head.number)
    this.records[this.records[QUEUE_RECORDS] * WORDS + 5] = head.bytes.length
    this.records[QUEUE_BYTES] = at + head.bytes.length
    return this.room()
  }

  /** Where the next command's bytes may be written: there is room for any. */
  private room(): number {
    if (this.encoding || this.isFull) this.makeRoom()
    return this.records[QUEUE_BYTES]
  }

  private makeRoom(): void {
    if (this.encoding) throw inUse()
    this.flush()
    if (this.isFull) throw new PullError('ERR_IO', 'internal fault: the I/O loop takes nothing')
  }

  private get isFull(): boolean {
    return this.records[QUEUE_RECORDS] === RECORDS || this.records[QUEUE_BYTES] > BYTES - COMMAND_ROOM
  }

  // --------------------------------------------------------------------------------------------- flush

  /** A process.nextTick runs after the microtasks of the callback that is running: all that it queues goes down at once. */
  private arrange(): void {
    if (this.records[QUEUE_ARRANGED] !== 0) return
    this.records[QUEUE_ARRANGED] = 1
    process.nextTick(this.tick)
  }

  /** Hands over what is queued. When that fails it stays queued, for another try, and the failure is an uncaught exception. */
  private flush(): void {
    if (this.loop === null) return void this.records.fill(0, 0, WORDS)
    try {
      this.loop.submit()
    } catch (error) {
      this.records[QUEUE_ARRANGED] = 1
      setImmediate(this.tick)
      process.nextTick(rethrow, error)
    }
  }
}

function inUse(): PullError {
  return new PullError('ERR_INVALID_HEADER', 'headers may not answer or reset a request while they are read')
}
