// Requests drawn at random, each of which must get one answer, and it is its own: for 73.exactly-once.spec.ts and scripts/exactly-once.ts.
//
// What becomes of a request is drawn before it is sent (`Plan`): how its body is framed and cut, how it is answered, and whether one of
// the sides abandons it. Client and server are one process, so each looks up what the other was to send, and compares every byte.
import { once } from 'node:events'
import http2 from 'node:http2'
import { setImmediate, setTimeout } from 'node:timers/promises'
import { listen, PullError } from '../index.js'
import type { Connection, IncomingRequest, Listener, ListenerStats, Stream } from '../index.js'
import { RawClient } from './_raw.js'
import { must, portOf, seeded, soon } from './_server.js'
import { pause, pieces, splittingProxy } from './_splitting-proxy.js'

export interface Run {
  protocol: 'h1' | 'h2'
  /** Through a proxy that splits and delays every write. */
  proxied: boolean
  seed: number
  connections: number
  /** h2: streams in flight on each connection. */
  streams?: number
  ioThreads?: number
  /** How many requests there are at most. */
  requests: number
  /** performance.now() after which no more are begun. */
  until?: number
}

export interface Report {
  requests: number
  /** Whole answers, each with its own bytes, to requests that nobody was to abandon. */
  answered: number
  /** Abandoned on purpose, by either side. */
  abandoned: number
  /** What was not as it should be; at most a hundred of them. */
  wrong: string[]
  /** What the loops of the server pulled, and what became of it: answers that were sent, and that were not. */
  pulled: number
  sent: number
  failed: number
  stats: ListenerStats
}

/** What is not as it should be. */
export function faults({ requests, answered, abandoned, wrong, pulled, sent, failed, stats }: Report): string[] {
  const equal = (what: string, a: number, b: number) => (a === b ? [] : [`${what}: ${a} is not ${b}`])
  return [
    ...wrong,
    ...equal('each request is answered, or abandoned on purpose', answered + abandoned, requests),
    ...equal('each that was pulled is over', sent + failed, pulled),
    ...equal('each send that resolved was counted', stats.responsesSent, sent),
    ...equal('each that did not was counted, and those that nobody pulled', stats.responsesFailed, failed + stats.requestsTotal - pulled),
    ...equal('nothing is in flight', stats.requestsInFlight, 0),
  ]
}

type BodyKind = 'none' | 'sized' | 'chunked' | 'trailers'
type AnswerKind = 'string' | 'bytes' | 'iterable' | 'writer' | 'trailers' | 'unawaited'

interface Plan {
  number: number
  body: BodyKind
  bodyBytes: number
  answer: AnswerKind
  answerBytes: number
  /** The client leaves it half said, or half heard; the server resets it. */
  abandon: 'half-said' | 'half-heard' | 'reset' | null
  /** Times that it came up at the server. */
  seen: number
  /** Whether its answer has been sent, once that is known. */
  outcome: Promise<'sent' | 'failed'>
  settle(outcome: 'sent' | 'failed'): void
}

const BODIES: BodyKind[] = ['none', 'none', 'none', 'sized', 'sized', 'chunked', 'trailers']
const ANSWERS: AnswerKind[] = ['string', 'string', 'string', 'bytes', 'iterable', 'writer', 'trailers', 'unawaited']

/** Mostly a few bytes, now and then more than fits in a buffer or a window. */
function size(random: () => number): number {
  const draw = random()
  if (draw < 0.05) return 0
  if (draw < 0.9) return Math.floor(random() * 400)
  return Math.floor(random() * (draw < 0.995 ? 20_000 : 200_000))
}

function draw(number: number, random: () => number): Plan {
  const pick = <T>(from: T[]): T => from[Math.floor(random() * from.length)]!
  const body = pick(BODIES)
  const plan = {
    number,
    body,
    bodyBytes: body === 'none' ? 0 : size(random),
    answer: pick(ANSWERS),
    answerBytes: size(random),
    abandon: random() < 0.98 ? null : pick(['half-said', 'half-heard', 'reset'] as const),
    seen: 0,
  }
  let settle!: Plan['settle']
  const outcome = new Promise<'sent' | 'failed'>((resolve) => (settle = resolve))
  return { ...plan, outcome, settle }
}

