// What hyperpull is to reach, beside what was measured: ratios of one run, and budgets.
import type { Metric } from '../metrics.ts'
import type { Results } from '../results.ts'
import { grid } from './table.ts'
import type { Format } from './table.ts'

interface Goal {
  readonly what: string
  readonly must: number
  readonly hope?: number
  /** '<=' unless more is better. */
  readonly least?: boolean
  /** Of one of the two ways to run hyperpull. Null: not measured. */
  measured(results: Results, hyperpull: string): number | null
}

/** With an I/O thread, the default, and without. */
const ways = { hyperpull: 'measured', 'hyperpull-0': 'ioThreads: 0' }

const one = (results: Results, scenario: string, server: string, metric: Metric): number | null => results[scenario]?.servers[server]?.median[metric] ?? null
const divided = (a: number | null, b: number | null): number | null => (a === null || b === null || b === 0 ? null : a / b)

/** hyperpull's metric through another server's. */
const against = (peer: string, scenario: string, metric: Metric) => {
  return (results: Results, hyperpull: string) => divided(one(results, scenario, hyperpull, metric), one(results, scenario, peer, metric))
}

/** User and kernel together; null if the kernel could not be counted. */
const both = (results: Results, scenario: string, server: string): number | null => {
  const [user, kernel] = [one(results, scenario, server, 'mainUser'), one(results, scenario, server, 'mainKernel')]
  return user === null || kernel === null ? null : user + kernel
}

/** The best of the others in JavaScript. */
const againstBest = (scenario: string, metric: Metric) => (results: Results, hyperpull: string) => {
  const others = ['node-http', 'fastify', 'uws', 'deno', 'bun'].map((peer) => one(results, scenario, peer, metric)).filter((value) => value !== null)
  return others.length === 0 ? null : divided(one(results, scenario, hyperpull, metric), Math.min(...others))
}

const goalList: readonly Goal[] = [
  { what: 'h1, user instructions, against uWebSockets.js', must: 1.2, hope: 1.0, measured: against('uws', 'h1', 'user') },
  { what: 'h1, user instructions, against Deno.serve', must: 0.97, hope: 0.8, measured: against('deno', 'h1', 'user') },
  { what: 'h1, user instructions, against Bun.serve', must: 0.85, hope: 0.7, measured: against('bun', 'h1', 'user') },
  { what: 'h1, user instructions, against node:http', must: 0.21, hope: 0.16, measured: against('node-http', 'h1', 'user') },
  { what: 'h1, JS thread, user + kernel instructions, against uWebSockets.js', must: 0.2, hope: 0.14, measured: (results, hyperpull) => divided(both(results, 'h1', hyperpull), both(results, 'h1', 'uws')) },
  { what: 'h1, JS thread, CPU time (user + kernel), against uWebSockets.js', must: 0.2, hope: 0.14, measured: against('uws', 'h1', 'mainCpu') },
  { what: 'h2 16 x 16, user instructions, against node:http2 streams', must: 0.26, hope: 0.22, measured: against('node-http2', 'h2-16x16', 'user') },
  { what: 'h2 16 x 16, user instructions, against Deno.serve', must: 0.115, hope: 0.095, measured: against('deno', 'h2-16x16', 'user') },
  { what: 'h1, user instructions, against hyper alone', must: 1.5, hope: 1.25, measured: against('hyper', 'h1', 'user') },
  { what: 'h2 16 x 16, user instructions, against hyper alone', must: 1.2, hope: 1.03, measured: against('hyper', 'h2-16x16', 'user') },
  { what: 'the crate alone: h1, user instructions, against hyper alone', must: 1.1, measured: (results) => against('hyper', 'h1', 'user')(results, 'hyperpull-core') },
  { what: 'the crate alone: h2 16 x 16, user instructions, against hyper alone', must: 0.95, measured: (results) => against('hyper', 'h2-16x16', 'user')(results, 'hyperpull-core') },
  { what: 'all cores, h1 requests/s, against uWebSockets.js', must: 0.9, hope: 1.2, least: true, measured: against('uws', 'h1', 'rate') },
  { what: 'all cores, h1 requests/s, against node:http', must: 2.5, hope: 4, least: true, measured: against('node-http', 'h1', 'rate') },
  { what: 'one core, h1 requests/s, against uWebSockets.js', must: 0.8, hope: 1.0, least: true, measured: against('uws', 'h1-one-core', 'rate') },
  { what: 'one core, h1 requests/s, against Deno.serve', must: 1.0, hope: 1.2, least: true, measured: against('deno', 'h1-one-core', 'rate') },
  { what: 'fixed rate, p99, against the best peer in JavaScript', must: 1.0, hope: 0.7, measured: againstBest('paced', 'p99') },
  { what: 'idle h1 connection, KiB', must: 4, hope: 1.1, measured: (results, hyperpull) => one(results, 'idle', hyperpull, 'idleKib') },
  { what: '1 GiB uploaded, CPU time, against node:http', must: 1.0, hope: 0.7, measured: against('node-http', 'upload', 'gibCpu') },
  { what: '1 GiB downloaded, CPU time, against node:http', must: 1.0, hope: 0.7, measured: against('node-http', 'download', 'gibCpu') },
  { what: '4096 connections against 16, user instructions', must: 1.3, hope: 1.1, measured: (results, hyperpull) => divided(one(results, 'connections-4096', hyperpull, 'user'), one(results, 'connections-16', hyperpull, 'user')) },
  { what: '4096 connections against 16, CPU time', must: 1.3, hope: 1.1, measured: (results, hyperpull) => divided(one(results, 'connections-4096', hyperpull, 'cpu'), one(results, 'connections-16', hyperpull, 'cpu')) },
  { what: 'WebSocket echo, messages/s, against ws on node:http', must: 1.0, hope: 1.5, least: true, measured: against('node-http', 'websocket', 'rate') },
]

