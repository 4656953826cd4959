// A fixed rate that all servers can hold: how late the answers are, counted from when each request was meant to start.
import { exactly } from '../load/traffic.ts'
import type { Run } from '../run.ts'
import { measured } from './closed.ts'

export async function paced(run: Run): Promise<void> {
  const { scenario, requests } = run
  await using servers = await run.start()
  const { traffic } = scenario
  await run.each(servers, async (server) => void (await exactly({ traffic, port: server.port, requests })))
  await run.each(servers, async (server) => {
    const { requests: made, seconds } = await exactly({ traffic, port: server.port, requests })
    server.rate = made / seconds
  })
  const [slowest] = servers.list.filter((server) => !server.failed).toSorted((a, b) => a.rate - b.rate)
  if (slowest === undefined) return
  const rate = Math.floor(slowest.rate / 2)
  run.note(`the rate is ${rate} requests/s: half of the peak of ${slowest.peer.name}`)
  await run.rounds(servers, (server) => measured(server, { ...traffic, rate }, requests))
}
