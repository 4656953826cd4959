// Hot: runs for every event and every command. The only file that knows the layout of the records (docs/crossing.md).
// Budget of one request: no native call of its own (one take and one submit a batch), one string for the head.

import type { NativeListener, NativeThread, ThreadMemory } from './binding.js'
import type { Connection } from './connection.js'
import { PullError } from './errors.js'
import { ON_H2, Prepared, declaredLength, encodeFields, encodeLength } from './fields.js'
import { BLOB, BODY_COMPLETE, CODES, COMMAND, COMMAND_WORDS, COUNTERS, EVENT, EVENT_WORDS, FLAG_PREPARED, FLAG_TRAILERS, REFUSALS } from './layout.js'
import { Memory, type RawBuffer } from './raw.js'
import type { HeadersLike, PreparedHead } from '../index.js'

const RECORDS = 4096
const BYTES = 1 << 20
/** Bodies up to this travel in `commandBytes`, larger ones apart. */
const INLINE_BODY = 16 << 10
/** The largest header section that is sent. */
const HEAD_ROOM = 64 << 10
/** What must be free before a command is written: a head, and 16 Ki characters at three bytes each. */
const COMMAND_ROOM = HEAD_ROOM + 3 * INLINE_BODY
/** Up to so many characters a text is short: see Memory. */
const SHORT_TEXT = 64
/** Batches that one ring of the doorbell takes before it lets the rest of the process run. */
const MAX_TAKES = 64

/** What a crossing tells its listener. */
export interface CrossingOwner {
  opened(crossing: Crossing, number: number, protocol: number, text: string): Connection
  stopped(): void
}

/** What names an exchange to the I/O thread. */
export interface Exchange {
  readonly connection: { readonly number: number }
  readonly id: number
  readonly sequence: number
}

/** A body that is there whole. */
export type Body = string | Uint8Array
export type Head = HeadersLike | PreparedHead | undefined

/** JavaScript's side of one I/O thread: events come out of it, commands go into it. */
export class Crossing {
  /** The counters: COUNTERS, then REFUSALS. */
  readonly stats = new Float64Array(COUNTERS.length + REFUSALS.length)
  /** Connections that the thread may bring up beyond those it has. */
  granted = 0

  private readonly owner: CrossingOwner
  private readonly thread: NativeThread
  private readonly connections: (Connection | undefined)[] = []
  private stopped = false

  private readonly events = new Uint32Array(RECORDS * EVENT_WORDS)
  /** The same records, read as doubles. */
  private readonly numbers = new Float64Array(this.events.buffer)
  private readonly eventBytes: RawBuffer
  private readonly eventChunks: Uint8Array
  /** Where the next event's bytes begin. */
  private at = 0
  private eventBlobs: Uint8Array[] | null = null
  private eventBlob = 0

  private readonly commands = new Uint32Array(RECORDS * COMMAND_WORDS)
  private readonly commandMemory = new Memory(BYTES)
  private readonly commandBytes = this.commandMemory.bytes
  private records = 0
  private bytes = 0
  private commandBlobs: Uint8Array[] | null = null
  /** Heads that the thread was told of. */
  private readonly prepared = new Set<number>()
  /** Of the head written last: its flag, its number, and the content-length it declares or -1. */
  private headFlag = 0
  private headNumber = 0
  private declared = -1
  /** The flush of this turn is arranged. */
  private scheduled = false

  private readonly ring = (): void => this.takeAll()
  private readonly tick = (): void => this.flush()
  private readonly arrangeTick = (): void => process.nextTick(this.tick)

  constructor(owner: CrossingOwner, listener: NativeListener, index: number, headerBytes: number, granted: number) {
    this.owner = owner
    this.granted = granted
    // A whole head must fit into the bytes of one batch.
    this.eventChunks = new Uint8Array(Math.max(BYTES, 4 * headerBytes))
    this.eventBytes = Buffer.from(this.eventChunks.buffer) as RawBuffer
    const memory: ThreadMemory = {
      events: this.events,
      eventBytes: this.eventChunks,
      commands: this.commands,
      commandBytes: this.commandBytes,
      stats: this.stats,
    }
    this.thread = listener.start(index, memory, performance.now(), this.ring)
  }

