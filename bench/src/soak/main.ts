// npm run soak: mixed traffic for as long as it is told to, and what the server holds meanwhile.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { draw } from '../report/svg.ts'
import { quantiles } from '../statistics.ts'
import { charts, csv, held, slope } from './samples.ts'
import type { Sample } from './samples.ts'
import { Traffic } from './traffic.ts'

const usage = `npm run soak -- [options]
  --minutes N   how long (10)
  --csv FILE    writes the samples, one every five seconds
  --svg FILE    draws them`
const INTERVAL_MS = 5000
/** MiB for each 100 000 requests: over it something is kept. */
const SLOPE_MAX = 0.5

const { values } = parseArgs({
  options: { minutes: { type: 'string', default: '10' }, csv: { type: 'string' }, svg: { type: 'string' }, help: { type: 'boolean', default: false } },
})
if (values.help) console.log(usage)
else if (process.platform !== 'linux') console.error('npm run soak reads /proc, which only Linux has')
else await soak(Number(values.minutes))

async function soak(minutes: number): Promise<void> {
  // V8 enlarges its young generation when it pleases; held small, it neither hides a leak nor looks like one.
  const server = fork(new URL('server.ts', import.meta.url), { execArgv: ['--import', '@oxc-node/core/register', '--max-semi-space-size=2'] })
  const [{ port }] = (await once(server, 'message')) as [{ port: number }]
  const before = await held(server.pid!)

  const samples: Sample[] = []
  const started = performance.now()
  const traffic = new Traffic(port)
  while (performance.now() - started < minutes * 60_000) {
    await sleep(INTERVAL_MS)
    const latencies = Float64Array.from(traffic.takeLatencies()).sort()
    const p99Ms = latencies.length > 0 ? quantiles(latencies).p99 : null
    const sample = { seconds: (performance.now() - started) / 1000, requests: traffic.requests, ...(await held(server.pid!)), p99Ms }
    samples.push(sample)
    console.log(`${Math.round(sample.seconds)} s: ${sample.requests} requests, ${sample.rssMiB.toFixed(1)} MiB, ${sample.descriptors} descriptors, ${sample.threads} threads, p99 ${p99Ms?.toFixed(1)} ms`)
  }
  await traffic.stop()
  let after = await held(server.pid!)
  // The last connections may linger.
  for (let left = 50; left > 0 && after.descriptors > before.descriptors; left--) {
    await sleep(100)
    after = await held(server.pid!)
  }
  server.disconnect()
  const [code] = await once(server, 'exit')

  if (values.csv !== undefined) writeFileSync(values.csv, csv(samples))
  if (values.svg !== undefined) await draw(values.svg, charts(samples), 2)
  const rise = slope(samples)
  console.log(`${traffic.requests} requests in ${minutes} minutes, ${traffic.failures} failed`)
  console.log(`resident memory: ${rise.toFixed(3)} MiB more for each 100 000 requests (at most ${SLOPE_MAX})`)
  console.log(`after it: ${after.descriptors} descriptors (${before.descriptors} before), ${after.threads} threads (${before.threads} before)`)
  const kept = after.descriptors > before.descriptors || after.threads > before.threads
  if (rise > SLOPE_MAX || kept || traffic.failures > 0 || code !== 0) process.exitCode = 1
}
