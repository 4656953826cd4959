import { isIP } from 'node:net'
import { Duplex } from 'node:stream'

import type * as contract from '../index.js'
import { Receiver } from './body.js'
import { LONGEST_TIMER } from './deadline.js'
import { PullError } from './errors.js'
import { RESET } from './layout.js'
import type { Writer } from './response.js'
import type { Stream } from './stream.js'

const CHUNK = 64 << 10

/** The tunnel of a stream that has left HTTP. Bytes are pulled as they are read, and `write` waits as a response's does. */
export class UpgradedStream extends Duplex implements contract.UpgradedStream {
  readonly remote: contract.Address
  bytesRead = 0
  bytesWritten = 0

  private readonly receiver: Receiver
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
    this.receiver = new Receiver(stream, sequence, Infinity, () => stream.pullChunk(CHUNK), ignore, fail)
    writer.onFail = fail
  }

  override _read(): void {
    this.receiver.pull().then(
      (chunk) => {
        this.bytesRead += chunk?.byteLength ?? 0
        this.idle?.refresh()
        this.push(chunk)
      },
      // Told above.
      ignore,
    )
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.tell(this.put(chunk), done)
  }

  override _writev(chunks: { chunk: Buffer }[], done: (error?: Error | null) => void): void {
    let last = Promise.resolve()
    for (const { chunk } of chunks) last = this.put(chunk)
    this.tell(last, done)
  }

  private put(chunk: Buffer): Promise<void> {
    this.bytesWritten += chunk.byteLength
    this.idle?.refresh()
    return this.writer.write(chunk)
  }

  override _final(done: (error?: Error | null) => void): void {
    // It resolves when the other half has ended too: that is not this half's affair.
    this.writer.finish().catch(ignore)
    this.tell(this.writer.flush(), done)
  }

  private tell(written: Promise<void>, done: (error?: Error | null) => void): void {
    written.then(
      () => done(),
      (error: PullError) => {
        // First: of what `done` is given a stream that is not destroyed makes an 'error'.
        this.fail(error)
        done(error)
      },
    )
  }

  /** The tunnel has failed. This side's close is no error of the tunnel's, as in net.Socket: only the writes that it cuts short are told. */
  private fail(error: PullError): void {
    this.destroy(error.code === 'ERR_CLOSED' ? undefined : error)
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.setTimeout(0)
    if (!this.receiver.ended || !this.writableFinished) this.stream.abandon(RESET.cancel, new PullError('ERR_CLOSED', 'the tunnel was destroyed'))
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

function ignore(): void {}
