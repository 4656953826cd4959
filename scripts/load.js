// A million requests over 64 keep-alive connections (h1) and over 16 connections of 16 streams (h2), by h2load, against
// a server in a process of its own: none may fail, and its resident memory may grow by less than 16 MiB after the
// first hundred thousand.   node scripts/load.js [h1|h2] [REQUESTS]
import { execFile, fork } from 'node:child_process'
import { once } from 'node:events'
import { promisify } from 'node:util'
import { listen } from '../index.js'

const WARM = 100_000
const GROWTH = 16 << 20
const FLAGS = { h1: ['--h1', '-c', '64'], h2: ['-c', '16', '-m', '16'] }

if (process.argv[2] === 'server') await server()
else {
  const protocols = process.argv[2] in FLAGS ? [process.argv[2]] : Object.keys(FLAGS)
  const requests = Number(process.argv.find((argument) => /^\d+$/.test(argument)) ?? 1_000_000)
  for (const protocol of protocols) await load(protocol, requests)
}

async function load(protocol, requests) {
  // V8 enlarges its young generation when it pleases; held small, it neither hides a leak nor looks like one.
  const child = fork(new URL(import.meta.url), ['server'], { execArgv: ['--max-semi-space-size=2'] })
  const resident = []
  child.on('message', ({ rss }) => rss && resident.push(rss))
  const [{ port }] = await once(child, 'message')
  const started = performance.now()
  const { stdout } = await promisify(execFile)('h2load', ['-n', `${requests}`, ...FLAGS[protocol], `http://127.0.0.1:${port}/`])
  const seconds = (performance.now() - started) / 1000
  child.disconnect()
  const [code] = await once(child, 'exit')
  const [, summary] = /^requests: .* (\d+ succeeded, .*)$/m.exec(stdout)
  const growth = Math.max(...resident) - resident[0]
  console.log(`${protocol}: ${summary}, in ${seconds.toFixed(1)} s; from request ${WARM} on ${(growth / 2 ** 20).toFixed(1)} MiB more than ${resident[0] >> 20}`)
  const failed = !summary.startsWith(`${requests} succeeded, 0 failed, 0 errored, 0 timeout`) || !stdout.includes(`${requests} 2xx, 0 3xx, 0 4xx, 0 5xx`)
  if (failed || resident.length < 2 || growth >= GROWTH || code !== 0) {
    console.error(stdout)
    process.exitCode = 1
  }
}

async function server() {
  const listener = await listen({ port: 0, ioThreads: 1 })
  let served = 0
  const onStream = async (stream) => {
    for await (const request of stream) {
      await stream.send(request.key, { headers: { 'content-type': 'text/plain' }, body: 'Hello, World!' })
      if (++served % WARM === 0) process.send({ rss: process.memoryUsage.rss() })
    }
  }
  const onConnection = async (connection) => {
    for await (const stream of connection) onStream(stream).catch(console.error)
  }
  process.once('disconnect', () => listener.drain())
  process.send({ port: listener.address.port })
  for await (const connection of listener) onConnection(connection).catch(console.error)
}