  /** Every open connection. */
  *open(): Iterable<Connection> {
    for (const connection of this.connections) if (connection !== undefined) yield connection
  }

  /** The native side is gone: what is queued has nobody to go to. */
  stop(): void {
    this.stopped = true
  }

  // ---------------------------------------------------------------------------------------------- events

  private takeAll(): void {
    // The promises resolved below run their reactions after this callback: one flush after those, none before.
    const arranged = this.scheduled
    this.scheduled = true
    let takes = 0
    let count = 0
    do {
      count = this.stopped ? 0 : this.thread.take()
      if (count > 0) this.dispatch(count)
    } while (count > 0 && ++takes < MAX_TAKES)
    if (count > 0) setImmediate(this.ring)
    if (arranged) return
    if (this.records > 0) queueMicrotask(this.arrangeTick)
    else this.scheduled = false
  }

  private dispatch(count: number): void {
    this.at = 0
    this.eventBlob = 0
    const end = count * EVENT_WORDS
    let record = 0
    while (record < end) {
      try {
        for (; record < end; record += EVENT_WORDS) this.event(record)
      } catch (error) {
        // A fault in one exchange must not take the other events with it. `at` is past its bytes already.
        record += EVENT_WORDS
        process.nextTick(rethrow, error)
      }
    }
    this.eventBlobs = null
  }

  /** One event. Moves past its bytes before it tells anybody. */
  private event(record: number): void {
    const events = this.events
    const kind = events[record]
    const number = events[record + 1]
    if (kind === EVENT.connection) {
      const text = this.utf8(events[record + 9])
      this.granted--
      this.connections[number] = this.owner.opened(this, number, events[record + 8], text)
      return
    }
    if (kind === EVENT.stopped) return this.owner.stopped()

    const connection = this.connections[number]!
    const id = events[record + 2]
    const sequence = events[record + 3]
    const double = record >>> 1
    switch (kind) {
      case EVENT.request: {
        const packed = events[record + 8]
        const text = this.latin1(events[record + 9])
        const body = ((packed >>> 16) & BODY_COMPLETE) === 0 ? null : this.chunk(events[record + 11])
        return connection.requested(id, sequence, packed, text, events[record + 10], this.numbers[double + 2], this.numbers[double + 3], body)
      }
      case EVENT.sent:
        return connection.find(id)?.sent(sequence, this.numbers[double + 2], this.numbers[double + 3])
      case EVENT.chunk: {
        const chunk = this.chunk(events[record + 8])
        return connection.find(id)?.chunk(sequence, chunk)
      }
      case EVENT.end: {
        const trailers = this.latin1(events[record + 8])
        return connection.find(id)?.endBody(sequence, events[record + 9] === 1 ? trailers : null)
      }
      case EVENT.written:
        return connection.find(id)?.written(sequence, this.numbers[double + 3])
      case EVENT['body-failed']: {
        const error = this.error(record)
        return connection.find(id)?.bodyFailed(sequence, error)
      }
      case EVENT.failed: {
        const error = this.error(record)
        return connection.find(id)?.failed(sequence, error)
      }
      case EVENT.rejected: {
        const error = this.error(record)
        return connection.find(id)?.rejected(sequence, events[record + 10], error)
      }
      case EVENT.upgraded:
        return connection.find(id)?.upgraded(sequence)
      case EVENT.closed: {
        const message = this.utf8(events[record + 9])
        this.connections[number] = undefined
        this.command(COMMAND.release, number, 0, 0)
        return connection.ended(events[record + 8], message)
      }
      default:
        throw new Error(`hyperpull: no such event: ${kind}`)
    }
  }

  /** Bytes of the caller's own: a view of the batch would show other requests' bytes. */
  private chunk(length: number): Uint8Array {
    if (length === BLOB) {
      this.eventBlobs ??= this.thread.blobs()!
      return this.eventBlobs[this.eventBlob++]
    }
    const start = this.at
    this.at = start + length
    return this.eventChunks.slice(start, this.at)
  }

  private latin1(length: number): string {
    const start = this.at
    this.at = start + length
    return this.eventBytes.latin1Slice(start, this.at)
  }

