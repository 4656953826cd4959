import { AsyncResource } from 'node:async_hooks'
import { isIP } from 'node:net'
import { Duplex } from 'node:stream'

import type * as contract from '../index.js'
import { LONGEST_TIMER } from './deadline.js'
import { PullError, isQuiet } from './errors.js'
import { RESET } from './layout.js'
import type { Receiver } from './receiver.js'
import { DONE, type Writer } from './response.js'
import type { Stream } from './stream.js'

/** What may have been taken before the I/O loop is told: half of what comes ahead of that. */
const DUE = 32 << 10

/** The tunnel of a stream that has left HTTP. Bytes come as they are read, and a little ahead; `write` waits as a response's does. */
export class UpgradedStream extends Duplex implements contract.UpgradedStream {
  readonly remote: contract.Address
  bytesRead = 0
  bytesWritten = 0

  private readonly incoming: Incoming
  /** The context (AsyncLocalStorage) of who reads. What comes is told in it. */
  private reader: AsyncResource | null = null
  private idle: NodeJS.Timeout | null = null

  constructor(
    private readonly stream: Stream,
    sequence: number,
    readonly protocol: string,
    private readonly writer: Writer,
  ) {
    super()
    this.remote = stream.connection.remote
    // Either half may be the one that still listens. Not at once: what has come together with the tunnel itself is told after whoever waits
    // for that has it, and listens.
    const fail = (error: PullError): void => void setImmediate(() => this.fail(error))
    this.incoming = new Incoming(stream, sequence, (chunk) => this.received(chunk), fail)
    writer.onFail = fail
    writer.onWritten = () => void this.idle?.refresh()
  }

  override _read(): void {
    this.reader ??= new AsyncResource('UpgradedStream')
    this.incoming.wanted()
  }

  private received(chunk: Uint8Array | null): void {
    this.bytesRead += chunk?.byteLength ?? 0
    this.idle?.refresh()
    this.reader!.runInAsyncScope(this.push, this, chunk)
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.bytesWritten += chunk.byteLength
    this.idle?.refresh()
    this.tell(this.writer.write(chunk), done)
  }

  override _writev(chunks: { chunk: Buffer }[], done: (error?: Error | null) => void): void {
    for (const { chunk } of chunks) this.bytesWritten += chunk.byteLength
    this.idle?.refresh()
    this.tell(this.writer.writeAll(chunks.map(({ chunk }) => chunk)), done)
  }

  override _final(done: (error?: Error | null) => void): void {
    // It resolves when the other half has ended too: that is not this half's affair.
    this.writer.finish().catch(ignore)
    this.tell(this.writer.flush(), done)
  }

  private tell(written: Promise<void>, done: (error?: Error | null) => void): void {
    if (written === DONE) return done()
    written.then(
      () => done(),
      (error: PullError) => {
        // First: of what `done` is given a stream that is not destroyed makes an 'error'.
        this.fail(error)
        done(error)
      },
    )
  }

  /**
   * The tunnel has failed. This side's close is no error of the tunnel's, as in net.Socket: only the writes that it cuts short are told. And
   * a peer that leaves ends no process that does not listen.
   */
  private fail(error: PullError): void {
    const untold = error.code === 'ERR_CLOSED' || (isQuiet(error) && this.listenerCount('error') === 0)
    this.destroy(untold ? undefined : error)
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    if (this.idle !== null) clearTimeout(this.idle)
    this.idle = null
    if (!this.incoming.ended || !this.writableFinished) this.stream.abandon(RESET.cancel, new PullError('ERR_CLOSED', 'the tunnel was destroyed'))
    done(error)
  }

  // ------------------------------------------------------------------------------------ as a net.Socket

  get remoteAddress(): string | undefined {
    return 'host' in this.remote ? this.remote.host : undefined
  }

  get remotePort(): number | undefined {
    return 'port' in this.remote ? this.remote.port : undefined
  }

  get remoteFamily(): 'IPv4' | 'IPv6' | undefined {
    return this.remoteAddress === undefined ? undefined : isIP(this.remoteAddress) === 6 ? 'IPv6' : 'IPv4'
  }

  get localAddress(): string | undefined {
    const { local } = this.stream.connection
    return 'host' in local ? local.host : undefined
  }

  get localPort(): number | undefined {
    const { local } = this.stream.connection
    return 'port' in local ? local.port : undefined
  }

  setTimeout(milliseconds: number, listener?: () => void): this {
    if (this.destroyed) return this
    if (this.idle !== null) clearTimeout(this.idle)
    this.idle = milliseconds > 0 ? setTimeout(() => this.emit('timeout'), Math.min(milliseconds, LONGEST_TIMER)).unref() : null
    if (listener !== undefined) {
      if (milliseconds > 0) this.once('timeout', listener)
      else this.off('timeout', listener)
    }
    return this
  }

  setNoDelay(): this {
    return this
  }

  setKeepAlive(): this {
    return this
  }

  ref(): this {
    return this
  }

  unref(): this {
    return this
  }
}

/** The incoming half: goes on as long as there is room for it. */
class Incoming implements Receiver {
  ended = false
  private failed = false
  /** The reader has room, and nothing has come since. */
  private waits = false
  /** Bytes that have come and the I/O loop was not told of, and how many it is told of at the latest. */
  private taken = 0
  private readonly due: number
  /** No more come until it has been told. */
  private full = true
  /** What comes behind all that has come. */
  private broken: PullError | null = null

  constructor(
    private readonly stream: Stream,
    readonly sequence: number,
    private readonly receive: (chunk: Uint8Array | null) => void,
    private readonly onFail: (error: PullError) => void,
  ) {
    this.due = stream.tellsAfter(DUE)
    stream.receive(this)
  }

  /** There is room for more than has come. */
  wanted(): void {
    this.waits = true
    if (this.broken !== null) return this.fail(this.broken)
    const { full, taken } = this
    if (!full && taken < this.due) return
    this.full = false
    this.taken = 0
    this.stream.readOn(taken, true, !full)
  }

  chunk(bytes: Uint8Array, full: boolean): void {
    this.full = full
    this.taken += bytes.byteLength
    this.waits = false
    this.receive(bytes)
  }

  end(): void {
    if (this.failed) return
    this.ended = true
    this.receive(null)
  }

  breakOff(error: PullError): void {
    if (this.waits) this.fail(error)
    else this.broken = error
  }

  fail(error: PullError): void {
    if (this.ended || this.failed) return
    this.failed = true
    this.onFail(error)
  }
}

function ignore(): void {}
