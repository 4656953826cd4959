// What peers can make the server hold, measured: a server in a process of its own, and its clients in another.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import type { ExecutionContext } from 'ava'
import type { Limits, ListenerStats } from '../index.js'
import { h1Client } from './_client.js'
import { portPrinted, program, tool } from './_process.js'
import { RawClient } from './_raw.js'

const KIB = 1 << 10
const MIB = 1 << 20
/** What the process itself may come to take meanwhile: its heap grows before it is collected. */
const SLACK = 96 * MIB

async function scene(t: ExecutionContext, limits: Partial<Limits> = {}) {
  t.timeout(240_000)
  const port = await portPrinted(program(t, '__test__/_abuse-server.ts', { OPTIONS: JSON.stringify({ limits }) }))
  const asker = h1Client(port, 1)
  t.teardown(() => asker.close())
  const ask = async (path: string) => JSON.parse((await asker.fetch({ path })).text)
  const stats = async () => (await ask('/state')).stats as ListenerStats
  await asker.fetch({ method: 'POST', body: Buffer.alloc(MIB) })
  const { now: before } = await ask('/memory')
  /** The most it has taken since, beyond what it had. */
  const grown = async (): Promise<number> => (await ask('/memory')).most - before
  const crowd = async (kind: string, count: number, download = '') => {
    const clients = program(t, '__test__/_crowd.ts', { PORT: String(port), COUNT: String(count), KIND: kind, DOWNLOAD: download })
    await clients.printed(/ready/)
    return clients
  }
  /** Waits until nobody is left but who asks. */
  const gone = async () => {
    for (const deadline = performance.now() + 60_000; ; ) {
      const { connectionsOpen, requestsInFlight } = await stats()
      if (connectionsOpen === 1 && requestsInFlight === 1) return
      if (performance.now() > deadline) throw new Error(`${connectionsOpen} connections and ${requestsInFlight} requests are left`)
    }
  }
  return { port, asker, stats, grown, crowd, gone }
}

/** Waits until nothing moves any more: what the server has read and written is what the last questions were. */
async function still(stats: () => Promise<ListenerStats>): Promise<ListenerStats> {
  let before = await stats()
  for (let rounds = 0; ; ) {
    const now = await stats()
    const moved = Math.max(now.bytesRead - before.bytesRead, now.bytesWritten - before.bytesWritten)
    rounds = moved < 2 * KIB ? rounds + 1 : 0
    before = now
    if (rounds === 20) return now
  }
}

/** 10 000 connections, or as many as one process may have here. */
const files = process.platform === 'win32' ? 10_000 : Number(execFileSync('sh', ['-c', 'ulimit -Hn'], { encoding: 'utf8' }).replace('unlimited', '1000000'))
const CROWD = Math.min(10_000, files - 500)

// Beside what limits.bufferedBytes lets it hold: the objects of a connection and its requests, on both sides of the crossing.
for (const [kind, perConnection] of [
  ['upload', 64 * KIB],
  ['h2-upload', 96 * KIB],
] as const) {
  test.serial(`${kind}: ${CROWD} connections that send as much as they can while nobody pulls`, async (t) => {
    if (CROWD < 10_000) t.log(`this system lets a process have ${files} files: ${CROWD} connections instead of 10 000`)
    const limits = { bufferedBytes: 64 * KIB }
    const { asker, stats, grown, crowd, gone } = await scene(t, limits)
    const clients = await crowd(kind, CROWD)
    const { connectionsOpen, bytesRead } = await still(stats)
    t.is(connectionsOpen, CROWD + 1)
    t.true(bytesRead > CROWD * KIB, 'they were heard')
    const most = await grown()
    t.log(`${most / MIB} MiB, ${Math.round(most / CROWD)} bytes a connection, ${Math.round(bytesRead / CROWD)} of them read`)
    t.true(bytesRead <= CROWD * (limits.bufferedBytes + 2 * KIB) + MIB, `${bytesRead} bytes were read`)
    t.true(most < CROWD * (limits.bufferedBytes + perConnection) + SLACK, `memory grew by ${most} bytes`)
    t.is((await asker.fetch({ method: 'POST', body: 'and it still answers' })).text, '20')
    // Behind bytes that nobody reads, over HTTP/1.1, the end of a connection cannot be seen.
    if (kind === 'upload') return
    clients.child.kill('SIGTERM')
    await gone()
  })
}

