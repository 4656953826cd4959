// What has gone wrong elsewhere (docs/bug-classes.md): the tests that it names are there, and here are those that no other file is about.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import type { ExecutionContext } from 'ava'
import * as h2 from './_frames.js'
import { FrameClient } from './_frames.js'
import { root } from './_process.js'
import { RawClient } from './_raw.js'
import { answer, asked, open, portOf, pull, rejected, soon } from './_server.js'

test('docs/bug-classes.md names tests that exist', (t) => {
  const rows = readFileSync(join(root, 'docs/bug-classes.md'), 'utf8').matchAll(/^\| (?!What went)(.+?) *\|.*\| (.+) \|$/gm)
  const named = Array.from(rows, ([, what, tests]) => tests!.split(' <br> ').map((entry) => ({ what, entry }))).flat()
  const missing = named.filter(({ entry }) => {
    const [, file, title] = /^`([\w.-]+)` (.+)$/.exec(entry) ?? []
    return file === undefined || !hasTest(file, title!)
  })
  t.deepEqual(missing, [])
  t.true(named.length > 80)
})

/** Is there a test of this title in the file? It stands there whole, or each variable part of it does, or is a number. */
function hasTest(file: string, title: string): boolean {
  const path = join(root, '__test__', `${file}.spec.ts`)
  if (!existsSync(path)) return false
  const source = readFileSync(path, 'utf8').replaceAll("\\'", "'")
  if (source.includes(`'${title}'`)) return !source.includes(`test.failing('${title}'`)
  const templates = Array.from(source.matchAll(/\btest(?:\.serial)?\(`([^`]+)`/g), ([, text]) => text!.split(/\$\{[^}]*\}/))
  return templates.some((parts) => {
    const variable = new RegExp(`^${parts.map(literal).join('(.+)')}$`).exec(title)?.slice(1)
    return variable?.every((part) => source.includes(part) || !Number.isNaN(Number(part)))
  })
}

const literal = (text: string) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')

// ------------------------------------------------------------------------------------------------ HTTP/1.1

test('a head that ends in CR LF CR and a letter is 400', async (t) => {
  const listener = await open(t)
  const client = await RawClient.connect(portOf(listener))
  await client.write('GET / HTTP/1.1\r\nhost: a\r\n\rXGET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n')
  t.is((await client.response()).status, 400)
  t.is(await client.rest(), '', 'and the connection ends')
  t.is(listener.stats().requestsTotal, 0)
})

const lines: Array<[title: string, body: string]> = [
  ['a chunk line that ends in LF', '5\nhello\r\n0\r\n\r\n'],
  ['a chunk extension with a LF in it', '5;a\nb\r\nhello\r\n0\r\n\r\n'],
  ['a chunk that two other bytes end', '5\r\nhelloXX0\r\n\r\n'],
  ['a chunk that LF ends', '5\r\nhello\n0\r\n\r\n'],
]
for (const [title, body] of lines) {
  test(`${title} is ERR_PROTOCOL`, async (t) => {
    const listener = await open(t)
    const client = await RawClient.connect(portOf(listener))
    await client.write(`POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n${body}GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n`)
    const request = await pull(listener)
    await rejected(t, request.body!.bytes(), 'ERR_PROTOCOL')
    await request.stream.send(request.key, { status: 400 })
    t.is((await client.response()).status, 400)
    t.is(await client.rest(), '')
    t.is(listener.stats().requestsTotal, 1)
  })
}

/** A body of chunks whose extensions say much: it is cut before so many bytes of them have been read. */
async function extensions(t: ExecutionContext, most: number, first: string, next: () => string): Promise<void> {
  t.timeout(60_000)
  const { listener, client, request } = await asked(t, `POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n${first}`)
  const read = rejected(t, request.body!.bytes(), 'ERR_PROTOCOL')
  let cut = false
  void read.then(() => (cut = true))
  // From then on nothing is read: a write may wait for ever.
  while (!cut) await Promise.race([client.write(next()), read])
  t.true(listener.stats().bytesRead < most, `${listener.stats().bytesRead} bytes were read`)
}

test('a chunk extension without end is cut', (t) => extensions(t, 256 << 10, '5;', () => 'a'.repeat(1000)))

test('a little extension in each chunk is cut', (t) => extensions(t, 1 << 20, '', () => '1;name=value\r\na\r\n'.repeat(50)))

test('what follows a body is the next request, and rubbish is 400', async (t) => {
  const { client, request } = await asked(t, 'POST /1 HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nHELLOEXTRA\r\n\r\n')
  t.is(await request.body!.text(), 'HELLO')
  await request.stream.send(request.key, { body: 'one' })
  t.is((await client.response()).body.toString(), 'one')
  t.is((await client.response()).status, 400)
  t.is(await client.rest(), '')
  t.is(await request.stream.nextRequest(), null)
})

test('a field with the name __proto__ is one like any other', async (t) => {
  const listener = await open(t)
  const client = await RawClient.connect(portOf(listener))
  await client.write('GET / HTTP/1.1\r\nhost: a\r\n__proto__: x\r\n__proto__: y\r\nconstructor: z\r\nhasownproperty: w\r\n\r\n')
  const { key, stream, headers } = await pull(listener)
  t.is(headers.get('__proto__'), 'x, y')
  t.deepEqual(headers.getAll('__proto__'), ['x', 'y'])
  t.true(headers.has('constructor'))
  t.false(headers.has('toString'), 'and what JavaScript has by itself is none')
  t.is(headers.get('valueof'), null)
  const object = headers.toObject()
  t.deepEqual(Object.keys(object).sort(), ['__proto__', 'constructor', 'hasownproperty', 'host'])
  t.is(object.constructor as unknown, 'z')
  t.deepEqual(Object.getOwnPropertyDescriptor(object, '__proto__')?.value, ['x', 'y'])
  t.is(({} as { x?: string }).x, undefined)
  await stream.send(key, { headers: JSON.parse('{"__proto__": "sent"}') })
  t.is((await client.response()).get('__proto__'), 'sent')
})

// ------------------------------------------------------------------------------------------------ HTTP/2

test('a header block that is no HPACK ends its connection, and nobody else\'s', async (t) => {
  const listener = await open(t)
  void answer(listener, (request, stream) => stream.send(request.key, { body: request.target }))
  const neighbour = await FrameClient.connect(portOf(listener))
  t.teardown(() => neighbour.close())
  const blocks = [
    Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), // an index that never ends
    Buffer.from([0x80]), // index 0
    Buffer.from([0xbf, 0x7f]), // an index beyond both tables
    Buffer.from([0x00, 0x85, 0xff, 0xff, 0xff, 0xff, 0xff]), // Huffman coding with an end of string in it
    Buffer.from([0x3f, 0xe1, 0xff, 0xff, 0x0f]), // a table of 256 MB
    Buffer.from([0x00, 0x7f, 0xff, 0xff, 0xff, 0x07, 0x61]), // a name of 16 MB, of which a byte is there
  ]
  for (const [i, bytes] of blocks.entries()) {
    const client = await FrameClient.connect(portOf(listener))
    await client.write(h2.frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, 1, bytes))
    await client.cut
    t.true([h2.PROTOCOL_ERROR, h2.COMPRESSION_ERROR].includes(client.goAway!), `block ${i}: ${client.goAway}`)
    client.close()
    await neighbour.write(h2.get(2 * i + 1, '/'))
    t.is(h2.statusOf((await neighbour.head(2 * i + 1))!), 200)
  }
  await soon(() => listener.stats().connectionsOpen === 1)
  t.is(listener.stats().requestsTotal, blocks.length)
})

test('after GOAWAY for a fault nothing more is taken, and nothing is left', async (t) => {
  const listener = await open(t)
  void answer(listener, () => t.fail('a request came up'))
  const clients: FrameClient[] = []
  for (let i = 0; i < 20; i++) {
    const client = await FrameClient.connect(portOf(listener))
    clients.push(client)
    // The window of the connection overflows; the requests behind it come too late.
    await client.write(h2.windowUpdate(0, 0x7fff_ffff), h2.get(1, '/late'), h2.get(3, '/late'))
    await client.cut
    t.is(client.goAway, h2.FLOW_CONTROL_ERROR)
    await client.write(h2.get(5, '/later'))
  }
  // They are still there, and say nothing more.
  await soon(() => listener.stats().connectionsOpen === 0)
  t.like(listener.stats(), { connectionsTotal: 20, requestsTotal: 0 })
  for (const client of clients) client.close()
})

test('DATA of nothing but padding is let in, and its window is given back', async (t) => {
  const listener = await open(t)
  void answer(listener, async (request, stream) => stream.send(request.key, { body: `${(await request.body!.bytes()).length}` }))
  const client = await FrameClient.connect(portOf(listener))
  t.teardown(() => client.close())
  await client.write(h2.post(1, '/'))
  const padding = Buffer.concat([Buffer.from([255]), Buffer.alloc(255)])
  // Four windows of 65 535 bytes: without credit for them the last ones would be a fault.
  for (let sent = 0; sent < 4 * 65_535; sent += padding.length + 1) {
    const byte = Buffer.concat([padding.subarray(0, 1), Buffer.from('x'), padding.subarray(1)])
    await client.write(h2.frame(h2.DATA, h2.PADDED, 1, byte))
    if (sent % 8224 === 0) t.true(await client.ping())
  }
  await client.write(h2.frame(h2.DATA, h2.PADDED | h2.END_STREAM, 1, padding))
  t.is(h2.statusOf((await client.head(1))!), 200)
  t.is((await client.end(1))?.type, h2.DATA)
})
