// Every request gets one answer, and it is its own: 160 000 of them, drawn at random (_exactly-once.ts), most through a proxy that splits and
// delays every write. `npm run exactly-once -- --minutes 60` does the same for an hour.
import test from 'ava'
import { exactlyOnce, faults } from './_exactly-once.js'
import type { Run } from './_exactly-once.js'

const runs: Array<[title: string, run: Run]> = [
  ['h1: 20 000 requests over 64 connections', { protocol: 'h1', proxied: false, seed: 11, connections: 64, requests: 20_000 }],
  ['h2: 20 000 requests over 8 connections of 32 streams', { protocol: 'h2', proxied: false, seed: 12, connections: 8, streams: 32, ioThreads: 2, requests: 20_000 }],
  ['h1: 10 000 requests without an I/O thread', { protocol: 'h1', proxied: true, seed: 15, connections: 64, ioThreads: 0, requests: 10_000 }],
  ['h2: 10 000 requests without an I/O thread', { protocol: 'h2', proxied: true, seed: 16, connections: 8, streams: 32, ioThreads: 0, requests: 10_000 }],
  ['h1: 50 000 requests through the proxy', { protocol: 'h1', proxied: true, seed: 13, connections: 64, ioThreads: 2, requests: 50_000 }],
  ['h2: 50 000 requests through the proxy', { protocol: 'h2', proxied: true, seed: 14, connections: 8, streams: 32, requests: 50_000 }],
]

for (const [title, run] of runs) {
  test.serial(title, async (t) => {
    t.timeout(120_000)
    const report = await exactlyOnce(run)
    t.deepEqual(faults(report), [])
    t.is(report.requests, run.requests)
    t.true(report.abandoned > run.requests / 100 && report.abandoned < run.requests / 30)
  })
}
