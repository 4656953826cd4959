// One body of a GiB: what it costs, and whether memory stays where it was.
import { gibibyteFile, transfer as curl } from '../load/curl.ts'
import { between, reading } from '../measure/cpu.ts'
import { forgetPeak, resident } from '../measure/memory.ts'
import type { Metrics } from '../metrics.ts'
import { found } from '../peers.ts'
import type { Run } from '../run.ts'
import type { Server } from '../server.ts'

export async function transfer(run: Run): Promise<void> {
  if (!found('curl')) return run.note('nothing: no curl in PATH')
  await using servers = await run.start()
  await using file = await gibibyteFile()
  const upload = run.scenario.task === 'upload' ? file.path : null
  await run.each(servers, async (server) => void (await curl(server.port, upload)))
  await run.rounds(servers, (server) => moved(server, upload))
}

async function moved({ pid, port, peer }: Server, upload: string | null): Promise<Metrics> {
  const before = await reading(pid)
  const start = await resident(pid)
  await forgetPeak(pid)
  const seconds = await curl(port, upload)
  const end = await resident(pid)
  const cpu = between(pid, before, await reading(pid))
  const moved: Metrics = { gibRate: 1024 / seconds }
  if (cpu !== null) Object.assign(moved, { gibCpu: cpu.process.total / 1000 }, peer.script && { gibMainCpu: cpu.main.total / 1000 })
  if (start !== null && end !== null) Object.assign(moved, { rss: end.peak / 1024, rssGrowth: (end.peak - start.now) / 1024 })
  return moved
}
