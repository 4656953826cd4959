// Several processes or threads on one port (docs/processes.md).
import test from 'ava'
import type { ExecutionContext } from 'ava'
import { portPrinted, program } from './_process.js'
import { RawClient } from './_raw.js'
import { soon } from './_server.js'

const get = 'GET / HTTP/1.1\r\nhost: a\r\n\r\n'

async function scene(t: ExecutionContext, mode: string) {
  t.timeout(60_000)
  const started = program(t, '__test__/_processes-program.ts', { MODE: mode })
  const port = await portPrinted(started)
  const [, first, second] = await started.printed(/^names (\S+) (\S+)$/m)
  return { started, port, first: first!, second: second! }
}

/** Who answers on each of 64 new connections: the kernel spreads them by their ports. */
async function whoAnswers(port: number): Promise<string[]> {
  const clients = await Promise.all(Array.from({ length: 64 }, () => RawClient.connect(port)))
  const names = await Promise.all(
    clients.map(async (client) => {
      await client.write(get)
      return (await client.response()).body.toString()
    }),
  )
  for (const client of clients) client.close()
  return [...new Set(names)].sort()
}

/** A connection that `name` has accepted. */
async function connectTo(name: string, port: number): Promise<RawClient> {
  for (;;) {
    const client = await RawClient.connect(port)
    await client.write(get)
    if ((await client.response()).body.toString() === name) return client
    client.close()
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

for (const [mode, title] of [
  ['cluster', 'workers of node:cluster'],
  ['fork', 'processes of child_process.fork()'],
  ['threads', 'worker threads'],
] as const) {
  test(`${title} share a port with reusePort, and are replaced one by one`, async (t) => {
    const { started, port, first, second } = await scene(t, mode)
    t.deepEqual(await whoAnswers(port), [first, second].sort())
    const client = await connectTo(first, port)
    started.child.kill('SIGUSR2')
    t.is(await client.ended, 'end', 'an idle connection of the one that drains is closed')
    const [, code, third] = await started.printed(/^stopped (\d+), started (\S+)$/m)
    t.is(code, '0')
    t.deepEqual(await whoAnswers(port), [second, third!].sort())
    started.child.kill('SIGTERM')
    await started.printed(/^stopped 0,0$/m)
    t.is((await started.ended).code, 0, 'and nothing keeps the first process')
  })
}

test('a process that is killed leaves the port to the others', async (t) => {
  const { port, first, second } = await scene(t, 'fork')
  const pid = Number(first.split('-')[1])
  const client = await connectTo(first, port)
  process.kill(pid, 'SIGKILL')
  await client.ended
  await soon(() => !isAlive(pid))
  t.deepEqual(await whoAnswers(port), [second])
})