const DEAF = 200
const ANSWER = 50_000_000

for (const kind of ['deaf', 'h2-deaf']) {
  for (const [what, path, perStream] of [
    ['made as it goes', '/download', 64 * KIB],
    ['there whole', '/whole', 64 * KIB],
    // The piece that was read, and the one that is being read.
    ['a file', '/file', 2 * 256 * KIB],
  ] as const) {
    test.serial(`${kind}: ${DEAF} clients that do not read their answer of 50 MB, ${what}`, async (t) => {
      const limits = { pendingWriteBytes: 256 * KIB }
      const { asker, stats, grown, crowd, gone } = await scene(t, limits)
      // The one body that all share is no growth.
      if (path === '/whole') await asker.fetch({ path: `${path}?${ANSWER}` })
      const before = await grown()
      const clients = await crowd(kind, DEAF, path === '/file' ? `/file?${file(t, ANSWER)}` : `${path}?${ANSWER}`)
      const { requestsInFlight } = await still(stats)
      t.is(requestsInFlight, DEAF + 1)
      const most = (await grown()) - before
      t.log(`${most / MIB} MiB, ${Math.round(most / DEAF)} bytes a connection`)
      t.true(most < DEAF * (limits.pendingWriteBytes + perStream) + SLACK, `memory grew by ${most} bytes`)
      t.is((await asker.fetch({ method: 'POST', body: 'and it still answers' })).text, '20')
      clients.child.kill('SIGTERM')
      await gone()
    })
  }
}

/** A file of so many bytes. */
function file(t: ExecutionContext, bytes: number): string {
  const directory = mkdtempSync(join(tmpdir(), 'hyperpull-'))
  t.teardown(() => rmSync(directory, { recursive: true }))
  const path = join(directory, 'file')
  writeFileSync(path, '')
  truncateSync(path, bytes)
  return path
}

const UPLOAD = 200_000_000
const unlimited = { bodyBytes: UPLOAD }

test.serial('200 MB that nobody reads are answered: to one who reads only after it has sent all', async (t) => {
  const { port, grown, gone } = await scene(t, unlimited)
  const client = await RawClient.connect(port)
  client.socket.pause()
  await client.write(`POST /refuse HTTP/1.1\r\nhost: a\r\ncontent-length: ${UPLOAD}\r\n\r\n`)
  const piece = Buffer.alloc(MIB)
  for (let left = UPLOAD; left > 0; left -= piece.length) await client.write(piece.subarray(0, Math.min(left, piece.length)))
  client.socket.resume()
  const response = await client.response()
  t.is(response.status, 403)
  t.is(response.get('connection'), 'close')
  t.is(response.body.toString(), 'refused')
  t.is(await client.ended, 'end')
  client.close()
  const most = await grown()
  t.true(most < SLACK, `memory grew by ${most} bytes`)
  await gone()
})

for (const [client, args] of [
  ['curl', ['--silent', '--show-error', '--max-time', '60', '--header', 'expect:', '--request', 'POST', '--upload-file']],
  // Not curl over HTTP/2: while it uploads, version 7 loses an answer that comes early (error 92).
  ['nghttp', ['--timeout=60', '--data']],
] as const) {
  test.serial(`200 MB that nobody reads are answered: to ${client}`, async (t) => {
    const { port, grown, gone } = await scene(t, unlimited)
    const upload = file(t, UPLOAD)
    const clients = Array.from({ length: 4 }, () => tool(client, [...args, upload, `http://127.0.0.1:${port}/refuse`]))
    for (const client of clients) t.is((await client).stdout, 'refused')
    const most = await grown()
    t.true(most < SLACK, `memory grew by ${most} bytes`)
    await gone()
  })
}