const budgets: readonly Goal[] = [
  { what: 'h1, whole process, user instructions', must: 10_800, hope: 8_860, measured: (results, hyperpull) => one(results, 'h1', hyperpull, 'user') },
  { what: 'h1, JS thread, user + kernel instructions', must: 4_200, hope: 3_000, measured: (results, hyperpull) => both(results, 'h1', hyperpull) },
  { what: 'h1, JS thread, user instructions, which are a part of that', must: 4_200, hope: 3_000, measured: (results, hyperpull) => one(results, 'h1', hyperpull, 'mainUser') },
  { what: 'h2 16 x 16, whole process, user instructions', must: 21_500, hope: 18_200, measured: (results, hyperpull) => one(results, 'h2-16x16', hyperpull, 'user') },
]

export function goals(results: Results, format: Format): string {
  const head = (text: string) => (format === 'markdown' ? `#### ${text}\n\n` : `${text}\n`)
  const part = (text: string, list: readonly Goal[]) => head(text) + grid(['what', 'must', 'go for', ...Object.values(ways).flatMap((way) => [way, ''])], list.map((goal) => row(goal, results)), format)
  return `${part('Goals', goalList)}\n\n${part('Budgets, per request', budgets)}`
}

function row({ what, must, hope, least = false, measured }: Goal, results: Results): string[] {
  const sign = least ? '>=' : '<='
  const limit = (number: number | undefined) => (number === undefined ? '' : `${sign} ${written(number)}`)
  const told = (value: number | null) => [value === null ? '-' : written(value), verdict(value, must, hope, least)]
  return [what, limit(must), limit(hope), ...Object.keys(ways).flatMap((hyperpull) => told(measured(results, hyperpull)))]
}

function verdict(value: number | null, must: number, hope: number | undefined, least: boolean): string {
  const meets = (limit: number) => (least ? value! >= limit : value! <= limit)
  if (value === null) return 'not measured'
  if (!meets(must)) return 'MISSED'
  return hope !== undefined && meets(hope) ? 'met, and what to go for' : 'met'
}

function written(value: number): string {
  return value >= 100 ? Math.round(value).toString().replace(/\B(?=(\d{3})+$)/g, ' ') : String(Number(value.toPrecision(3)))
}
