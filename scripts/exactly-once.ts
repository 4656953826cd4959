// npm run exactly-once [-- --minutes 60] [-- --seed N]: what 73.exactly-once.spec.ts does, with one seed after the other until the time is
// over. A line for each run; what is wrong is told with the seed that brings it up again, or something like it.
import { parseArgs } from 'node:util'
import { exactlyOnce, faults } from '../__test__/_exactly-once.js'

const { values } = parseArgs({ options: { minutes: { type: 'string', default: '60' }, seed: { type: 'string', default: `${Date.now() % 1e6}` } } })
const until = performance.now() + Number(values.minutes) * 60_000
let total = 0

for (let seed = Number(values.seed); performance.now() < until; seed++) {
  const protocol = seed % 2 ? 'h1' : 'h2'
  const proxied = seed % 4 < 2
  const report = await exactlyOnce({
    protocol,
    proxied,
    seed,
    connections: protocol === 'h1' ? 64 : 8,
    streams: 32,
    ioThreads: 1 + (seed % 3 === 0 ? 1 : 0),
    requests: 100_000,
    until,
  })
  total += report.requests
  const { requests, answered, abandoned } = report
  console.log(`seed ${seed}, ${protocol}${proxied ? ' through the proxy' : ''}: ${requests} requests, ${answered} answered, ${abandoned} abandoned on purpose`)
  const wrong = faults(report)
  if (wrong.length === 0) continue
  console.error(wrong.join('\n'))
  process.exitCode = 1
  break
}
console.log(`${total} requests, ${process.exitCode ? 'and not each with one answer of its own' : 'each with one answer of its own'}`)
