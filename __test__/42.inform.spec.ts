// inform: 1xx responses by hand.
import { once } from 'node:events'
import http from 'node:http'
import test from 'ava'
import { h2Client } from './_client.js'
import { RawClient } from './_raw.js'
import { asked, must, open, portOf, pull, rejected } from './_server.js'

const get = 'GET / HTTP/1.1\r\nhost: a\r\n\r\n'

test('103 is on the wire before the answer exists', async (t) => {
  const { client, request } = await asked(t, get)
  await request.stream.inform(request.key, 103, { link: '</a.css>; rel=preload; as=style' })
  const hints = await client.response()
  t.is(hints.status, 103)
  t.is(hints.get('link'), '</a.css>; rel=preload; as=style')
  t.is(hints.get('content-length'), undefined)
  await request.stream.inform(request.key, 102)
  t.is((await client.response()).status, 102)
  await request.stream.send(request.key, { body: 'x' })
  const answer = await client.response()
  t.is(answer.status, 200)
  t.is(answer.get('link'), undefined)
})

test('an inform that is not awaited comes before the answer of the same turn', async (t) => {
  const listener = await open(t)
  const client = await RawClient.connect(portOf(listener))
  for (let i = 0; i < 20; i++) await client.write(get)
  let request = await pull(listener)
  for (let i = 0; i < 20; i++) {
    const informed = request.stream.inform(request.key, 103, { 'x-i': i })
    const sent = request.stream.send(request.key, { body: `${i}` })
    await Promise.all([informed, sent])
    const hints = await client.response()
    t.is(hints.status, 103)
    t.is(hints.get('x-i'), `${i}`)
    t.is((await client.response()).body.toString(), `${i}`)
    if (i < 19) request = must(await request.stream.nextRequest())
  }
})

test('node:http sees it as information', async (t) => {
  const listener = await open(t)
  const request = http.get({ port: portOf(listener), host: '127.0.0.1' })
  const information = once(request, 'information')
  const responded = once(request, 'response')
  const pulled = await pull(listener)
  await pulled.stream.inform(pulled.key, 103, { link: ['<a>', '<b>'] })
  const [info] = (await information) as [http.InformationEvent]
  t.is(info.statusCode, 103)
  t.is(info.headers.link, '<a>, <b>')
  await pulled.stream.send(pulled.key, {})
  const [response] = (await responded) as [http.IncomingMessage]
  response.resume()
})

test('h2: an inform is a HEADERS frame of its own', async (t) => {
  const listener = await open(t)
  const client = h2Client(portOf(listener))
  t.teardown(() => client.close())
  const stream = client.session.request({})
  const headers = once(stream, 'headers')
  const responded = once(stream, 'response')
  const request = await pull(listener)
  await request.stream.inform(request.key, 103, { link: '<a>' })
  const [fields] = await headers
  t.is(fields[':status'], 103)
  t.is(fields.link, '<a>')
  await request.stream.send(request.key, {})
  const [head] = await responded
  t.is(head[':status'], 200)
  stream.resume()
})

test('100 by hand asks for the body', async (t) => {
  const { client, request } = await asked(t, 'POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n')
  await request.stream.inform(request.key, 100)
  t.is((await client.response()).status, 100)
  await client.write('body')
  t.is(await must(request.body).text(), 'body')
  await request.stream.send(request.key, { body: 'x' })
  t.is((await client.response()).status, 200, 'and not a second 100')
})

for (const status of [99, 101, 199.5, 200, 404, Number.NaN]) {
  test(`inform(${status}) is ERR_INVALID_STATUS and changes nothing`, async (t) => {
    const { client, request } = await asked(t, get)
    await rejected(t, request.stream.inform(request.key, status), 'ERR_INVALID_STATUS')
    await request.stream.send(request.key, { body: 'x' })
    t.is((await client.response()).status, 200)
  })
}

test('a client of HTTP/1.0 gets no 1xx (RFC 9110 section 15.2), and the caller is told', async (t) => {
  const { client, request } = await asked(t, 'GET / HTTP/1.0\r\n\r\n')
  await rejected(t, request.stream.inform(request.key, 103), 'ERR_INVALID_STATUS')
  await request.stream.send(request.key, { body: 'x' })
  t.is((await client.response()).status, 200)
})

test('inform after the answer is ERR_KEY_USED', async (t) => {
  const { request } = await asked(t, get)
  const sent = request.stream.send(request.key, {})
  await rejected(t, request.stream.inform(request.key, 103), 'ERR_KEY_USED')
  await sent
  await rejected(t, request.stream.inform(request.key, 103), 'ERR_KEY_USED')
})
