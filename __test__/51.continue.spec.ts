// 100-continue: a request body is asked for when it is first pulled (RFC 9110 section 10.1.1).
import test from 'ava'
import type { OutgoingResponse, RequestBody } from '../index.js'
import { RawClient } from './_raw.js'
import { answer, asked, barrier, must, open, portOf, pull } from './_server.js'

const post = (headers: string) => `POST / HTTP/1.1\r\nhost: a\r\n${headers}\r\n`

test('100-continue is sent when the body is first pulled, not before', async (t) => {
  const { listener, client, request } = await asked(t, post('expect: 100-continue\r\ncontent-length: 8\r\n'))
  await barrier(listener)
  t.is(client.pending, '', 'nobody has asked for the body')
  const text = must(request.body).text()
  t.is((await client.response()).status, 100)
  await client.write('the body')
  t.is(await text, 'the body')
  await request.stream.send(request.key, { body: 'thanks' })
  t.is((await client.response()).status, 200)
})

test('100-continue goes before the head of an answer that begins at once after the first pull', async (t) => {
  const listener = await open(t)
  const client = await RawClient.connect(portOf(listener))
  await client.write(post('expect: x, 100-Continue\r\ncontent-length: 8\r\n'))
  const { body, key, stream } = await pull(listener)
  const chunk = must(body).nextChunk()
  const writer = stream.start(key, {})
  t.is((await client.response()).status, 100)
  await client.write('the body')
  await writer.write(must(await chunk))
  await writer.finish()
  t.is((await client.response()).body.toString(), 'the body')
})

test('an answer without a pull sends no 100-continue', async (t) => {
  const { client, request } = await asked(t, post('expect: 100-continue\r\ncontent-length: 8\r\n'))
  await request.stream.send(request.key, { status: 417, body: 'no' })
  t.is((await client.response()).status, 417)
  t.is(await client.ended, 'end', 'whether the body comes is not known: the connection cannot be kept')
})

test('an echo through a stream of the body asks for it before its head is out', async (t) => {
  const echoes: ((body: RequestBody) => OutgoingResponse | Response)[] = [
    (body) => ({ body: body.toWeb() }),
    (body) => ({ body: body.toNode() }),
    (body) => new Response(body.toWeb()),
  ]
  for (const echo of echoes) {
    const { client, request } = await asked(t, 'POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n')
    const sent = request.stream.send(request.key, echo(must(request.body)))
    t.is((await client.response()).status, 100)
    await client.write('hello')
    t.is((await client.response()).body.toString(), 'hello')
    await sent
  }
})

test('an echo asks for the body before its head is out, and the connection is kept', async (t) => {
  const listener = await open(t)
  void answer(listener, (request, stream) => stream.send(request.key, { body: request.body }))
  const client = await RawClient.connect(portOf(listener))
  for (let i = 0; i < 2; i++) {
    await client.write(post('expect: 100-continue\r\ncontent-length: 8\r\n'))
    t.is((await client.response()).status, 100)
    await client.write('the body')
    const response = await client.response()
    t.is(response.get('connection'), undefined)
    t.is(response.body.toString(), 'the body')
  }
})
