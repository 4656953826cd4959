// Hot: runs for every event. With commands.ts the only file that knows the layout of the records (docs/crossing.md).
// Budget of one request: no native call, one object, no string of its own.

import type { NativeListener, NativeLoop, LoopMemory } from './binding.js'
import { Commands } from './commands.js'
import type { Connection } from './connection.js'
import { PullError, rethrow } from './errors.js'
import * as layout from './layout.js'
import type { RawBuffer } from './raw.js'

// V8 does not fold what is imported, but it does fold these.
const { BODY_COMPLETE, CLOSE_INTERNAL, CODES, COUNTERS, EVENT, PLACES, REFUSALS } = layout
const { request: REQUEST, sent: SENT } = EVENT
const WORDS = layout.EVENT_WORDS
/** As a signed word. */
const BLOB = layout.BLOB | 0
/** In a request's first word: its body came whole with the head. */
const WHOLE = BODY_COMPLETE << 16

const RECORDS = 4096
const BYTES = 1 << 20
/** Heads are decoded so many bytes at once: one call a head costs more than all the rest of it. A request that is kept pins so much. */
const TEXT_WINDOW = 4 << 10

/** What a crossing tells its listener. */
export interface CrossingOwner {
  opened(crossing: Crossing, number: number, protocol: number, text: string): Connection
  stopped(): void
}

/** JavaScript's side of one I/O loop: events come out of it, commands go into it. */
export class Crossing {
  /** The counters: COUNTERS, then REFUSALS. */
  readonly stats = new Float64Array(COUNTERS.length + REFUSALS.length)
  /** Connections that the loop may bring up beyond those it has. */
  granted = 0

  readonly commands: Commands

  private readonly owner: CrossingOwner
  private readonly loop: NativeLoop
  private readonly connections: (Connection | undefined)[] = []

  /** Signed words: every one of them is a small integer of V8's. */
  private readonly events = new Int32Array(RECORDS * WORDS)
  /** The same records, read as doubles. */
  private readonly numbers = new Float64Array(this.events.buffer)
  private readonly eventBytes: RawBuffer
  private readonly eventChunks: Uint8Array
  /** Where the next event's bytes begin. */
  private at = 0
  private eventBlobs: Uint8Array[] | null = null
  private eventBlob = 0
  /** Bytes of the batch as text, where they begin and where they end. */
  private window = ''
  private windowStart = 0
  private windowEnd = 0
  private recordsEnd = 0

  constructor(owner: CrossingOwner, listener: NativeListener, index: number, headerBytes: number, granted: number) {
    this.owner = owner
    this.granted = granted
    this.commands = new Commands()
    // A whole head must fit into the bytes of one batch.
    this.eventChunks = new Uint8Array(Math.max(BYTES, 4 * headerBytes))
    this.eventBytes = Buffer.from(this.eventChunks.buffer) as RawBuffer
    const memory: LoopMemory = {
      events: new Uint32Array(this.events.buffer),
      eventBytes: this.eventChunks,
      commands: new Uint32Array(this.commands.records.buffer),
      commandBytes: this.commands.memory.bytes,
      stats: this.stats,
    }
    this.loop = listener.start(index, memory, performance.now(), (records) => this.told(records))
    this.commands.connect(this.loop)
  }

  /** Every open connection. */
  *open(): Iterable<Connection> {
    for (const connection of this.connections) if (connection !== undefined) yield connection
  }

  /** The loop may bring up one connection more. */
  grant(): void {
    this.granted++
    this.commands.pullConnections(1)
  }

  /** The native side is gone: what is queued has nobody to go to. */
  stop(): void {
    this.commands.connect(null)
  }

  // ---------------------------------------------------------------------------------------------- events

  /** There are so many events in the memory. What they are answered with is taken when all that they set off has run. */
  private told(count: number): void {
    this.at = 0
    this.eventBlob = 0
    this.window = ''
    this.windowStart = 0
    this.windowEnd = 0
    const end = count * WORDS
    this.recordsEnd = end
    let record = 0
    while (record < end) {
      try {
        for (; record < end; record += WORDS) this.event(record)
      } catch (error) {
        // A fault in one exchange must not take the other events with it. `at` is past its bytes already.
        record += WORDS
        process.nextTick(rethrow, error)
      }
    }
    this.eventBlobs = null
    this.window = ''
  }

