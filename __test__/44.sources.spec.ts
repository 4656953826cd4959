// Bodies that are read as the client takes them, files, blobs, streams and iterables: how far, and what becomes of them.
import { AsyncLocalStorage } from 'node:async_hooks'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { open as openFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { setImmediate as setImmediateCallback } from 'node:timers'
import { setImmediate } from 'node:timers/promises'
import test from 'ava'
import type { OutgoingResponse } from '../index.js'
import { RawClient } from './_raw.js'
import { asked, barrier, open, portOf, pull, rejected, wire } from './_server.js'

const get = 'GET / HTTP/1.1\r\nhost: a\r\n\r\n'

test.serial('a file that is read in small pieces by its file system is sent as it is', async (t) => {
  // As network file systems do: a read may give less than was asked for.
  const directory = mkdtempSync(join(tmpdir(), 'hyperpull-'))
  t.teardown(() => rmSync(directory, { recursive: true }))
  const file = join(directory, 'file')
  const content = Buffer.from(Array.from({ length: 10_000 }, (_, i) => (i * 7) % 251))
  writeFileSync(file, content)
  const handle = await openFile(file)
  const proto = Object.getPrototypeOf(handle) as { read: (...given: unknown[]) => unknown }
  await handle.close()
  const { read } = proto
  t.teardown(() => Object.assign(proto, { read }))
  proto.read = function (buffer, offset, length, position) {
    return read.call(this, buffer, offset, Math.min(length as number, 1000), position)
  }
  const { answer } = await wire(t, { body: { file } })
  t.true(answer.body.equals(content))
})

test('a source is not pulled further than the client reads', async (t) => {
  const { listener, client, request } = await asked(t, get, { limits: { pendingWriteBytes: 64 << 10 } })
  client.socket.pause()
  let pulled = 0
  const body = (async function* () {
    for (; pulled < 2000; pulled++) yield Buffer.alloc(64 << 10)
  })()
  const sending = request.stream.send(request.key, { body })
  let before = -1
  while (pulled !== before) {
    before = pulled
    await barrier(listener)
    await setImmediate()
  }
  t.true(pulled > 0 && pulled < 400, `${pulled} chunks of 64 KiB were pulled: what the kernel buffers and no more`)
  client.socket.removeAllListeners('data').resume()
  t.is((await sending).bytes, 2000 * (64 << 10))
})

for (const how of ['the client goes', 'the request was a HEAD', 'the listener closes'] as const) {
  test(`a source is closed when ${how}`, async (t) => {
    for (const kind of ['generator', 'ReadableStream'] as const) {
      const { listener, client, request } = await asked(t, how === 'the request was a HEAD' ? get.replace('GET', 'HEAD') : get)
      let close = () => {}
      const closed = new Promise<void>((resolve) => (close = resolve))
      const generator = (async function* () {
        try {
          for (;;) yield Buffer.alloc(100_000)
        } finally {
          close()
        }
      })()
      await generator.next()
      const stream = new ReadableStream<Uint8Array>({ pull: (controller) => controller.enqueue(new Uint8Array(100_000)), cancel: () => close() })
      const sending = request.stream.send(request.key, { body: kind === 'generator' ? generator : stream })
      if (how === 'the client goes') client.reset()
      if (how === 'the listener closes') void listener.close()
      await closed
      if (how === 'the request was a HEAD') t.is((await sending).bytes, 0)
      else await rejected(t, sending, 'ERR_PEER_CLOSED', 'ERR_PEER_RESET', 'ERR_CLOSED')
    }
  })
}

test('a source is closed in the context that it was sent in', async (t) => {
  const storage = new AsyncLocalStorage<string>()
  const chunk = Buffer.alloc(100_000)
  type Close = (store: string | undefined) => void
  const sources: Record<string, (close: Close) => NonNullable<OutgoingResponse['body']>> = {
    async *generator(close) {
      try {
        for (;;) yield chunk
      } finally {
        close(storage.getStore())
      }
    },
    ReadableStream: (close) => new ReadableStream({ pull: (controller) => controller.enqueue(chunk), cancel: () => close(storage.getStore()) }),
    Readable: (close) =>
      new Readable({
        read() {
          this.push(chunk)
        },
        destroy(error, done) {
          close(storage.getStore())
          done(error)
        },
      }),
  }
  for (const [kind, make] of Object.entries(sources)) {
    const { client, request } = await asked(t, get)
    client.socket.pause()
    let sending = Promise.resolve<unknown>(null)
    const store = await new Promise((close) => {
      storage.run('the sender', () => {
        sending = request.stream.send(request.key, { body: make(close) })
      })
      client.reset()
    })
    t.is(store, 'the sender', kind)
    await rejected(t, sending, 'ERR_PEER_CLOSED', 'ERR_PEER_RESET')
  }
})

test('a file or blob whose exchange ends while it is opened', async (t) => {
  for (const body of [{ file: 'package.json' }, new Blob(['small'])]) {
    const { request } = await asked(t, get)
    const sending = request.stream.send(request.key, { body })
    request.stream.reset()
    await rejected(t, sending, 'ERR_CLOSED')
  }
})

if (process.platform === 'linux') {
  test('a file that says that it is empty, and is not, is sent to its end', async (t) => {
    for (const end of [Infinity, 1e6]) {
      const { answer, sent } = await wire(t, { body: { file: '/proc/self/status', start: 6, end } })
      t.is(answer.get('content-length'), undefined)
      t.is(answer.body.length, sent.bytes)
      const name = answer.body.toString().split('\n')[0]
      t.true(readFileSync('/proc/self/status', 'latin1').startsWith(`Name:\t${name}\n`))
    }
  })
}

test('an empty file has a content-length of 0', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'hyperpull-'))
  t.teardown(() => rmSync(directory, { recursive: true }))
  const file = join(directory, 'empty')
  writeFileSync(file, '')
  const { answer } = await wire(t, { body: { file } })
  t.is(answer.get('content-length'), '0')
})

