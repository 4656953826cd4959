// h2load: an exact number of requests, HTTP/2 or HTTP/1.1. Latencies come from its log, as it prints no percentiles.
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { quantiles } from '../statistics.ts'
import type { Answered, Order } from './traffic.ts'
import { tool } from './tool.ts'

export async function h2load({ traffic, port, requests, under = [] }: Order, latencies: boolean): Promise<Answered> {
  const folder = await mkdtemp(join(tmpdir(), 'hyperpull-bench-'))
  try {
    const log = join(folder, 'log')
    const connections = Math.min(traffic.connections, requests)
    const flags = ['-n', `${requests}`, '-c', `${connections}`, '-m', `${traffic.streams ?? traffic.pipeline ?? 1}`]
    if (traffic.protocol === 'h1') flags.push('--h1')
    if (latencies) flags.push('--log-file', log)
    for (const [name, value] of Object.entries(traffic.headers ?? {})) flags.push('-H', `${name}: ${value}`)
    if (traffic.body !== undefined) {
      await writeFile(join(folder, 'body'), traffic.body)
      flags.push('-d', join(folder, 'body'))
    }
    const printed = await tool([...under, 'h2load', ...flags, `http://127.0.0.1:${port}/`])
    const [, duration, unit] = /^finished in ([\d.]+)(us|ms|s|m|h),/m.exec(printed) ?? []
    const [, succeeded] = /^status codes: (\d+) 2xx/m.exec(printed) ?? []
    if (duration === undefined || succeeded === undefined) throw new Error(`h2load has not said what it did: ${printed}`)
    const seconds = Number(duration) * { us: 1e-6, ms: 1e-3, s: 1, m: 60, h: 3600 }[unit as 'us' | 'ms' | 's' | 'm' | 'h']
    const answered = { requests: Number(succeeded), failed: requests - Number(succeeded), seconds }
    return latencies ? { ...answered, ...quantiles(times(await readFile(log, 'utf8'))) } : answered
  } finally {
    await rm(folder, { recursive: true })
  }
}

/** Lines of: start of the request, status, microseconds until its answer was complete. */
function times(log: string): Float64Array {
  const lines = log.trimEnd().split('\n')
  return Float64Array.from(lines, (line) => Number(line.slice(line.lastIndexOf('\t') + 1))).sort()
}
