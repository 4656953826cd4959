import { inspect } from 'node:util'

import type * as contract from '../index.js'
import type { Crossing } from './crossing.js'
import { armDeadline } from './deadline.js'
import { PullError, type Side } from './errors.js'
import { CLOSE_CODES } from './layout.js'
import type { Listener } from './listener.js'
import { PullIterator, PullQueue, outcome } from './queue.js'
import * as requests from './request.js'
import type { Writer } from './response.js'
import { Stream } from './stream.js'
import { StreamTable } from './stream-table.js'

// V8 does not fold what is imported, but it does fold this.
const { IncomingRequest } = requests

const HTTP_1 = 1

export class Connection implements contract.Connection {
  readonly id: number
  readonly protocol: 'http/1.1' | 'h2'
  readonly listener: Listener
  readonly crossing: Crossing
  /** Names it to the I/O loop; used again once the connection has ended. */
  readonly number: number

  /** Response bytes written and not yet sent, and the writers that wait until they are fewer. */
  pendingBytes = 0
  private stalled: Set<Writer> | null = null

  private readonly addresses: string
  /** h1: the one stream. h2: null. */
  private readonly only: Stream | null
  /** h2: the streams whose exchange is not over. h1: null. */
  private readonly streams: StreamTable | null
  private readonly delivered = new PullQueue<Stream>()
  private draining = false
  private reason: contract.CloseReason | null = null
  private lazyClosed: Promise<contract.CloseReason> | null = null
  private resolveClosed: ((reason: contract.CloseReason) => void) | null = null

  constructor(listener: Listener, crossing: Crossing, id: number, number: number, protocol: number, addresses: string) {
    this.listener = listener
    this.crossing = crossing
    this.id = id
    this.number = number
    this.protocol = protocol === HTTP_1 ? 'http/1.1' : 'h2'
    this.addresses = addresses
    this.only = protocol === HTTP_1 ? new Stream(this, 1) : null
    this.streams = protocol === HTTP_1 ? null : new StreamTable()
    if (this.only !== null) this.delivered.offer(this.only)
  }

  static {
    // As in IncomingRequest.
    Object.defineProperty(this.prototype, 'then', { value: undefined })
  }

  get tls(): null {
    return null
  }

  get remote(): contract.Address {
    const parts = this.addresses.split('\0')
    return parts.length === 2 ? { path: parts[0] } : { host: parts[0], port: Number(parts[1]) }
  }

  get local(): contract.Address {
    const parts = this.addresses.split('\0')
    return parts.length === 2 ? { path: parts[1] } : { host: parts[2], port: Number(parts[3]) }
  }

  nextStream(): Promise<Stream | null> {
    return this.pull(false) as Promise<Stream | null>
  }

  [Symbol.asyncIterator](): AsyncIterator<Stream> {
    return new PullIterator(this)
  }

  pull(iterated: boolean): Promise<unknown> {
    const stream = this.delivered.take()
    if (stream !== null) return Promise.resolve(outcome(stream, iterated))
    // On h2 it is the request that brings the stream.
    if (this.streams !== null && !this.delivered.ended && this.listener.settings.readAheadRequests === 0)
      this.crossing.commands.pullRequests(this.number, 1)
    return this.delivered.wait(iterated)
  }

  async drain(options: contract.DrainOptions = {}): Promise<void> {
    const disarm = armDeadline(options, () => this.close())
    if (!this.draining && this.reason === null) {
      this.refuse()
      this.crossing.commands.drain(this.number)
    }
    await this.closed
    disarm()
  }

  close(): void {
    if (this.reason === null) this.crossing.commands.close(this.number)
  }

  get closed(): Promise<contract.CloseReason> {
    return (this.lazyClosed ??= this.reason !== null ? Promise.resolve(this.reason) : new Promise((resolve) => (this.resolveClosed = resolve)))
  }

  [inspect.custom](): string {
    const { remote } = this
    return `Connection { ${this.id}, ${this.protocol}, ${'path' in remote ? remote.path : `${remote.host}:${remote.port}`}, ${this.reason?.code ?? 'open'} }`
  }

  // ------------------------------------------------------------------------------------ for the layers

  /** `host` as it stands in a URL, for a request that names none. */
  get localName(): string {
    const { local } = this
    if ('path' in local) return 'localhost'
    return `${local.host.includes(':') ? `[${local.host}]` : local.host}:${local.port}`
  }

  /** Is there room for more response bytes? */
  get hasRoom(): boolean {
    return this.pendingBytes < this.listener.settings.limits.pendingWriteBytes
  }

  /** Response bytes are off the account: they were sent, or never will be. */
  written(bytes: number): void {
    this.pendingBytes -= bytes
    if (this.stalled !== null && this.stalled.size > 0 && this.hasRoom) for (const writer of [...this.stalled]) writer.resume()
  }

  /** `writer` waits for room. */
  stall(writer: Writer): void {
    this.stalled ??= new Set()
    this.stalled.add(writer)
  }

  /** It waits no more. */
  resumed(writer: Writer): void {
    this.stalled?.delete(writer)
  }

  /** From now on what was delivered and not pulled is refused: a drain has begun. */
  refuse(): void {
    this.draining = true
    this.delivered.drop()
    this.delivered.end()
    for (const stream of this.streams?.all() ?? [this.only!]) stream.refuse()
  }

  find(stream: number): Stream | undefined {
    return this.streams === null ? this.only! : this.streams.get(stream)
  }

  /** A request has come; on h2 a stream with it. */
  requested(
    id: number,
    sequence: number,
    packed: number,
    window: string,
    start: number,
    length: number,
    targetLength: number,
    receivedAt: number,
    contentLength: number,
    body: Uint8Array | string | null,
  ): void {
    const stream = this.only ?? new Stream(this, id)
    stream.requested(new IncomingRequest(stream, sequence, packed, window, start, length, targetLength, receivedAt, contentLength, body))
    if (this.streams !== null) {
      this.streams.add(stream)
      if (!this.draining) this.delivered.offer(stream)
    }
    if (this.draining) stream.refuse()
  }

  /** An exchange of `stream` is over; `completed` and `aborted` are 1 if it counts as that. */
  exchanged(stream: Stream, completed: number, aborted: number): void {
    if (this.streams !== null) {
      this.streams.delete(stream)
      if (completed === 0) this.delivered.remove(stream)
    }
    if (this.listener.draining) this.listener.exchanged(completed, aborted)
  }

  private open(): Stream[] {
    return this.streams === null ? [this.only!] : this.streams.all()
  }

  /** It has ended. */
  ended(closeCode: number, message: string): void {
    const [code, side] = CLOSE_CODES[closeCode]
    this.reason = { code, side, message }
    for (const stream of this.open()) stream.gone(LOST_BY[side], message)
    this.delivered.end(faultOf(code, message))
    this.resolveClosed?.(this.reason)
  }
}

/** What an exchange that was in flight is told, if it was not told before. */
const LOST_BY: Record<Side, 'ERR_PEER_CLOSED' | 'ERR_CLOSED' | 'ERR_IO'> = { peer: 'ERR_PEER_CLOSED', local: 'ERR_CLOSED', io: 'ERR_IO' }

/** Is it an end that a caller of `nextStream` must hear of? A peer that leaves, or is slow, is nothing out of the ordinary. */
function faultOf(code: string, message: string): PullError | null {
  if (code === 'protocol-error') return new PullError('ERR_PROTOCOL', message)
  if (code === 'io') return new PullError('ERR_IO', message)
  if (code === 'internal') return new PullError('ERR_CLOSED', message)
  return null
}
