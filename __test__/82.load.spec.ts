// Load: a million requests on each protocol by h2load, none failed, memory flat after the first hundred thousand. And what there
// is too much of: work for the JavaScript thread, connections for the descriptors.
import { readFileSync } from 'node:fs'
import { setTimeout } from 'node:timers/promises'
import test from 'ava'
import type { ExecutionContext } from 'ava'
import type { ListenerStats } from '../index.js'
import { command, portPrinted, program, tool } from './_process.js'
import { RawClient } from './_raw.js'
import { soon } from './_server.js'

const get = (target: string) => `GET ${target} HTTP/1.1\r\nhost: a\r\n\r\n`

for (const protocol of ['h1', 'h2']) {
  test.serial(`${protocol}: 1 000 000 requests`, async (t) => {
    t.timeout(300_000)
    const { code, stdout, stderr } = await tool(process.execPath, ['scripts/load.js', protocol])
    t.log(stdout.trim())
    t.is(code, 0, stdout + stderr)
    t.regex(stdout, /1000000 succeeded/)
  })
}

/** `count` connections, closed when the test ends. */
async function connect(t: ExecutionContext, port: number, count: number): Promise<RawClient[]> {
  const clients = await Promise.all(Array.from({ length: count }, () => RawClient.connect(port)))
  t.teardown(() => clients.forEach((client) => client.close()))
  return clients
}

async function ask(client: RawClient, target: string): Promise<string> {
  await client.write(get(target))
  return (await client.response()).body.toString()
}

test.serial('the JavaScript thread blocked for 2 s under 400 connections: nothing is lost', async (t) => {
  t.timeout(120_000)
  const server = program(t, '__test__/_memory-server.ts')
  const port = await portPrinted(server)
  const clients = await connect(t, port, 400)
  await Promise.all(clients.map((client) => ask(client, '/download?1')))
  const [blocker] = await connect(t, port, 1)
  const blocked = ask(blocker!, '/block?2000')
  await server.printed(/blocked/)
  // Half of them pipeline, new ones come, others go: nobody looks at any of it for two seconds.
  const asked = clients.map((client, i) => client.write(i % 2 ? get('/download?10000') : get('/download?10000') + get('/download?1')))
  const late = await connect(t, port, 100)
  for (const client of late.slice(50)) client.reset()
  const answers = Promise.all([
    ...clients.map(async (client, i) => {
      const first = (await client.response()).body.length
      return i % 2 ? first : first + (await client.response()).body.length
    }),
    ...late.slice(0, 50).map(async (client) => (await ask(client, '/download?10000')).length),
  ])
  await Promise.all(asked)
  t.is(clients.filter((client) => client.pending !== '').length, 0, 'it is blocked indeed')
  t.is(await blocked, 'free')
  t.deepEqual(await answers, [...clients.map((_, i) => (i % 2 ? 10_000 : 10_001)), ...late.slice(50).map(() => 10_000)])
  const stats = JSON.parse(await ask(blocker!, '/stats')) as ListenerStats
  t.like(stats, { requestsTotal: 400 + 1 + 400 + 200 + 50 + 1, requestsInFlight: 1, responsesFailed: 0 })
})

if (process.platform === 'linux') {
  test.serial('no descriptors left: what is open is served, nothing spins, and the rest is accepted when there are again', async (t) => {
    t.timeout(120_000)
    const room = 30
    const args = ['-c', `ulimit -n 300; exec "$0" "$@"`, process.execPath, '--import', '@oxc-node/core/register', '__test__/_abuse-server.ts']
    const server = command(t, 'sh', args, { LD_PRELOAD: process.env.LD_PRELOAD ?? '' })
    const port = await portPrinted(server)
    const { pid } = server.child
    const [program] = await connect(t, port, 1)
    await ask(program!, `/hoard?${room}`)

    const clients = await connect(t, port, 100)
    const answered: RawClient[] = []
    for (const client of clients) void ask(client, '/').then(() => answered.push(client), () => {})
    await soon(() => answered.length === room, `the limit of ${room} connections`)
    t.is(await ask(program!, '/'), '0', 'an open connection is served')

    const spent = cpuTicks(pid!)
    await setTimeout(2000)
    const ticks = cpuTicks(pid!) - spent
    t.true(ticks < 20, `${ticks} of 200 ticks of CPU time, in two seconds without a descriptor`)
    t.is(answered.length, room, 'and no more were accepted')

    // Each that goes leaves its descriptor to one that waits.
    for (let served = answered.length; served < clients.length; served += answered.length) {
      for (const client of answered.splice(0)) client.close()
      const more = Math.min(room, clients.length - served)
      await soon(() => answered.length === more, `${more} more, after ${served},`)
    }
  })
}

/** User and system time of a process, in ticks of 10 ms. */
function cpuTicks(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ')
  return Number(fields[11]) + Number(fields[12])
}