/** Bytes that belong to one request alone, in one direction. */
function bytesOf(number: number, direction: 'up' | 'down', length: number): Buffer {
  return Buffer.alloc(length, `${direction} ${number};`)
}

export async function exactlyOnce(run: Run): Promise<Report> {
  const listener = await listen({ port: 0, ioThreads: run.ioThreads ?? 1 })
  const random = seeded(run.seed)
  const state = new State(run, random)
  const served = serve(listener, state)
  const proxy = run.proxied ? await splittingProxy(portOf(listener), seeded(run.seed + 1)) : null
  const port = proxy?.port ?? portOf(listener)
  const client = run.protocol === 'h1' ? h1Connection : h2Connection
  await Promise.all(Array.from({ length: run.connections }, () => client(port, state)))
  proxy?.close()
  await soon(() => listener.stats().connectionsOpen === 0, 'the end of all connections')
  const stats = listener.stats()
  await listener.close()
  await served
  const { requests, answered, abandoned, wrong, pulled, sent, failed } = state
  return { requests, answered, abandoned, wrong, pulled, sent, failed, stats }
}

class State {
  /** Requests that are not over on both sides. */
  readonly plans = new Map<number, Plan>()
  readonly wrong: string[] = []
  requests = 0
  answered = 0
  abandoned = 0
  pulled = 0
  sent = 0
  failed = 0

  constructor(
    readonly run: Run,
    readonly random: () => number,
  ) {}

  /** The next request; null when there is none. */
  next(): Plan | null {
    if (this.requests >= this.run.requests || performance.now() > (this.run.until ?? Infinity)) return null
    const plan = draw(this.requests++, this.random)
    this.plans.set(plan.number, plan)
    return plan
  }

  complain(plan: Plan, what: string): void {
    const { number, body, bodyBytes, answer, answerBytes, abandon, seen } = plan
    if (this.wrong.length < 100) this.wrong.push(`${what}: ${JSON.stringify({ number, body, bodyBytes, answer, answerBytes, abandon, seen })}`)
  }

  /** The client has the whole of an answer. */
  async check(plan: Plan, status: number, token: string | undefined, body: Buffer, trailer: string | undefined): Promise<void> {
    if (status !== 200 || token !== `${plan.number}`) this.complain(plan, `the answer ${status} of ${token}`)
    if (!body.equals(bytesOf(plan.number, 'down', plan.answerBytes))) this.complain(plan, `an answer of ${body.length} other bytes, ${body.subarray(0, 40)}`)
    if (plan.answer === 'trailers' && trailer !== `${plan.number}`) this.complain(plan, `the trailer ${trailer}`)
    if ((await plan.outcome) !== 'sent') this.complain(plan, 'an answer that was not sent')
    if (plan.seen !== 1) this.complain(plan, 'a request that came up more or less than once')
    this.answered++
    this.plans.delete(plan.number)
  }

  /** A request was abandoned, as it was to be. It may have come up or not: `plans` keeps it. */
  async leave(plan: Plan): Promise<void> {
    this.abandoned++
    await setImmediate()
    if (plan.seen > 1) this.complain(plan, 'a request that came up more than once')
  }
}

// ------------------------------------------------------------------------------------------------- server

function serve(listener: Listener, state: State): Promise<void> {
  const onStream = async (stream: Stream) => {
    for await (const request of stream) await respond(request, state)
  }
  const onConnection = async (connection: Connection) => {
    for await (const stream of connection) void onStream(stream)
  }
  return (async () => {
    for await (const connection of listener) void onConnection(connection).catch(unlessPeer)
  })()
}

function unlessPeer(error: unknown): void {
  if (!(error instanceof PullError) || (error.side === 'local' && error.code !== 'ERR_CLOSED')) throw error
}

