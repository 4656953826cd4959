import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import { inspect } from 'node:util'

import type * as contract from '../index.js'
import { NativeListener } from './binding.js'
import { Connection } from './connection.js'
import { Crossing, type CrossingOwner } from './crossing.js'
import { armDeadline } from './deadline.js'
import { PullError, fromNative } from './errors.js'
import { COUNTERS, REFUSALS } from './layout.js'
import { type Settings, checkListenOptions } from './options.js'
import { PullIterator, PullQueue, outcome } from './queue.js'

export async function listen(options: contract.ListenOptions): Promise<Listener> {
  const settings = checkListenOptions(options)
  const { native, signal } = settings
  if (signal?.aborted) throw new PullError('ERR_CLOSED', 'the signal is aborted', { cause: signal.reason })
  if (native.path === null) native.host = isIP(native.host) === 0 ? await resolve(native.host) : withoutZone(native.host)
  const listener = new Listener(settings)
  if (signal !== null) listener.closeOn(signal)
  return listener
}

async function resolve(host: string): Promise<string> {
  try {
    return (await lookup(host)).address
  } catch (cause) {
    throw new PullError('ERR_IO', `the host '${host}' does not resolve`, { cause })
  }
}

/** A zone ('%eth0') tells link-local addresses apart. Elsewhere it means nothing: as in node:net it is passed over, where getaddrinfo would fail. */
function withoutZone(address: string): string {
  return /^fe[89ab]/i.test(address) ? address : address.replace(/%.*/, '')
}

export class Listener implements contract.Listener, CrossingOwner {
  readonly address: contract.Address
  readonly settings: Settings

  private readonly native: NativeListener
  private readonly crossings: Crossing[] = []
  private readonly delivered = new PullQueue<Connection>()
  private connections = 0

  // OPEN ──drain──► DRAINING ──deadline──► CLOSING ──every loop stopped──► over
  //   └──────────────────┴────────close────► CLOSING
  private phase: 'open' | 'draining' | 'closing' | 'over' = 'open'
  private running: number
  private readonly over: Promise<void>
  private resolveOver!: () => void

  private drainBegan = 0
  private completed = 0
  private aborted = 0
  private elapsed = 0
  /** Requests that were delivered and not pulled when a drain began. */
  private refused = 0

  constructor(settings: Settings) {
    this.settings = settings
    this.over = new Promise((resolve) => (this.resolveOver = resolve))
    // Without I/O threads there is one loop, on this thread.
    this.running = Math.max(settings.native.ioThreads, 1)
    let native: NativeListener | null = null
    try {
      this.native = native = new NativeListener(settings.native)
      const [kind, host, port] = native.address.split('\0')
      this.address = kind === 'unix' ? { path: host } : { host, port: Number(port) }
      for (let index = 0; index < this.running; index++) {
        this.crossings.push(new Crossing(this, native, index, settings.limits.headerBytes, settings.readAheadConnections))
      }
    } catch (error) {
      for (const crossing of this.crossings) crossing.stop()
      native?.stop()
      throw fromNative(error)
    }
  }

  // --------------------------------------------------------------------------------------------- pulls

  nextConnection(): Promise<Connection | null> {
    return this.pull(false) as Promise<Connection | null>
  }

  [Symbol.asyncIterator](): AsyncIterator<Connection> {
    return new PullIterator(this)
  }

  pull(iterated: boolean): Promise<unknown> {
    const connection = this.delivered.take()
    if (connection !== null) {
      if (this.settings.readAheadConnections > 0) connection.crossing.grant()
      return Promise.resolve(outcome(connection, iterated))
    }
    const promise = this.delivered.wait(iterated)
    if (this.settings.readAheadConnections === 0) {
      // It is not known to which loop the next connection comes: each may bring one up for every pull that waits.
      for (const crossing of this.crossings) if (crossing.granted < this.delivered.waiting) crossing.grant()
    }
    return promise
  }

