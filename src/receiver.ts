// The receive half of one exchange: what comes of a body, or of a tunnel (upgraded.ts), and who takes it.

import { PullError, hush, refused } from './errors.js'
import type { Stream } from './stream.js'

/** Who takes what comes of one exchange: of its body, or of its tunnel. */
export interface Receiver {
  readonly sequence: number
  /** All of it has been taken. */
  readonly ended: boolean
  /** `full`: no more come until some have been taken. */
  chunk(bytes: Uint8Array, full: boolean): void
  /** It is complete. */
  end(trailers: string | null): void
  /** It cannot be read to its end. What has come still can. */
  breakOff(error: PullError): void
  /** Nothing more can be read, whatever has come. */
  fail(error: PullError): void
}

/** `taken` bytes more have been taken; `waits`: the reader has all that came, and waits; `full`: no more is read until it is told. */
type Tell = (taken: number, waits: boolean, full: boolean) => void

/**
 * The chunks of a body: one pull, one answer, never two pulls in flight. What has come ahead of the pulls waits here.
 *
 *     IDLE ──pull──► PULLING ──chunk──► IDLE
 *       │               ├──────end────► ENDED
 *       └──────fail─────┴──────fail───► FAILED
 */
export class BodyReceiver implements Receiver {
  /** A pull is in flight. */
  pulling: Promise<Uint8Array | null> | null = null
  /** All of it has been taken; and the reader has been told so. */
  ended = false
  told = false
  failure: PullError | null = null
  /** Chunks that have come and nobody has pulled. */
  private readonly chunks: Uint8Array[] = []
  /** What is known to come behind them: the end, which comes when the last of them has been taken. */
  private whenTaken: (() => void) | null = null
  /** Or a failure, which comes with the pull behind the last of them. */
  private whenPulled: (() => void) | null = null
  /** Bytes that were taken since `tell` was told. */
  private taken = 0
  private full = true
  private resolve!: (chunk: Uint8Array | null) => void
  private reject!: (error: PullError) => void

  constructor(
    stream: Stream,
    readonly sequence: number,
    /** `tell` is told when so many bytes have been taken, if not before. */
    private readonly due: number,
    private readonly tell: Tell,
    /** Told once, at the end: the trailers' text, or null. */
    private readonly onEnd: (trailers: string | null) => void,
    private readonly onFail: (error: PullError) => void,
  ) {
    stream.receive(this)
  }

  /** The next chunk, or null at the end. */
  pull(): Promise<Uint8Array | null> {
    const chunk = this.chunks.shift()
    if (chunk !== undefined) {
      this.take(chunk)
      if (this.chunks.length === 0) this.whenTaken?.()
      return Promise.resolve(chunk)
    }
    this.whenPulled?.()
    if (this.ended) {
      this.told = true
      return Promise.resolve(null)
    }
    if (this.failure !== null) return refused(this.failure)
    this.pulling = new Promise((resolve, reject) => {
      this.resolve = resolve
      this.reject = reject
    })
    this.report(true)
    return this.pulling
  }

  private take(chunk: Uint8Array): void {
    this.taken += chunk.byteLength
    if (this.taken >= this.due) this.report(false)
  }

  private report(waits: boolean): void {
    const { taken } = this
    this.taken = 0
    this.tell(taken, waits, this.full)
  }

  chunk(bytes: Uint8Array, full: boolean): void {
    this.full = full
    if (this.pulling === null) {
      this.chunks.push(bytes)
      return
    }
    this.pulling = null
    this.take(bytes)
    this.resolve(bytes)
  }

  end(trailers: string | null): void {
    if (this.chunks.length === 0) this.finish(trailers)
    else this.whenTaken = () => this.finish(trailers)
  }

  breakOff(error: PullError): void {
    if (this.pulling === null) this.whenPulled = () => this.fail(error)
    else this.fail(error)
  }

  private finish(trailers: string | null): void {
    if (this.ended || this.failure !== null) return
    this.ended = true
    this.onEnd(trailers)
    if (this.pulling === null) return
    this.told = true
    this.pulling = null
    this.resolve(null)
  }

  fail(error: PullError): void {
    if (this.ended || this.failure !== null) return
    this.failure = error
    this.chunks.length = 0
    this.onFail(error)
    if (this.pulling === null) return
    hush(this.pulling, error)
    this.pulling = null
    this.reject(error)
  }
}