  /** One event. Moves past its bytes before it tells anybody. The two kinds of each exchange are here, to be compiled by themselves. */
  private event(place: number): void {
    const record = place & PLACES
    const events = this.events
    const kind = events[record]
    if (kind !== REQUEST && kind !== SENT) return this.otherEvent(record, kind)
    const connection = this.connections[events[record + 1]]!
    const id = events[record + 2]
    const sequence = events[record + 3]
    const double = record >>> 1
    if (kind === SENT) return connection.find(id)?.sent(sequence, this.numbers[double + 2], this.numbers[double + 3])

    const packed = events[record + 8]
    const head = events[record + 9]
    const whole = (packed & WHOLE) !== 0
    const length = whole && events[record + 11] !== BLOB ? events[record + 11] : 0
    const end = this.at + head + length
    if (end > this.windowEnd) this.openWindow(record, head + length)
    const { window } = this
    const start = this.at - this.windowStart
    this.at = end
    // A small body stays text too, one character a byte: most are never looked at as bytes.
    const body = !whole ? null : events[record + 11] === BLOB ? this.chunk(record, BLOB) : window.slice(start + head, start + head + length)
    connection.requested(
      id,
      sequence,
      packed,
      window,
      start,
      head,
      events[record + 10],
      this.numbers[double + 2],
      this.numbers[double + 3],
      body,
    )
  }

  private otherEvent(record: number, kind: number): void {
    const events = this.events
    const number = events[record + 1]
    if (kind === EVENT.connection) {
      const text = this.utf8(events[record + 9])
      this.granted--
      this.connections[number] = this.owner.opened(this, number, events[record + 8], text)
      return
    }
    if (kind === EVENT.stopped) return this.ended()

    const connection = this.connections[number]!
    const id = events[record + 2]
    const sequence = events[record + 3]
    switch (kind) {
      case EVENT.chunk: {
        const chunk = this.chunk(record, events[record + 8])
        return connection.find(id)?.chunk(sequence, chunk, events[record + 9] === 1)
      }
      case EVENT.end: {
        const trailers = this.latin1(events[record + 8])
        return connection.find(id)?.endBody(sequence, events[record + 9] === 1 ? trailers : null)
      }
      case EVENT.written:
        return connection.find(id)?.written(sequence, this.numbers[(record >>> 1) + 3])
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
      case EVENT.upgraded: {
        const protocol = this.latin1(events[record + 8])
        return connection.find(id)?.upgraded(sequence, protocol)
      }
      case EVENT.closed: {
        const message = this.utf8(events[record + 9])
        this.connections[number] = undefined
        this.commands.releaseConnection(number)
        return connection.ended(events[record + 8], message)
      }
      default:
        throw new Error(`hyperpull: no such event: ${kind}`)
    }
  }

  /** The loop has ended. What is open by then has ended with it, by a fault: nothing else will tell. */
  private ended(): void {
    for (const connection of this.open()) connection.ended(CLOSE_INTERNAL, 'internal fault: the I/O loop has ended')
    this.connections.length = 0
    this.owner.stopped()
  }

  /** Bytes of the caller's own: a view of the batch would show other requests' bytes. */
  private chunk(record: number, length: number): Uint8Array {
    if (length === BLOB) {
      const index = this.eventBlob++
      try {
        this.eventBlobs ??= this.loop.blobs()!
        const { buffer, byteOffset, byteLength } = this.eventBlobs[index]
        return new Uint8Array(buffer, byteOffset, byteLength)
      } catch (error) {
        // The bytes are lost, and whoever waits for them would wait for ever.
        this.commands.close(this.events[record + 1])
        throw error
      }
    }
    const start = this.at
    this.at = start + length
    return this.eventChunks.slice(start, this.at)
  }

  /**
   * Makes a text that has the next `length` bytes in it, which are those of `record`. It goes on for as long as the other records' may
   * be, not are known to be: what lies behind the last one is never looked at.
   */
  private openWindow(record: number, length: number): void {
    const heads = ((this.recordsEnd - record) / WORDS) * length
    const size = Math.max(length, Math.min(heads, TEXT_WINDOW))
    const end = Math.min(this.at + size, this.eventBytes.length)
    this.window = this.eventBytes.latin1Slice(this.at, end)
    this.windowStart = this.at
    this.windowEnd = end
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
}