async function respond(request: IncomingRequest, state: State): Promise<void> {
  const plan = must(state.plans.get(Number(request.path.slice(1))))
  plan.seen++
  state.pulled++
  const failed = (error: unknown) => {
    state.failed++
    plan.settle('failed')
    unlessPeer(error)
  }
  const sent = () => {
    state.sent++
    plan.settle('sent')
  }
  try {
    if (state.random() < 0.3) await pause(state.random)
    await receive(request, plan, state)
  } catch (error) {
    // A peer that has gone in the middle of a body may still be there to read: it is for this side to end it.
    request.stream.reset()
    return failed(error)
  }
  if (plan.abandon === 'reset') request.stream.reset()
  const settled = answer(request, plan, state.random).then(sent, failed)
  if (plan.answer !== 'unawaited') await settled
}

/** Compares the request with its plan. */
async function receive(request: IncomingRequest, plan: Plan, state: State): Promise<void> {
  const wrong = (what: string) => state.complain(plan, what)
  if (request.headers.get('x-token') !== `${plan.number}`) wrong('a request with the head of another')
  if (plan.body === 'none') return request.body === null ? undefined : wrong('a body that was not sent')
  const body = request.body
  if (body === null) return plan.bodyBytes > 0 || plan.body === 'trailers' ? wrong('no body') : undefined
  const bytes = await body.bytes()
  // node:http2 puts an END_STREAM before the RST_STREAM with which it cancels: what it has said by then is a whole body.
  const whole = plan.abandon === 'half-said' && state.run.protocol === 'h2' ? bytes.length : plan.bodyBytes
  if (!bytesOf(plan.number, 'up', whole).equals(bytes)) wrong('a request with the body of another')
  const trailer = (await body.trailers)?.get('x-check') ?? null
  if (trailer !== (plan.body === 'trailers' ? `${plan.number}` : null)) wrong(`the request trailer ${trailer}`)
}

async function answer({ key, stream }: IncomingRequest, plan: Plan, random: () => number): Promise<unknown> {
  const headers: Record<string, string> = { 'x-token': `${plan.number}` }
  const body = bytesOf(plan.number, 'down', plan.answerBytes)
  switch (plan.answer) {
    case 'string':
    case 'unawaited':
      return stream.send(key, { headers, body: body.toString() })
    case 'bytes':
      return stream.send(key, { headers, body })
    case 'iterable':
      return stream.send(key, { headers, body: pieces(body, random) })
    case 'trailers':
      return stream.send(key, { headers, body: pieces(body, random), trailers: { 'x-check': `${plan.number}` } })
    case 'writer': {
      const writer = stream.start(key, { headers })
      for (const piece of pieces(body, random)) {
        await writer.write(piece)
        if (random() < 0.3) await pause(random)
      }
      return writer.finish()
    }
  }
}

// ------------------------------------------------------------------------------------------------- clients

/** HTTP/1.1 by hand: pipelined by one to six, cut anywhere. */
async function h1Connection(port: number, state: State): Promise<void> {
  for (let plan = state.next(); plan !== null; ) {
    const client = await RawClient.connect(port)
    plan = await h1Requests(client, plan, state)
    client.close()
  }
}

/** Requests on one connection, until one is abandoned: the next that is to be asked. */
async function h1Requests(client: RawClient, first: Plan, state: State): Promise<Plan | null> {
  const { random } = state
  for (let plan: Plan | null = first; plan !== null; plan = state.next()) {
    const batch = [plan]
    for (let more = Math.floor(random() * 6); more > 0 && batch.at(-1)!.abandon === null; more--) {
      const next = state.next()
      if (next !== null) batch.push(next)
    }
    const last = batch.at(-1)!
    const bytes = batch.map(h1Request)
    if (last.abandon === 'half-said') bytes.push(...[bytes.pop()!].map((all) => all.subarray(0, Math.floor(random() * all.length))))
    const written = h1Write(client, Buffer.concat(bytes), random)
    for (const asked of batch) {
      if (asked.abandon !== null) continue
      const { status, get, body, trailers } = await client.response()
      await state.check(asked, status, get('x-token'), body, trailers[0]?.[1])
    }
    await written
    if (last.abandon === null) continue
    if (last.abandon === 'reset') await client.ended
    else if (last.abandon === 'half-heard') await Promise.race([client.until('\r\n').catch(() => {}), setTimeout(random() * 5)])
    if (random() < 0.5) client.reset()
    else client.close()
    await state.leave(last)
    return state.next()
  }
  return null
}

