// What is measured: one entry per row of work, in the order in which it runs.
import type { Task } from './peers.ts'
import type { Traffic } from './load/traffic.ts'

export interface Scenario {
  readonly name: string
  readonly title: string
  /**
   * closed: each connection asks again when it has its answer. paced: at a fixed rate, half of the peak of the slowest server.
   * transfer: one large body. idle: connections that wait.
   */
  readonly kind: 'closed' | 'paced' | 'transfer' | 'idle'
  /** What the servers do: a folder of servers/. */
  readonly task: Task
  readonly traffic: Traffic
  /** Part of --requests that makes up a round. Default 1. */
  readonly share?: number
  /** Count instructions also where that takes a second run under valgrind. */
  readonly counted?: boolean
  /** The server on one core and the load on another. */
  readonly pinned?: boolean
}

const h1: Traffic = { tool: 'wrk', protocol: 'h1', connections: 64 }
const h2: Traffic = { tool: 'h2load', protocol: 'h2', connections: 16, streams: 16 }

/** What a browser sends with a navigation. */
const browser = {
  'user-agent': 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0',
  accept: 'text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8',
  'accept-language': 'en-GB,en;q=0.7,de;q=0.3',
  'accept-encoding': 'gzip, deflate, br, zstd',
  referer: 'http://127.0.0.1/articles/pull-or-push?from=front-page',
  cookie: 'session=6f1d0c9e2b7a4c55a0d3e8f4b1c2d3e4; theme=dark; consent=essential',
  'upgrade-insecure-requests': '1',
  'sec-fetch-dest': 'document',
  'sec-fetch-mode': 'navigate',
  'sec-fetch-site': 'same-origin',
  'sec-fetch-user': '?1',
  priority: 'u=0, i',
}

/** 1 KiB of JSON, as an order could look. */
const order = JSON.stringify({ id: 4711, customer: 'a1b2c3', express: true, items: Array.from({ length: 17 }, (_, at) => ({ article: `SKU-${1000 + at}`, count: at + 1, price: 19.95 })) }).padEnd(1024)

export const scenarios: readonly Scenario[] = [
  { name: 'h1', title: 'HTTP/1.1, 64 keep-alive connections', kind: 'closed', task: 'hello', traffic: h1, counted: true },
  { name: 'h1-one-core', title: 'HTTP/1.1, 64 keep-alive connections, server on one core, load on another', kind: 'closed', task: 'hello', traffic: h1, pinned: true },
  { name: 'h1-browser', title: "HTTP/1.1, 64 connections, a browser's 12 headers", kind: 'closed', task: 'hello', traffic: { ...h1, headers: browser }, counted: true },
  { name: 'h1-short', title: 'HTTP/1.1, 64 connections at a time, 10 requests on each', kind: 'closed', task: 'hello', traffic: { ...h1, tool: 'loadgen', perConnection: 10 }, share: 0.5 },
  { name: 'h1-pipelined', title: 'HTTP/1.1, 64 connections, 16 requests pipelined', kind: 'closed', task: 'hello', traffic: { ...h1, tool: 'h2load', pipeline: 16 }, share: 2 },
  { name: 'h1-json', title: 'HTTP/1.1, 64 connections, 1 KiB of JSON posted, read and echoed', kind: 'closed', task: 'json', traffic: { ...h1, body: order, headers: { 'content-type': 'application/json' } }, counted: true },
  { name: 'h2-1x100', title: 'HTTP/2, 1 connection, 100 streams', kind: 'closed', task: 'hello', traffic: { ...h2, connections: 1, streams: 100 } },
  { name: 'h2-16x16', title: 'HTTP/2, 16 connections, 16 streams each', kind: 'closed', task: 'hello', traffic: h2, counted: true },
  { name: 'h2-64x1', title: 'HTTP/2, 64 connections, 1 stream each', kind: 'closed', task: 'hello', traffic: { ...h2, connections: 64, streams: 1 } },
  { name: 'mebibyte', title: 'HTTP/1.1, 64 connections, answers of 1 MiB', kind: 'closed', task: 'mebibyte', traffic: h1, share: 0.04 },
  { name: 'upload', title: 'HTTP/1.1, 1 GiB uploaded', kind: 'transfer', task: 'upload', traffic: h1 },
  { name: 'download', title: 'HTTP/1.1, 1 GiB downloaded', kind: 'transfer', task: 'download', traffic: h1 },
  ...[16, 256, 4096].map((connections): Scenario => {
    const title = `HTTP/1.1, ${connections} connections that are open already`
    return { name: `connections-${connections}`, title, kind: 'closed', task: 'hello', traffic: { ...h1, tool: 'loadgen', connections }, counted: connections !== 256 }
  }),
  { name: 'paced', title: 'HTTP/1.1, 64 connections, a fixed rate: half of the peak of the slowest server', kind: 'paced', task: 'hello', traffic: { ...h1, tool: 'loadgen' } },
  { name: 'idle', title: 'HTTP/1.1, 8000 keep-alive connections that wait', kind: 'idle', task: 'hello', traffic: { ...h1, tool: 'loadgen', connections: 8000 } },
  { name: 'websocket', title: 'WebSocket, 64 connections, messages of 64 bytes echoed by ws', kind: 'closed', task: 'websocket', traffic: { ...h1, tool: 'loadgen', websocket: 64 }, counted: true },
]
