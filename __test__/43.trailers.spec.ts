// Trailers both ways.
import test from 'ava'
import { h1Client, h2Client } from './_client.js'
import { RawClient } from './_raw.js'
import { asked, must, open, portOf, pull, rejected } from './_server.js'

const get = 'GET / HTTP/1.1\r\nhost: a\r\nte: trailers\r\n\r\n'

test('h1: request trailers', async (t) => {
  const listener = await open(t)
  const client = await RawClient.connect(portOf(listener))
  await client.write('POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n4\r\nbody\r\n0\r\nX-Sum: 1\r\nx-list: a\r\nx-list: b\r\n\r\n')
  const request = await pull(listener)
  const body = must(request.body)
  t.is(body.length, null)
  t.is(await body.text(), 'body')
  const trailers = must(await body.trailers)
  t.is(trailers.get('x-sum'), '1')
  t.deepEqual(trailers.getAll('x-list'), ['a', 'b'])
  t.is(trailers.size, 3)
  await request.stream.send(request.key, {})
})

test('h1: response trailers as an object, a function, a function that waits, announced or not', async (t) => {
  for (const trailers of [{ 'x-end': 'yes' }, () => ({ 'x-end': 'yes' }), async () => ({ 'x-end': 'yes' })]) {
    const { client, request } = await asked(t, get)
    await request.stream.send(request.key, { body: ['some'].values(), trailers })
    const answer = await client.response()
    t.is(answer.body.toString(), 'some')
    t.deepEqual(answer.trailers, [['x-end', 'yes']])
  }
})

test('h1: trailers given as an object are announced by send', async (t) => {
  for (const headers of [undefined, { 'x-a': ['1', '2'], 'x-n': 3 }, new Map([['x-a', '1']])]) {
    const { client, request } = await asked(t, get)
    await request.stream.send(request.key, { headers, body: 'some', trailers: { 'x-end': 'yes', 'x-sum': ['1', '2'] } })
    const answer = await client.response()
    t.is(answer.get('trailer'), 'x-end, x-sum')
    t.is(answer.body.toString(), 'some')
    t.deepEqual(answer.trailers, [
      ['x-end', 'yes'],
      ['x-sum', '1'],
      ['x-sum', '2'],
    ])
  }
})

for (const [protocol, connect] of Object.entries({ h1: h1Client, h2: h2Client })) {
  test(`${protocol}: a complete body of another length than is declared, or on a 204, leaves the key good with trailers too`, async (t) => {
    const listener = await open(t)
    const client = connect(portOf(listener))
    const answered = client.fetch({ headers: { te: 'trailers' } })
    const request = await pull(listener)
    for (const wrong of [{ headers: { 'content-length': '3' } }, { status: 204 }]) {
      const sent = request.stream.send(request.key, { ...wrong, body: 'four', trailers: { 'x-end': 'yes' } })
      await rejected(t, sent, 'ERR_BODY_LENGTH_MISMATCH')
    }
    await request.stream.send(request.key, { status: 500 })
    t.is((await answered).status, 500)
    client.close()
  })
}

test('the trailers function runs after the last byte of the body was taken', async (t) => {
  const { request } = await asked(t, get)
  const log: string[] = []
  const body = (async function* () {
    yield 'a'
    log.push('body')
  })()
  const trailers = () => {
    log.push('trailers')
    return { 'x-end': 'yes' }
  }
  await request.stream.send(request.key, { headers: { trailer: 'x-end' }, body, trailers })
  t.deepEqual(log, ['body', 'trailers'])
})

test('h1: a body of known length with trailers is chunked', async (t) => {
  const { client, request } = await asked(t, get)
  const sent = await request.stream.send(request.key, { headers: { trailer: 'x-end' }, body: 'known', trailers: { 'x-end': 'yes' } })
  const answer = await client.response()
  t.is(answer.get('transfer-encoding'), 'chunked')
  t.is(answer.get('content-length'), undefined)
  t.is(answer.body.toString(), 'known')
  t.deepEqual(answer.trailers, [['x-end', 'yes']])
  t.is(sent.bytes, 5)
})

test('h1: a client that does not take trailers gets none, and the answer is whole', async (t) => {
  const { client, request } = await asked(t, 'GET / HTTP/1.1\r\nhost: a\r\n\r\n')
  await request.stream.send(request.key, { headers: { trailer: 'x-end' }, body: ['some'].values(), trailers: { 'x-end': 'yes' } })
  const answer = await client.response()
  t.is(answer.body.toString(), 'some')
  t.deepEqual(answer.trailers, [])
})

test('h2: trailers without a body, and after one', async (t) => {
  for (const body of [null, 'some']) {
    const listener = await open(t)
    const client = h2Client(portOf(listener))
    t.teardown(() => client.close())
    const reply = client.fetch({ headers: { te: 'trailers' } })
    const request = await pull(listener)
    await request.stream.send(request.key, { body, trailers: { 'grpc-status': '0' } })
    const { text, trailers } = await reply
    t.is(text, body ?? '')
    t.is(trailers['grpc-status'], '0')
  }
})

test('a trailer that may not be sent is refused', async (t) => {
  const listener = await open(t)
  const client = h2Client(portOf(listener))
  t.teardown(() => client.close())
  const reply = client.fetch()
  reply.catch(() => {})
  const request = await pull(listener)
  await rejected(t, request.stream.send(request.key, { body: 'x', trailers: { 'x-bad': 'a\r\nb: c' } }), 'ERR_INVALID_HEADER')
})