  private utf8(length: number): string {
    const start = this.at
    this.at = start + length
    return this.eventBytes.utf8Slice(start, this.at)
  }

  private error(record: number): PullError {
    return new PullError(CODES[this.events[record + 8]], this.utf8(this.events[record + 9]))
  }

  // ------------------------------------------------------------------------------------------ responses

  /**
   * A whole response. Throws, with nothing queued, when it may not be sent so.
   * `exempt`: the body need not have the length that the head declares (HEAD, 304).
   */
  send(exchange: Exchange, status: number, headers: Head, body: Body, place: number, exempt: boolean): void {
    const start = this.begin(headers)
    const head = this.putHead(start, headers, place, -1)
    const length = this.putBody(head, body)
    if (this.declared !== -1 && this.declared !== length && !exempt) {
      this.dropBlob(length)
      throw new PullError('ERR_BODY_LENGTH_MISMATCH', `content-length is ${this.declared}, but the body has ${length} bytes`)
    }
    this.answer(COMMAND.send, exchange, status, start, head, length)
  }

  /** Begins a response, whose body has `length` bytes if that is known (else -1). Gives the content-length that it declares, or -1. */
  start(exchange: Exchange, status: number, headers: Head, length: number, place: number): number {
    const start = this.begin(headers)
    const head = this.putHead(start, headers, place, length)
    this.answer(COMMAND.start, exchange, status, start, head, 0)
    return this.declared
  }

  inform(exchange: Exchange, status: number, headers: Head, place: number): void {
    const start = this.begin(headers)
    this.answer(COMMAND.inform, exchange, status, start, this.putHead(start, headers, place, -1), 0)
  }

  upgrade(exchange: Exchange, status: number, headers: Head, place: number): void {
    const start = this.begin(headers)
    this.answer(COMMAND.upgrade, exchange, status, start, this.putHead(start, headers, place, -1), 0)
  }

  /** Body or tunnel bytes. They are copied before it returns. */
  write(exchange: Exchange, chunk: Body): void {
    const start = this.room()
    const length = this.putBody(start, chunk)
    this.headFlag = 0
    this.answer(COMMAND.write, exchange, 0, start, start, length)
    if (length > INLINE_BODY) this.flush()
  }

  finish(exchange: Exchange, trailers: HeadersLike | undefined, place: number): void {
    const start = this.room()
    const head = trailers === undefined ? start : encodeFields(this.commandMemory, start, start + HEAD_ROOM, trailers, place)
    this.headFlag = trailers === undefined ? 0 : FLAG_TRAILERS
    this.answer(COMMAND.finish, exchange, 0, start, head, 0)
  }

  /** Writes a head from `at` and gives the offset behind it. Adds the content-length of a body of `length` bytes. */
  private putHead(at: number, headers: Head, place: number, length: number): number {
    this.headFlag = 0
    this.headNumber = 0
    this.declared = -1
    if (headers instanceof Prepared) {
      if (headers.hop && (place & ON_H2) !== 0) throw new PullError('ERR_INVALID_HEADER', 'a prepared head with connection-specific fields may not be sent on HTTP/2 (RFC 9113 section 8.2.2)')
      this.declared = headers.declaredLength
      if (length === -1 || this.declared !== -1) {
        this.headFlag = FLAG_PREPARED
        this.headNumber = headers.number
      } else {
        this.commandBytes.set(headers.bytes, at)
        at += headers.bytes.length
      }
    } else if (headers !== undefined) {
      at = encodeFields(this.commandMemory, at, at + HEAD_ROOM, headers as HeadersLike, place)
      this.declared = declaredLength
    }
    if (length === -1) return at
    if (this.declared === -1) {
      this.declared = length
      return encodeLength(this.commandMemory, at, length)
    }
    if (this.declared !== length) throw new PullError('ERR_BODY_LENGTH_MISMATCH', `content-length is ${this.declared}, but the body has ${length} bytes`)
    return at
  }

