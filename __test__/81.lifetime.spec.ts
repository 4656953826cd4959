// The end of a process and of its workers, whatever was going on; and what waiting costs.
import { readdirSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import test from 'ava'
import { portPrinted, program } from './_process.js'
import { RawClient } from './_raw.js'
import { open, portOf, pull } from './_server.js'

const file = '__test__/_lifetime-program.ts'

/** A line of the program: its threads and open descriptors, and after each 50 listeners more. */
interface Resources {
  threads: number
  descriptors: number
  rss?: number
  kept?: number
}

const ends: Array<[way: string, title: string, code: number, flags?: string[]]> = [
  ['exit', 'process.exit() with requests in flight', 7],
  ['throw', 'an uncaught exception with requests in flight', 1],
  ['unref', 'a listener that was unref\'d and never closed', 0],
  ['dropped', 'listeners that nobody keeps, unref\'d and never closed', 0, ['--expose-gc']],
  ['nothing-kept', 'a server of which nothing is kept serves on', 0, ['--expose-gc']],
  ['churn', '150 listeners started and stopped: threads, descriptors and memory are flat, and nothing is kept', 0, ['--expose-gc']],
  ['spawns', 'a child process that outlives a listener holds neither its port nor its connections', 0],
  ['closed', 'a listener that was closed with requests in flight', 0],
  ['drained', 'a listener that was drained', 0],
  ['terminate', 'worker.terminate() with requests in flight, four at once, five times', 0],
  ['worker-closes', 'a worker that closes its listener', 0],
  ['worker-exits', 'a worker that calls process.exit()', 0],
  ['exit-with-workers', 'process.exit() while workers serve', 9],
]

for (const [way, title, expected, flags] of ends) {
  test(title, async (t) => {
    t.timeout(60_000)
    // Who is cut off in the middle frees nothing: no leak, if a sanitizer looks.
    const env: Record<string, string> = expected === 0 ? {} : { ASAN_OPTIONS: `${process.env.ASAN_OPTIONS ?? ''}:detect_leaks=0` }
    const child = program(t, file, { WAY: way, ...env }, flags)
    const { code, signal, stdout, stderr } = await child.ended
    t.is(signal, null, stderr)
    t.is(code, expected, stderr)
    if (way === 'throw') t.regex(stderr, /nobody catches it/)
    else t.is(stderr, '', 'nothing is said')
    if (way === 'dropped') t.regex(stdout, /^collected 0$/m)
    const told = [...stdout.matchAll(/^\{.*\}$/gm)].map(([json]) => JSON.parse(json) as Resources)
    const [start, last] = [told[0]!, told.at(-1)!]
    t.true(last.threads <= start.threads + availableParallelism(), `${start.threads} threads at the start, ${last.threads} at the end`)
    t.true(last.descriptors <= start.descriptors + 2, `${start.descriptors} descriptors at the start, ${last.descriptors} at the end`)
    if (way !== 'churn') return
    t.is(told.length, 5)
    t.true(last.kept! <= 2, `${last.kept} of 302 closed listeners and connections are still there`)
    t.true(last.rss! - told[2]!.rss! < 8 << 20, `resident after 50, 100 and 150: ${told.slice(2).map(({ rss }) => rss! >> 20)} MiB`)
  })
}

test('a referenced listener keeps the process, SIGTERM ends it', async (t) => {
  const child = program(t, file, { WAY: 'referenced' })
  await child.printed(/waiting/)
  child.child.kill('SIGTERM')
  t.is((await child.ended).signal, 'SIGTERM')
})

test.serial('10 000 waiting pulls cost no handle each', async (t) => {
  t.timeout(60_000)
  const listener = await open(t)
  const descriptors = () => (process.platform === 'linux' ? readdirSync('/proc/self/fd').length : 0)
  const client = await RawClient.connect(portOf(listener))
  await client.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n')
  const request = await pull(listener)
  const before = { resources: process.getActiveResourcesInfo().length, descriptors: descriptors() }
  const pulls = Array.from({ length: 10_000 }, () => request.stream.nextRequest())
  pulls.push(...(Array.from({ length: 10_000 }, () => listener.nextConnection()) as never[]))
  t.true(process.getActiveResourcesInfo().length < before.resources + 20, 'a timer or two of others, not one for each pull')
  t.true(descriptors() < before.descriptors + 20)
  await listener.close()
  t.deepEqual(new Set(await Promise.all(pulls)), new Set([null]))
})

test.serial('10 000 connections that wait in nextRequest cost a descriptor each and no handle', async (t) => {
  t.timeout(120_000)
  const count = 10_000
  const port = await portPrinted(program(t, '__test__/_memory-server.ts'))
  const handles = async () => (await (await fetch(`http://127.0.0.1:${port}/handles`)).json()) as { resources: number; descriptors: number }
  await handles()
  const before = await handles()
  const clients: RawClient[] = []
  t.teardown(() => clients.forEach((client) => client.close()))
  const open100 = async () => {
    for (let i = 0; i < count / 100; i++) {
      const client = await RawClient.connect(port)
      await client.write('GET /memory HTTP/1.1\r\nhost: a\r\n\r\n')
      t.is((await client.response()).status, 200)
      clients.push(client)
    }
  }
  await Promise.all(Array.from({ length: 100 }, open100))
  const after = await handles()
  t.true(after.resources < before.resources + 20, `${before.resources} resources before, ${after.resources} after`)
  if (process.platform === 'linux') {
    t.true(after.descriptors - before.descriptors <= count + 5, `${after.descriptors - before.descriptors} descriptors`)
    // The client's own pool may have let go of a connection or two.
    t.true(after.descriptors - before.descriptors >= count - 5, `${after.descriptors - before.descriptors} are open`)
  }
  for (const client of [clients[0]!, clients[5000]!, clients[9999]!]) {
    await client.write('GET /memory HTTP/1.1\r\nhost: a\r\n\r\n')
    t.is((await client.response()).status, 200, 'and each of them still hears')
  }
})
