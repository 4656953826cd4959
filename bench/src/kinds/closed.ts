// Each connection asks again when it has its answer: what a request costs, how many there are in a second.
import { availableParallelism } from 'node:os'
import { exactly, timed } from '../load/traffic.ts'
import type { Answered, Traffic } from '../load/traffic.ts'
import { between, reading } from '../measure/cpu.ts'
import type { Cpu, Reading } from '../measure/cpu.ts'
import { instructions } from '../measure/instructions.ts'
import { resident } from '../measure/memory.ts'
import type { Metrics } from '../metrics.ts'
import { found } from '../peers.ts'
import type { Server } from '../server.ts'
import type { Run } from '../run.ts'

/** Requests of one connection at least that are counted, so that its first is not most of what is. */
const COUNTED_EACH = 24

/** Where a pinned server and its load run. */
const SERVER_CPU = ['taskset', '-c', '0']
const LOAD_CPU = ['taskset', '-c', availableParallelism() > 1 ? '1' : '0']

export async function closed(run: Run): Promise<void> {
  const { scenario, options, requests } = run
  const { traffic, pinned } = scenario
  if (pinned && !found('taskset')) return run.note('nothing: no taskset in PATH')
  await using servers = await run.start(pinned ? SERVER_CPU : [])
  const under = pinned ? LOAD_CPU : []
  await run.each(servers, async (server) => {
    const warm = await exactly({ traffic, port: server.port, requests, under })
    server.rate = warm.requests / warm.seconds
  })
  await run.rounds(servers, (server) => measured(server, traffic, requests, under))
  await servers[Symbol.asyncDispose]()
  if (options.counted > 0 && run.counts) {
    const counted = Math.min(Math.max(options.counted, COUNTED_EACH * traffic.connections), requests)
    for (const { peer } of servers.list) await run.attempt(peer, async () => run.add(peer, await count(run, peer, counted)))
  }
}

/** One timed load: CPU time per request, rate and latencies. */
export async function measured(server: Server, traffic: Traffic, requests: number, under: readonly string[] = []): Promise<Metrics> {
  let before: Reading = null
  let cpu: Cpu | null = null
  const watch = {
    begin: async () => void (before = await reading(server.pid)),
    end: async () => void (cpu = between(server.pid, before, await reading(server.pid))),
  }
  const answered = await timed({ traffic, port: server.port, requests, under, watch }, server.rate)
  if (answered.requests === 0) throw new Error('no request was answered')
  return { ...times(answered), ...costs(cpu, answered.requests, server.peer.script), rss: ((await resident(server.pid))?.now ?? Number.NaN) / 1024 }
}

function times({ requests, failed, seconds, p50, p99, p999 }: Answered): Metrics {
  return { rate: requests / seconds, p50: p50 ?? Number.NaN, p99: p99 ?? Number.NaN, p999: p999 ?? Number.NaN, failed }
}

function costs(cpu: Cpu | null, requests: number, script: boolean): Metrics {
  if (cpu === null) return {}
  const { process, main } = cpu
  const whole = { cpu: process.total / requests, cpuUser: process.user / requests, cpuSystem: process.system / requests }
  return script ? { ...whole, mainCpu: main.total / requests, mainCpuUser: main.user / requests, mainCpuSystem: main.system / requests } : whole
}

async function count({ scenario }: Run, peer: Server['peer'], requests: number): Promise<Metrics> {
  const counted = await instructions(peer, scenario, requests)
  if (counted === null) return {}
  const { mainUser, mainKernel, secondUser, otherUser, ...whole } = counted
  if (!peer.script) return whole
  return mainKernel === undefined ? { ...whole, mainUser, secondUser, otherUser } : { ...whole, mainUser, mainKernel, secondUser, otherUser }
}
