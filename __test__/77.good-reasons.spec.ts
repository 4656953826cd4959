// Those who do for good reasons what attackers do are not cut.
import test from 'ava'
import { Scene } from './_abuse-scene.js'
import * as h2 from './_frames.js'
import { FrameClient } from './_frames.js'
import { must, open, portOf, soon } from './_server.js'

const odd = (i: number) => 2 * i + 1

test.serial('1000 calls in sequence, each cancelled when its answer has begun', async (t) => {
  const scene = await Scene.start(t)
  const client = await FrameClient.connect(scene.port)
  t.teardown(() => client.close())
  for (let i = 0; i < 1000; i++) {
    await client.write(h2.post(odd(i), '/hold'), h2.data(odd(i), 'call'))
    if ((await client.head(odd(i)))?.type !== h2.HEADERS) return t.fail(`call ${i} got no answer`)
    client.frames.length = 0
    await client.write(h2.reset(odd(i)))
  }
  t.true(await client.ping())
  t.is(await scene.released(t), 1000)
  t.false(client.isCut)
})

test.serial('5000 small DATA frames to who pulls them', async (t) => {
  const listener = await open(t)
  const client = await FrameClient.connect(portOf(listener))
  t.teardown(() => client.close())
  await client.write(h2.post(1, '/small'))
  const request = must(await must(await must(await listener.nextConnection()).nextStream()).nextRequest())
  let read = 0
  const pulled = (async () => {
    for await (const chunk of must(request.body)) read += chunk.length
  })()
  // Each wave has been pulled before the next begins.
  for (let sent = 500; sent <= 5000; sent += 500) {
    await client.flood(500, () => h2.data(1, 'x'))
    await soon(() => read === sent || client.isCut, `byte ${sent}`)
  }
  await client.write(h2.data(1, '', true))
  await pulled
  t.is(read, 5000)
  await request.stream.send(request.key, {})
  t.is(h2.statusOf(must(await client.head(1))), 200)
  t.true(await client.ping())
})

test.serial('a slow puller gets all of a large upload, and its client is not cut', async (t) => {
  const listener = await open(t)
  const client = await FrameClient.connect(portOf(listener))
  t.teardown(() => client.close())
  await client.write(h2.post(1, '/slow'))
  const request = must(await must(await must(await listener.nextConnection()).nextStream()).nextRequest())
  const body = must(request.body)
  const total = 2 << 20
  const piece = Buffer.alloc(1024, 's')
  let allowed = 65_536
  let sent = 0
  let heard = 0
  let read = 0
  while (read < total) {
    // All that the window lets out is written, and has come, before one more chunk is pulled.
    for (; sent + piece.length <= Math.min(allowed, total); sent += piece.length) void client.write(h2.data(1, piece))
    t.true(await client.ping())
    read += must(await body.nextChunk()).length
    await client.ping()
    for (; heard < client.frames.length; heard++) {
      const { type, stream, payload } = client.frames[heard]!
      if (type === h2.WINDOW_UPDATE && stream === 1) allowed += payload.readUInt32BE(0)
    }
  }
  t.is(read, total)
  await client.write(h2.data(1, '', true))
  t.is(await body.nextChunk(), null)
  await request.stream.send(request.key, {})
  t.is(h2.statusOf(must(await client.head(1))), 200)
})

test.serial('1000 answered requests, each with an empty last DATA frame', async (t) => {
  const scene = await Scene.start(t)
  const client = await FrameClient.connect(scene.port)
  t.teardown(() => client.close())
  for (let i = 0; i < 1000; i++) {
    await client.write(h2.post(odd(i), '/'), h2.data(odd(i), 'x'), h2.data(odd(i), '', true))
    if ((await client.end(odd(i)))?.type !== h2.DATA) return t.fail(`request ${i} got no answer`)
    client.frames.length = 0
  }
  t.true(await client.ping())
})