  // ------------------------------------------------------------------------------------------- the end

  async drain(options: contract.DrainOptions = {}): Promise<contract.DrainReport> {
    const disarm = armDeadline(options, () => this.closeAll())
    if (this.phase === 'open') {
      this.begin('draining')
      for (const crossing of this.crossings) {
        for (const connection of crossing.open()) connection.refuse()
        crossing.commands.drainAll()
      }
    }
    await this.over
    disarm()
    return { completed: this.completed, aborted: this.aborted, elapsedMs: this.elapsed }
  }

  close(): Promise<void> {
    this.closeAll()
    return this.over
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** Closes when `signal` is aborted. */
  closeOn(signal: AbortSignal): void {
    if (signal.aborted) return this.closeAll()
    const close = (): void => this.closeAll()
    signal.addEventListener('abort', close, { once: true })
    this.over.then(() => signal.removeEventListener('abort', close))
  }

  private closeAll(): void {
    if (this.phase === 'closing' || this.phase === 'over') return
    this.begin('closing')
    for (const crossing of this.crossings) crossing.commands.closeAll()
  }

  /** No connection is handed out any more; `fault`: one pull is told why. */
  private begin(phase: 'draining' | 'closing', fault: PullError | null = null): void {
    if (this.phase === 'open') {
      this.drainBegan = performance.now()
      // Somebody waits for the end: the process must live to see it.
      this.native.ref()
    }
    this.phase = phase
    this.delivered.drop()
    this.delivered.end(fault)
  }

  // ----------------------------------------------------------------------------------------- the rest

  updateTls(_tls: contract.TlsOptions): Promise<void> {
    return Promise.reject(new PullError('ERR_INVALID_OPTION', `'tls' is not supported yet`))
  }

  stats(): contract.ListenerStats {
    const sums = Array.from({ length: COUNTERS.length + REFUSALS.length }, (_, i) =>
      this.crossings.reduce((sum, crossing) => sum + crossing.stats[i], 0),
    )
    sums[COUNTERS.length + REFUSALS.indexOf('draining')] += this.refused
    const counters = Object.fromEntries(COUNTERS.map((name, i) => [name, sums[i]])) as Record<(typeof COUNTERS)[number], number>
    return { ...counters, refused: Object.fromEntries(REFUSALS.map((name, i) => [name, sums[COUNTERS.length + i]])) }
  }

  ref(): this {
    if (this.phase === 'open') this.native.ref()
    return this
  }

  unref(): this {
    if (this.phase === 'open') this.native.unref()
    return this
  }

  [inspect.custom](): string {
    const { address } = this
    return `Listener { ${'path' in address ? address.path : `${address.host}:${address.port}`}, ${this.phase} }`
  }

  // -------------------------------------------------------------------------------- for the other layers

  /** Has a drain or a close begun? */
  get draining(): boolean {
    return this.phase !== 'open'
  }

  /** An exchange is over, after a drain or close began. */
  exchanged(completed: number, aborted: number): void {
    this.completed += completed
    this.aborted += aborted
  }

  /** A drain has refused a request that nobody had pulled. */
  refusedOne(): void {
    this.refused++
  }

  opened(crossing: Crossing, number: number, protocol: number, addresses: string): Connection {
    const connection = new Connection(this, crossing, ++this.connections, number, protocol, addresses)
    if (this.draining) connection.refuse()
    else if (this.delivered.offer(connection) && this.settings.readAheadConnections > 0) crossing.grant()
    return connection
  }

  /** An I/O loop has ended. */
  stopped(): void {
    if (--this.running > 0) return
    if (this.phase === 'open') this.begin('closing', new PullError('ERR_IO', 'internal fault: the I/O loops have ended'))
    this.phase = 'over'
    this.elapsed = performance.now() - this.drainBegan
    for (const crossing of this.crossings) crossing.stop()
    this.resolveOver()
    this.native.stop()
  }
}
