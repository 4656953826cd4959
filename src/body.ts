import { Readable } from 'node:stream'

import type * as contract from '../index.js'
import { PullError, isQuiet, refused, settle } from './errors.js'
import { RequestHeaders } from './headers.js'
import { invalid } from './options.js'
import type { RawBuffer } from './raw.js'
import { BodyReceiver } from './receiver.js'
import type { Stream } from './stream.js'

/** The most bytes of one chunk. What garbage waits to be collected counts in these. */
const CHUNK = 128 << 10

const NOT_ASCII = /[^\x00-\x7f]/
const { latin1Write, utf8Slice } = Buffer.prototype as RawBuffer

/** Who reads a body at the moment; a lone `nextChunk` reads while its pull is in flight. */
type Reader = 'whole' | 'iterator' | 'discard' | 'toWeb' | 'toNode'

export class RequestBody implements contract.RequestBody {
  readonly length: number | null
  private readonly stream: Stream
  private readonly sequence: number
  private readonly receiver: BodyReceiver | null
  /** What came with the head and was not taken yet: bytes, or a text of one character a byte; null: the reader was told the end. */
  private whole: Uint8Array | string | null
  private reader: Reader | null = null
  /** A chunk on its way to `toWeb` or `toNode`. When they are left before it has come, it is the next reader's. */
  private held: Promise<Uint8Array | null> | null = null
  private trailerText: string | null = null
  private lazyTrailers: Promise<RequestHeaders | null> | null = null
  private settleTrailers: { resolve(trailers: RequestHeaders | null): void; reject(error: PullError): void } | null = null

  constructor(stream: Stream, sequence: number, length: number, whole: Uint8Array | string | null) {
    this.stream = stream
    this.sequence = sequence
    this.length = length === -1 ? null : length
    this.whole = whole
    this.receiver =
      whole !== null
        ? null
        : new BodyReceiver(
            stream,
            sequence,
            stream.tellsAfter(CHUNK),
            (taken, waits, full) => stream.readOn(taken, waits, !full),
            (text) => this.ended(text),
            (error) => this.settleTrailers?.reject(error),
          )
  }

  nextChunk(): Promise<Uint8Array | null> {
    if (this.busy) return Promise.reject(this.inUse())
    return this.take()
  }

  bytes(limit = this.limit): Promise<Uint8Array> {
    return this.read(limit, toBytes)
  }

  text(limit = this.limit): Promise<string> {
    return this.read(limit, toText)
  }

  json<T = unknown>(limit = this.limit): Promise<T> {
    return this.read(limit, toJson as (whole: Uint8Array | string) => T)
  }

  private read<T>(limit: number, convert: (whole: Uint8Array | string) => T): Promise<T> {
    if (this.receiver !== null || this.held !== null) return settle(this.readAll(limit).then(convert))
    try {
      this.checkWhole(limit)
      const whole = this.whole!
      this.whole = null
      return Promise.resolve(convert(whole))
    } catch (error) {
      return refused(error)
    }
  }

  private async readAll(limit: number): Promise<Uint8Array> {
    this.checkWhole(limit)
    this.reader = 'whole'
    try {
      const chunks: Uint8Array[] = []
      let size = 0
      for (;;) {
        const chunk = await this.take()
        if (chunk === null) return chunks.length === 1 ? chunks[0] : concat(chunks, size)
        size += chunk.byteLength
        if (size > limit) throw tooLarge(limit)
        chunks.push(chunk)
      }
    } finally {
      this.reader = null
    }
  }

  /** May the whole body be read? */
  private checkWhole(limit: number): void {
    if (this.busy) throw this.inUse()
    if (this.receiver === null ? this.whole === null : this.receiver.told) throw new PullError('ERR_BODY_IN_USE', 'the body has been read already')
    checkLimit(limit)
    if (this.receiver === null) this.checkInTime()
    if (this.length !== null && this.length > limit) throw tooLarge(limit)
  }

  get trailers(): Promise<RequestHeaders | null> {
    if (this.lazyTrailers === null) {
      this.lazyTrailers = new Promise((resolve, reject) => {
        const failure = this.receiver?.failure ?? null
        if (failure !== null) reject(failure)
        else if (this.receiver === null || this.receiver.ended) resolve(this.trailerText === null ? null : new RequestHeaders(this.trailerText, 0))
        else this.settleTrailers = { resolve, reject }
      })
      // Whoever reads the chunks is told of a failure there.
      this.lazyTrailers.catch(() => {})
    }
    return this.lazyTrailers
  }

  discard(limit = this.limit): Promise<void> {
    return settle(this.drop(limit))
  }

  private async drop(limit: number): Promise<void> {
    checkLimit(limit)
    this.claim('discard')
    try {
      for (let size = 0; size <= limit;) {
        const chunk = await this.take()
        if (chunk === null) return
        size += chunk.byteLength
      }
    } finally {
      this.reader = null
    }
  }

