// What a load tool is told, and what it tells.
import { found } from '../peers.ts'
import type { Protocol } from '../peers.ts'
import { native } from './native.ts'
import { h2load } from './h2load.ts'
import { Loadgen } from './loadgen.ts'
import { wrk } from './wrk.ts'

export interface Traffic {
  /** What makes the timed load. Where requests are counted one by one, wrk's part is h2load's: it makes an exact number. */
  readonly tool: 'wrk' | 'h2load' | 'loadgen'
  readonly protocol: Protocol
  readonly connections: number
  /** HTTP/2: requests at once on each connection. */
  readonly streams?: number
  /** HTTP/1.1: requests at once on each connection. */
  readonly pipeline?: number
  readonly headers?: Readonly<Record<string, string>>
  /** Makes it a POST. */
  readonly body?: string
  /** Requests until a connection is closed and another opened. */
  readonly perConnection?: number
  /** Bytes of a WebSocket message, instead of a request. */
  readonly websocket?: number
  /** Requests per second, whatever the answers do. Default: as fast as they come. */
  readonly rate?: number
}

/** Latencies in microseconds. */
export interface Answered {
  readonly requests: number
  readonly failed: number
  readonly seconds: number
  readonly p50?: number
  readonly p99?: number
  readonly p999?: number
  readonly max?: number
}

/** Called around the requests alone, as closely as the tool allows. */
export interface Watch {
  begin(): Promise<void> | void
  end(): Promise<void> | void
}

export interface Order {
  readonly traffic: Traffic
  readonly port: number
  readonly requests: number
  /** A command that runs the tool's. */
  readonly under?: readonly string[]
  readonly watch?: Watch
}

/** An exact number of requests; no latencies from h2load. */
export function exactly(order: Order): Promise<Answered> {
  return order.traffic.tool === 'loadgen' ? generated(order) : watched(order, () => h2load(order, false))
}

/** Load to be timed: `requests` at `rate` per second says how long wrk takes, which knows no number. */
export function timed(order: Order, rate: number): Promise<Answered> {
  if (order.traffic.tool === 'loadgen') return generated(order)
  const seconds = Math.min(60, Math.max(1, Math.round(order.requests / rate)))
  return watched(order, () => (order.traffic.tool === 'wrk' ? wrk(order, seconds) : h2load(order, true)))
}

/** Why the tools that it needs cannot be had. */
export function lacking({ tool }: Traffic): string | null {
  const programs = { wrk: ['wrk', 'h2load'], h2load: ['h2load'], loadgen: [] }[tool]
  const absent = programs.filter((program) => !found(program))
  if (absent.length > 0) return `no ${absent.join(', ')} in PATH (Debian: wrk, nghttp2-client)`
  return tool === 'loadgen' ? native.missing('loadgen') : null
}

async function watched({ watch }: Order, load: () => Promise<Answered>): Promise<Answered> {
  await watch?.begin()
  const answered = await load()
  await watch?.end()
  return answered
}

async function generated(order: Order): Promise<Answered> {
  await using loadgen = await Loadgen.open(order)
  return await watched(order, () => loadgen.go())
}