  /** Writes a body from `at`, or keeps it as a blob when it is over INLINE_BODY, and gives its length. */
  private putBody(at: number, body: Body): number {
    if (typeof body === 'string') {
      const length = body.length
      if (length <= SHORT_TEXT) return this.commandMemory.putShort(at, body)
      if (length <= INLINE_BODY) {
        const written = this.commandBytes.utf8Write(body, at)
        if (written <= INLINE_BODY) return written
      }
      body = Buffer.from(body)
    } else if (body.byteLength <= INLINE_BODY) {
      this.commandBytes.set(body, at)
      return body.byteLength
    }
    if (this.commandBlobs === null) this.commandBlobs = [body]
    else this.commandBlobs.push(body)
    return body.byteLength
  }

  private dropBlob(length: number): void {
    if (length > INLINE_BODY) this.commandBlobs!.pop()
  }

  /** Completes a command whose head lies from `start` to `head`, and whose body of `length` bytes follows it or is a blob. */
  private answer(kind: number, exchange: Exchange, status: number, start: number, head: number, length: number): void {
    const inline = length <= INLINE_BODY
    const commands = this.commands
    const record = this.records++ * COMMAND_WORDS
    commands[record] = kind | this.headFlag
    commands[record + 1] = exchange.connection.number
    commands[record + 2] = exchange.id
    commands[record + 3] = exchange.sequence
    commands[record + 4] = status
    commands[record + 5] = head - start
    commands[record + 6] = inline ? length : BLOB
    commands[record + 7] = this.headNumber
    this.bytes = inline ? head + length : head
    this.schedule()
  }

  // ------------------------------------------------------------------------------------ other commands

  reset(exchange: Exchange, reason: number): void {
    this.command(COMMAND.reset, exchange.connection.number, exchange.id, reason, exchange.sequence)
  }

  pullRequests(connection: number, count: number): void {
    this.command(COMMAND['pull-requests'], connection, 0, count)
  }

  pullChunk(exchange: Exchange, most: number): void {
    this.command(COMMAND['pull-chunk'], exchange.connection.number, exchange.id, most, exchange.sequence)
  }

  drain(connection: number): void {
    this.command(COMMAND.drain, connection, 0, 0)
  }

  close(connection: number): void {
    this.command(COMMAND.close, connection, 0, 0)
  }

  pullConnections(count: number): void {
    this.granted += count
    this.command(COMMAND['pull-connections'], 0, 0, count)
  }

  drainAll(): void {
    this.command(COMMAND['drain-all'], 0, 0, 0)
  }

  closeAll(): void {
    this.command(COMMAND['close-all'], 0, 0, 0)
  }

  private command(kind: number, connection: number, stream: number, aux: number, sequence = 0): void {
    this.room()
    const commands = this.commands
    const record = this.records++ * COMMAND_WORDS
    commands[record] = kind
    commands[record + 1] = connection
    commands[record + 2] = stream
    commands[record + 3] = sequence
    commands[record + 4] = 0
    commands[record + 5] = 0
    commands[record + 6] = 0
    commands[record + 7] = aux
    this.schedule()
  }

  // --------------------------------------------------------------------------------------------- flush

  /** Where a command with this head may be written. A prepared head that the thread does not know goes before it. */
  private begin(headers: Head): number {
    if (headers instanceof Prepared && !this.prepared.has(headers.number)) {
      this.prepared.add(headers.number)
      const at = this.room()
      this.commandBytes.set(headers.bytes, at)
      this.command(COMMAND.prepare, 0, 0, headers.number)
      this.commands[(this.records - 1) * COMMAND_WORDS + 5] = headers.bytes.length
      this.bytes = at + headers.bytes.length
    }
    return this.room()
  }

  /** Where the next command's bytes may be written: there is room for any. */
  private room(): number {
    if (this.records === RECORDS || this.bytes > BYTES - COMMAND_ROOM) this.flush()
    return this.bytes
  }

  /** A process.nextTick runs after the microtasks of the callback that is running: all the answers of a turn go down at once. */
  private schedule(): void {
    if (this.scheduled) return
    this.scheduled = true
    process.nextTick(this.tick)
  }

  /** Hands over what is queued. */
  flush(): void {
    this.scheduled = false
    if (this.records === 0) return
    const { records, bytes, commandBlobs } = this
    this.records = 0
    this.bytes = 0
    this.commandBlobs = null
    if (!this.stopped) this.thread.submit(records, bytes, commandBlobs)
  }
}

function rethrow(error: unknown): never {
  throw error
}