test('a directory is no file: the error is told, and the key still good', async (t) => {
  const listener = await open(t)
  const client = await RawClient.connect(portOf(listener))
  await client.write(get)
  const { stream, key } = await pull(listener)
  await t.throwsAsync(stream.send(key, { body: { file: '.' } }), { code: 'EISDIR' })
  await stream.send(key, { status: 404 })
  t.is((await client.response()).status, 404)
})

for (const how of ['the client goes', 'what it gives cannot be sent'] as const) {
  test(`a source that throws when it is closed harms nothing: ${how}`, async (t) => {
    const listener = await open(t)
    const client = await RawClient.connect(portOf(listener))
    await client.write(get)
    const { signal, stream, key } = await pull(listener)
    const aborted = once(signal, 'abort')
    const source = (function* () {
      try {
        yield 'begin'
        for (;;) yield how === 'the client goes' ? 'x'.repeat(100_000) : (5 as unknown as string)
      } finally {
        throw new Error('by the source')
      }
    })()
    const sending = stream.send(key, { body: source })
    if (how === 'the client goes') client.reset()
    await rejected(t, sending, 'ERR_PEER_CLOSED', 'ERR_PEER_RESET', 'ERR_INVALID_OPTION')
    await aborted
    await client.ended
    await stream.connection.closed
    t.is(listener.stats().requestsInFlight, 0)
  })
}

test('a node:stream that fails before it is read is told once', async (t) => {
  for (const when of ['before', 'behind'] as const) {
    const { request } = await asked(t, get)
    const { stream, key } = request
    const body = new Readable({ read() {} })
    // In a callback of its own: the stream's 'error' comes before any promise goes on.
    const sending = new Promise((resolve) =>
      setImmediateCallback(() => {
        if (when === 'before') body.destroy(new Error('by the source'))
        resolve(stream.send(key, { body }))
        if (when === 'behind') body.destroy(new Error('by the source'))
      }),
    )
    await t.throwsAsync(sending, { message: 'by the source' })
  }
})
