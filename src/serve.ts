// Built on the public interface alone: what this loop does, any program can.

import type * as contract from '../index.js'
import { PullError, settle } from './errors.js'
import { listen } from './listener.js'
import { OPTIONS, REQUESTS, invalid, number, onlyKnown } from './options.js'

type Answer = contract.OutgoingResponse | globalThis.Response
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
  private onServed!: () => void
  private readonly served = new Promise<void>((resolve) => (this.onServed = resolve))

  constructor(
    readonly listener: contract.Listener,
    private readonly handler: Handler,
    private readonly onError: NonNullable<contract.ServeOptions['onError']>,
    signals: boolean,
  ) {
    // After its end, a drain tells what became of it.
    this.finished = settle(this.accept().then(() => listener.drain()))
    if (signals) this.drainOnSignals()
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

  private async connection(connection: contract.Connection): Promise<void> {
    this.loops++
    try {
      for await (const stream of connection) void this.stream(stream)
    } catch (error) {
      this.report(error, null)
    }
    this.ended()
  }

  private async stream(stream: contract.Stream): Promise<void> {
    this.loops++
    try {
      for (;;) {
        const request = await stream.nextRequest()
        if (request === null) return
        try {
          const answer = this.handler(request)
          // Hot: what is there already is not waited for.
          await stream.send(request.key, isThenable(answer) ? await answer : answer)
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

  /** A 500, if nothing else was sent. */
  private async fail(stream: contract.Stream, request: contract.IncomingRequest, error: unknown): Promise<void> {
    this.report(error, request)
    try {
      await stream.send(request.key, { status: 500, headers: { 'content-type': 'text/plain' }, body: 'Internal Server Error' })
    } catch (second) {
      // The key was used up, or the peer has left: whatever went wrong first has been told.
      if (!(second instanceof PullError)) throw second
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

  private drainOnSignals(): void {
    let asked = false
    const onSignal = (): void => {
      if (asked) this.listener.close()
      else this.listener.drain()
      asked = true
    }
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, onSignal)
    const off = (): void => {
      for (const signal of ['SIGTERM', 'SIGINT'] as const) process.off(signal, onSignal)
    }
    this.finished.then(off, off)
  }
}

function isThenable<T extends object>(value: T | PromiseLike<T>): value is PromiseLike<T> {
  // A handler may give back nothing, against its type: that is for `send` to refuse.
  return typeof (value as Partial<PromiseLike<T>> | undefined)?.then === 'function'
}

/** What the peer did is not for the log of this side. */
function printError(error: unknown): void {
  if (error instanceof PullError && (error.side === 'peer' || error.code === 'ERR_CLOSED')) return
  console.error(error)
}
