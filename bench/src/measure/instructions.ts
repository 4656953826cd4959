// Instructions of an exact number of requests.
import type { Peer } from '../peers.ts'
import type { Scenario } from '../scenarios.ts'
import { Server } from '../server.ts'
import { exactly } from '../load/traffic.ts'
import type { Watch } from '../load/traffic.ts'
import { Callgrind } from './callgrind.ts'
import { counters } from './counters.ts'
import { Perf } from './perf.ts'

/** Of the whole process, by thread; the main thread is the first. */
export interface Count {
  readonly user: readonly number[]
  readonly kernel: readonly number[] | null
}

export interface Counted {
  readonly user: number
  readonly kernel?: number
  readonly mainUser: number
  readonly mainKernel?: number
  /** The busiest of the other threads: where there is one, the I/O thread. */
  readonly secondUser: number
  /** All the rest: garbage collection, compilers. */
  readonly otherUser: number
}

/** Requests after which what compiles itself has done so. */
const WARM = 100_000

/** Per request. Null if nothing can count here. */
export async function instructions(peer: Peer, scenario: Scenario, requests: number): Promise<Counted | null> {
  const by = counters().user
  if (by === null) return null
  const server = await Server.start(peer, scenario, by === 'valgrind' ? Callgrind.command() : [])
  try {
    const order = { traffic: scenario.traffic, port: server.port }
    const warm = { ...order, traffic: { ...scenario.traffic, connections: Math.min(64, scenario.traffic.connections) } }
    await exactly({ ...warm, requests: Math.min(WARM, 10 * requests) })
    // Connections come and go before it counts: what was compiled before the first has gone is compiled anew.
    for (let run = 0; run < 3; run++) await exactly({ ...warm, requests: Math.min(WARM / 4, 3 * requests) })
    const counter = by === 'valgrind' ? await Callgrind.of(server.pid) : new Perf(server.pid)
    await exactly({ ...warm, requests: Math.ceil(requests / 10) }) // with the counter on
    let count: Count | undefined
    const watch: Watch = { begin: () => counter.begin(), end: async () => void (count = await counter.end()) }
    const { requests: made } = await exactly({ ...order, requests, watch })
    return perRequest(count!, made)
  } finally {
    await server.stop()
  }
}

function perRequest({ user, kernel }: Count, requests: number): Counted {
  const sum = (numbers: readonly number[]) => numbers.reduce((sum, number) => sum + number, 0) / requests
  const others = user.slice(1).toSorted((a, b) => b - a)
  const inUser = { user: sum(user), mainUser: sum(user.slice(0, 1)), secondUser: sum(others.slice(0, 1)), otherUser: sum(others.slice(1)) }
  return kernel === null ? inUser : { ...inUser, kernel: sum(kernel), mainKernel: sum(kernel.slice(0, 1)) }
}
