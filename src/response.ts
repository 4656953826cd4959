import type * as contract from '../index.js'
import type { Body, Commands } from './commands.js'
import { PullError, hush, refused } from './errors.js'
import { INLINE_BYTES, RESET } from './layout.js'
import { checkEmpty } from './raw.js'
import type { Stream } from './stream.js'

/** What a write comes to at once, when there is room for more. */
export const DONE = Promise.resolve()

export class Sent implements contract.Sent {
  constructor(
    readonly bytes: number,
    readonly receivedAt: number,
    readonly sentAt: number,
  ) {}

  static {
    // Resolving a promise looks for a `then`: found here, it is not looked for in Object.prototype.
    Object.defineProperty(this.prototype, 'then', { value: undefined })
  }
}

interface Waiter {
  /** Body bytes that must have been sent first. */
  readonly bytes: number
  readonly promise: Promise<void>
  resolve(): void
  reject(error: PullError): void
}

/**
 * The send half of one exchange, piece by piece: of a response, or of a tunnel.
 *
 *     OPEN ──finish──► FINISHED ──sent──► OVER
 *      └──────────────────┴───────fail──► OVER, with a failure
 */
export class Writer implements contract.ResponseWriter {
  /** Bytes handed over, and how many of them have been sent. */
  queued = 0
  sentBytes = 0
  /** Told when the exchange ends without its response having been sent. */
  onFail: ((error: PullError) => void) | null = null
  /** Told when some of it has been sent. */
  onWritten: (() => void) | null = null

  private finished = false
  private over = false
  private failure: PullError | null = null
  private flushes: Waiter[] = []
  private stalled: Waiter[] = []

  constructor(
    private readonly stream: Stream,
    private readonly commands: Commands,
    /** The content-length of the head, or -1. */
    private readonly declared: number,
    /** The response goes without its body (HEAD, 304): what is written is dropped. */
    readonly bodiless: boolean,
  ) {}

  write(chunk: Uint8Array | string): Promise<void> {
    const { refusal } = this
    if (refusal !== null) return refused(refusal)
    if (typeof chunk !== 'string' && !(chunk instanceof Uint8Array))
      return refused(new PullError('ERR_INVALID_OPTION', 'a chunk of a body must be a Uint8Array or a string'))
    const length = typeof chunk === 'string' ? Buffer.byteLength(chunk) : chunk.byteLength
    if (length === 0) return empty(chunk)
    if (this.bodiless) return DONE
    if (this.declared !== -1 && this.queued + length > this.declared) return refused(this.mismatch(this.queued + length))
    this.put(chunk, length)
    return this.room()
  }

  /** Writes several chunks of a tunnel, or none: small ones go down as one. */
  writeAll(chunks: Uint8Array[]): Promise<void> {
    const { refusal } = this
    if (refusal !== null) return refused(refusal)
    try {
      let length = 0
      for (const chunk of chunks) {
        if (chunk.byteLength === 0) checkEmpty(chunk)
        length += chunk.byteLength
      }
      if (length <= INLINE_BYTES) this.put(chunks, length)
      else for (const chunk of chunks) this.put(chunk, chunk.byteLength)
      return this.room()
    } catch (error) {
      return refused(error)
    }
  }

  /** Why nothing more is taken, if so. */
  private get refusal(): PullError | null {
    return this.failure ?? (this.finished ? new PullError('ERR_KEY_USED', 'the response is finished') : null)
  }

  private put(body: Body, length: number): void {
    if (length === 0) return
    this.commands.write(this.stream, body)
    this.queued += length
    this.connection.pendingBytes += length
  }

  /** Waits for room for more. */
  private room(): Promise<void> {
    // Behind the last byte of a declared length comes the end alone: together with it, or the peer may leave between them.
    if (this.hasRoom || this.queued === this.declared) return DONE
    this.connection.stall(this)
    return wait(this.stalled, 0)
  }

  flush(): Promise<void> {
    if (this.failure !== null) return refused(this.failure)
    return this.sentBytes >= this.queued ? DONE : wait(this.flushes, this.queued)
  }

  finish(trailers?: contract.HeadersLike): Promise<contract.Sent> {
    const { refusal } = this
    if (refusal !== null) return refused(refusal)
    if (this.declared !== -1 && this.queued !== this.declared && !this.bodiless) return refused(this.mismatch(this.queued))
    try {
      const sent = this.stream.finish(trailers)
      this.finished = true
      return sent
    } catch (error) {
      return refused(error)
    }
  }

  abort(reason?: unknown): void {
    if (this.over) return
    this.stream.abandon(RESET.internal, new PullError('ERR_CLOSED', 'the response was aborted', reason === undefined ? undefined : { cause: reason }))
  }

  /** As `abort`, unless it is finished. */
  breakOff(reason: unknown): void {
    if (!this.finished) this.abort(reason)
  }

  // -------------------------------------------------------------------------------------------- events

  /** `bytes` of the body have been sent. */
  written(bytes: number): void {
    const released = bytes - this.sentBytes
    this.sentBytes = bytes
    while (this.flushes.length > 0 && this.flushes[0].bytes <= bytes) this.flushes.shift()!.resolve()
    this.connection.written(released)
    if (this.hasRoom) this.resume()
    this.onWritten?.()
  }

  /** The native side refused to finish: the response goes on. */
  reopen(): void {
    this.finished = false
  }

  /** The response has been sent whole. */
  sent(): void {
    this.over = true
    this.finished = true
    this.written(this.queued)
  }

  fail(error: PullError): void {
    if (this.over) return
    this.over = true
    this.failure = error
    const waiters = [...this.flushes.splice(0), ...this.stalled.splice(0)]
    this.connection.resumed(this)
    this.connection.written(this.queued - this.sentBytes)
    for (const waiter of waiters) {
      hush(waiter.promise, error)
      waiter.reject(error)
    }
    this.onFail?.(error)
  }

  /** There is room: whoever waits goes on. */
  resume(): void {
    this.connection.resumed(this)
    for (const waiter of this.stalled.splice(0)) waiter.resolve()
  }

  /** The limit is the connection's. A writer with nothing pending goes on all the same: another stream's slow reader must not hold it. */
  private get hasRoom(): boolean {
    return this.connection.hasRoom || this.sentBytes === this.queued
  }

  private get connection(): Stream['connection'] {
    return this.stream.connection
  }

  private mismatch(bytes: number): PullError {
    return new PullError('ERR_BODY_LENGTH_MISMATCH', `content-length is ${this.declared}, but the body has ${bytes} bytes`)
  }
}

/** The write of a chunk that says that it is empty. */
function empty(chunk: Uint8Array | string): Promise<void> {
  try {
    if (typeof chunk !== 'string') checkEmpty(chunk)
    return DONE
  } catch (error) {
    return refused(error)
  }
}

function wait(queue: Waiter[], bytes: number): Promise<void> {
  let resolve!: () => void
  let reject!: (error: PullError) => void
  const promise = new Promise<void>((...settle) => ([resolve, reject] = settle))
  queue.push({ bytes, promise, resolve, reject })
  return promise
}