function h1Request({ number, body, bodyBytes }: Plan): Buffer {
  const head = `${body === 'none' ? 'GET' : 'POST'} /${number} HTTP/1.1\r\nhost: a\r\nte: trailers\r\nx-token: ${number}\r\n`
  const bytes = bytesOf(number, 'up', bodyBytes)
  if (body === 'none') return Buffer.from(`${head}\r\n`)
  if (body === 'sized') return Buffer.concat([Buffer.from(`${head}content-length: ${bodyBytes}\r\n\r\n`), bytes])
  const chunks = pieces(bytes, seeded(number)).flatMap((piece) => [Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from('\r\n')])
  const trailer = body === 'trailers' ? `x-check: ${number}\r\n` : ''
  return Buffer.concat([Buffer.from(`${head}transfer-encoding: chunked\r\n\r\n`), ...chunks, Buffer.from(`0\r\n${trailer}\r\n`)])
}

/** Writes in fragments. The server may have gone by then. */
async function h1Write(client: RawClient, bytes: Buffer, random: () => number): Promise<void> {
  try {
    for (const piece of pieces(bytes, random)) {
      await client.write(piece)
      if (random() < 0.3) await pause(random)
    }
  } catch {
    // Whoever reads the answers is told.
  }
}

/** node:http2, its streams interleaved. */
async function h2Connection(port: number, state: State): Promise<void> {
  const session = http2.connect(`http://127.0.0.1:${port}`, { maxSessionMemory: 1000 })
  session.on('error', () => {}) // the streams tell it
  const worker = async () => {
    for (let plan = state.next(); plan !== null; plan = state.next()) await h2Request(session, plan, state)
  }
  await Promise.all(Array.from({ length: state.run.streams ?? 16 }, worker))
  session.close()
  await once(session, 'close')
}

async function h2Request(session: http2.ClientHttp2Session, plan: Plan, state: State): Promise<void> {
  const { random } = state
  const { number, body, bodyBytes, abandon } = plan
  const length = body === 'sized' ? { 'content-length': bodyBytes } : {}
  const head = { ':method': body === 'none' ? 'GET' : 'POST', ':path': `/${number}`, te: 'trailers', 'x-token': `${number}`, ...length }
  const stream = session.request(head, { endStream: body === 'none', waitForTrailers: body === 'trailers' })
  stream.on('error', () => {}) // 'close' comes too
  const closed = once(stream, 'close').catch(() => {})
  let reply: http2.IncomingHttpHeaders | null = null
  let trailer: string | undefined
  let ended = false
  const chunks: Buffer[] = []
  stream.on('response', (fields) => (reply = fields))
  stream.on('trailers', (fields) => (trailer = fields['x-check'] as string))
  stream.on('wantTrailers', () => stream.sendTrailers({ 'x-check': `${number}` }))
  stream.on('data', (chunk: Buffer) => chunks.push(chunk))
  stream.on('end', () => (ended = true))

  const parts = body === 'none' ? [] : pieces(bytesOf(number, 'up', bodyBytes), random)
  if (abandon === 'half-said') parts.splice(Math.floor(random() * parts.length))
  for (const part of parts) {
    stream.write(part)
    if (random() < 0.3) await pause(random)
  }
  if (abandon === 'half-said') stream.close(http2.constants.NGHTTP2_CANCEL)
  else stream.end()
  if (abandon === 'half-heard') {
    await Promise.race([closed, setTimeout(random() * 5)])
    stream.close(http2.constants.NGHTTP2_CANCEL)
  }
  await closed
  if (abandon !== null) return state.leave(plan)
  if (reply === null || !ended || stream.rstCode !== 0) return state.complain(plan, `no whole answer, the code is ${stream.rstCode}`)
  await state.check(plan, Number(reply[':status']), reply['x-token'] as string, Buffer.concat(chunks), trailer)
}
