// Connections that have had one answer each and wait for the next request: what the process keeps for each of them.
import { setTimeout as sleep } from 'node:timers/promises'
import { Loadgen } from '../load/loadgen.ts'
import { exactly } from '../load/traffic.ts'
import { resident } from '../measure/memory.ts'
import type { Metrics } from '../metrics.ts'
import type { Run } from '../run.ts'
import type { Server } from '../server.ts'

/** Some servers close what is idle for 10 s. */
const SETTLE_MS = 2_000

export async function idle(run: Run): Promise<void> {
  await using servers = await run.start()
  const { traffic } = run.scenario
  await run.each(servers, async (server) => void (await exactly({ traffic: { ...traffic, connections: 64 }, port: server.port, requests: run.requests })))
  await run.once(servers, (server) => waiting(server, traffic.connections))
}

/** Once only: the next time, memory would be there already. */
async function waiting({ pid, port }: Server, connections: number): Promise<Metrics> {
  await sleep(SETTLE_MS)
  const before = await resident(pid)
  await using loadgen = await Loadgen.open({ traffic: { tool: 'loadgen', protocol: 'h1', connections }, port, requests: 0 })
  await sleep(SETTLE_MS)
  const after = await resident(pid)
  const { open } = await loadgen.go()
  if (open !== connections) throw new Error(`the server has closed ${connections - open} of ${connections} connections`)
  if (before === null || after === null) return {}
  return { idleKib: (after.now - before.now) / connections, rss: after.now / 1024, rssGrowth: (after.now - before.now) / 1024 }
}
