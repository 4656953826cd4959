// One protocol configuration of the contract: its listener, its client, and exchanges between them.
import type { ExecutionContext } from 'ava'
import type { IncomingRequest, Listener, ListenOptions, OutgoingResponse, Stream } from '../index.js'
import type { TestClient } from './_client.js'
import { answer, open, pull } from './_server.js'

export interface Setup {
  /** Stands in front of each title. */
  name: string
  protocol: 'http/1.1' | 'h2'
  scheme: 'http' | 'https'
  httpVersion: '1.1' | '2.0'
  listen: ListenOptions
  client(listener: Listener): TestClient
}

type Handler = (request: IncomingRequest, stream: Stream) => unknown

export function scenes(setup: Setup) {
  /** A listener, a client of it, and the loops when there is a handler. */
  const scene = async (t: ExecutionContext, handler?: Handler) => {
    t.timeout(60_000)
    const listener = await open(t, setup.listen)
    const client = setup.client(listener)
    t.teardown(() => client.close())
    if (handler) void answer(listener, handler)
    return { listener, client }
  }
  /** One exchange, answered with `response`. */
  const one = async (t: ExecutionContext, response: OutgoingResponse | Response) => {
    const { client, listener } = await scene(t)
    const reply = client.fetch()
    const request = await pull(listener)
    const sent = await request.stream.send(request.key, response)
    return [sent, await reply] as const
  }
  return { scene, one }
}