  toWeb(): ReadableStream<Uint8Array> {
    this.claim('toWeb')
    let left = false
    return new ReadableStream(
      {
        type: 'bytes',
        pull: async (controller) => {
          let chunk: Uint8Array | null
          try {
            chunk = await (this.held = this.take())
          } catch (error) {
            if (!left) this.reader = null
            throw error
          }
          if (left) return
          this.held = null
          if (chunk !== null) return controller.enqueue(chunk)
          this.reader = null
          controller.close()
          // A reader that brought its own buffer is answered with it, empty (Streams standard, ReadableByteStreamController).
          controller.byobRequest?.respond(0)
        },
        cancel: () => {
          left = true
          this.reader = null
        },
      },
      { highWaterMark: 0 },
    )
  }

  toNode(): Readable {
    this.claim('toNode')
    const body = this
    return new Readable({
      highWaterMark: CHUNK,
      read(): void {
        body.held = body.take()
        body.held.then(
          (chunk) => {
            if (this.destroyed) return
            body.held = null
            this.push(chunk)
          },
          (error) => this.destroy(error),
        )
      },
      destroy(error, done): void {
        body.reader = null
        // As in node:http: a peer that leaves ends no process that does not listen.
        done(isQuiet(error) && this.listenerCount('error') === 0 ? null : error)
      },
    })
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, undefined> {
    this.claim('iterator')
    try {
      for (;;) {
        const chunk = await this.take()
        if (chunk === null) return
        yield chunk
      }
    } finally {
      this.reader = null
    }
  }

  /** Nothing of it is left to be taken. */
  get isRead(): boolean {
    if (this.held !== null) return false
    return this.receiver === null ? this.whole === null || this.whole.length === 0 : this.receiver.ended
  }

  /** A stream is made of it, which pulls when it is read. */
  get isStreamed(): boolean {
    return this.reader === 'toWeb' || this.reader === 'toNode'
  }

  /** Pulls the first chunk, for whoever is going to read. */
  ask(): void {
    if (this.isStreamed || !this.busy) this.held ??= this.take()
  }

  private get limit(): number {
    return this.stream.connection.listener.settings.limits.bodyBytes
  }

  private get busy(): boolean {
    return this.reader !== null || (this.held === null && this.receiver !== null && this.receiver.pulling !== null)
  }

  private claim(reader: Reader): void {
    if (this.busy) throw this.inUse()
    this.reader = reader
  }

  private inUse(): PullError {
    return new PullError('ERR_BODY_IN_USE', `the body is being read${this.reader === null ? '' : ` (${this.reader})`}`)
  }

  private take(): Promise<Uint8Array | null> {
    const { held, whole } = this
    this.held = null
    if (held !== null) return held
    if (this.receiver !== null) return this.receiver.pull()
    if (whole === null || whole.length === 0) {
      this.whole = null
      return Promise.resolve(null)
    }
    try {
      this.checkInTime()
    } catch (error) {
      return refused(error)
    }
    this.whole = ''
    return Promise.resolve(toBytes(whole))
  }

  /** What came with the head may be read until the exchange is over, as what did not; but though the peer has left. */
  private checkInTime(): void {
    const over = this.stream.over(this.sequence)
    if (over !== null && over.side !== 'peer') throw over
  }

  private ended(trailers: string | null): void {
    this.trailerText = trailers
    this.settleTrailers?.resolve(trailers === null ? null : new RequestHeaders(trailers, 0))
  }
}

function checkLimit(limit: number): void {
  if (typeof limit !== 'number' || !(limit >= 0)) throw invalid('limit', 'a number of bytes', limit)
}

function tooLarge(limit: number): PullError {
  return new PullError('ERR_BODY_TOO_LARGE', `the request body is larger than ${limit} bytes`)
}

function toBytes(whole: Uint8Array | string): Uint8Array {
  if (typeof whole !== 'string') return whole
  const bytes = new Uint8Array(whole.length)
  latin1Write.call(bytes, whole, 0)
  return bytes
}

function toText(whole: Uint8Array | string): string {
  if (typeof whole === 'string' && !NOT_ASCII.test(whole)) return whole
  const bytes = toBytes(whole)
  const text = utf8Slice.call(bytes, 0, bytes.byteLength)
  return text.charCodeAt(0) === 0xfeff ? text.slice(1) : text
}

function toJson(whole: Uint8Array | string): unknown {
  try {
    return JSON.parse(toText(whole))
  } catch (cause) {
    throw new PullError('ERR_PROTOCOL', 'the request body is not JSON', { cause })
  }
}

function concat(chunks: Uint8Array[], size: number): Uint8Array {
  const bytes = new Uint8Array(size)
  let at = 0
  for (const chunk of chunks) {
    bytes.set(chunk, at)
    at += chunk.byteLength
  }
  return bytes
}
