// Built on the public interface, but for what a program knows of its own answers: what this loop does, any program can.

import { STATUS_CODES } from 'node:http'

import type * as contract from '../index.js'
import type { Connection } from './connection.js'
import { PullError, settle } from './errors.js'
import { type Listener, listen } from './listener.js'
import { OPTIONS, REQUESTS, invalid, number, onlyKnown } from './options.js'
import type { Stream } from './stream.js'

const SIGNALS = ['SIGTERM', 'SIGINT'] as const

type Answer = contract.OutgoingResponse | globalThis.Response | void
type Handler = (request: contract.IncomingRequest) => Answer | Promise<Answer>

export async function serve(options: contract.ServeOptions, handler: Handler): Promise<contract.Server> {
  onlyKnown('options', options, [...OPTIONS, 'concurrency', 'signals', 'onError'])
  const { concurrency, signals = true, onError = printError, ...listenOptions } = options
  if (typeof handler !== 'function') throw invalid('handler', 'a function', handler)
  if (typeof onError !== 'function') throw invalid('onError', 'a function', onError)
  if (typeof signals !== 'boolean') throw invalid('signals', 'true or false', signals)
  const { limits = {} } = listenOptions
  if (typeof limits !== 'object' || limits === null) throw invalid('limits', 'an object', limits)
  const requestsInFlight = Math.min(
    number('concurrency', REQUESTS, concurrency),
    number('limits.requestsInFlight', REQUESTS, limits.requestsInFlight),
  )
  const listener = await listen({ ...listenOptions, limits: { ...limits, requestsInFlight } })
  return new Server(listener, handler, onError, signals)
}

class Server implements contract.Server {
  readonly finished: Promise<contract.DrainReport>
  /** Loops that run: the one that accepts, one for each connection, one for each stream. */
  private loops = 0
  /** To drain, by a signal. */
  private asked = false
  private onServed!: () => void
  private readonly served = new Promise<void>((resolve) => (this.onServed = resolve))

  constructor(
    readonly listener: Listener,
    private readonly handler: Handler,
    private readonly onError: NonNullable<contract.ServeOptions['onError']>,
    signals: boolean,
  ) {
    // After its end, a drain tells what became of it. The one that has begun has its deadline.
    this.finished = settle(this.accept().then(() => listener.drain({ deadlineMs: Infinity })))
    if (signals) drainOnSignals(this)
  }

  drain(options?: contract.DrainOptions): Promise<contract.DrainReport> {
    return settle(this.listener.drain(options).then(() => this.finished))
  }

  close(): Promise<void> {
    return settle(this.listener.close().then(() => this.finished.then(() => {})))
  }

  /** Every connection, until the listener drains; then until the last of them has ended. */
  private async accept(): Promise<void> {
    this.loops++
    try {
      for await (const connection of this.listener) void this.connection(connection)
    } catch (error) {
      this.report(error, null)
      throw error
    } finally {
      this.ended()
      await this.served
    }
  }

  private async connection(connection: Connection): Promise<void> {
    this.loops++
    try {
      for await (const stream of connection) void this.stream(stream)
    } catch (error) {
      this.report(error, null)
    }
    this.ended()
  }

  private async stream(stream: Stream): Promise<void> {
    this.loops++
    try {
      for (;;) {
        const request = await stream.nextRequest()
        if (request === null) return
        try {
          const given = this.handler(request)
          // Hot: what is there already is not waited for.
          const answer = isThenable(given) ? await given : given
          // Who gives back nothing has answered by other means; if not, `send` says what is wrong.
          if (answer !== undefined || stream.isUnanswered(request.key)) await stream.send(request.key, answer!)
        } catch (error) {
          await this.fail(stream, request, error)
        }
      }
    } finally {
      this.ended()
    }
  }

  /** One of the loops has ended. */
  private ended(): void {
    if (--this.loops === 0) this.onServed()
  }

  /** A 500, or what answers the peer's fault best, if nothing else was sent. What was begun and will not be finished must not hold the peer, or the request's place. */
  private async fail(stream: Stream, request: contract.IncomingRequest, error: unknown): Promise<void> {
    this.report(error, request)
    const status = (error instanceof PullError && error.side === 'peer' ? error.status : null) ?? 500
    try {
      await stream.send(request.key, { status, headers: { 'content-type': 'text/plain' }, body: STATUS_CODES[status] })
    } catch (second) {
      // The key was used up, or the peer has left: whatever went wrong first has been told.
      if (!(second instanceof PullError)) throw second
      stream.breakOff(request.key, error)
    }
  }

  private report(error: unknown, request: contract.IncomingRequest | null): void {
    try {
      this.onError(error, request)
    } catch (fault) {
      // The caller's own: it must be seen, and must not end the loop.
      process.nextTick(() => {
        throw fault
      })
    }
  }

  /** The first signal drains it, the next closes it. */
  signal(): void {
    if (this.asked) this.listener.close()
    else this.listener.drain()
    this.asked = true
  }
}

/** The servers that signals drain. One handler for all of them: Node takes more than ten for a leak. */
const signalled = new Set<Server>()

function onSignal(): void {
  for (const server of signalled) server.signal()
}

function drainOnSignals(server: Server): void {
  if (signalled.size === 0) for (const signal of SIGNALS) process.on(signal, onSignal)
  signalled.add(server)
  const leave = (): void => {
    signalled.delete(server)
    if (signalled.size === 0) for (const signal of SIGNALS) process.off(signal, onSignal)
  }
  server.finished.then(leave, leave)
}

function isThenable<T>(value: T | PromiseLike<T>): value is PromiseLike<T> {
  return typeof (value as Partial<PromiseLike<T>> | undefined)?.then === 'function'
}

/** What the peer did is not for the log of this side. */
function printError(error: unknown): void {
  if (error instanceof PullError && (error.side === 'peer' || error.code === 'ERR_CLOSED')) return
  console.error(error)
}
