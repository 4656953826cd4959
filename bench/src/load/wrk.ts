// wrk: HTTP/1.1 for a number of seconds. wrk.lua has it print JSON.
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import type { Answered, Order } from './traffic.ts'
import { tool } from './tool.ts'

const script = join(import.meta.dirname, 'wrk.lua')

export async function wrk({ traffic, port, under = [] }: Order, seconds: number): Promise<Answered> {
  const threads = Math.min(4, Math.max(1, availableParallelism() >> 2))
  const headers = Object.entries(traffic.headers ?? {}).flatMap(([name, value]) => ['-H', `${name}: ${value}`])
  const flags = ['-t', `${threads}`, '-c', `${traffic.connections}`, '-d', `${seconds}s`, '--timeout', '30s', '-s', script]
  const own = ['--', `${traffic.pipeline ?? 1}`, traffic.body ?? '']
  const printed = await tool([...under, 'wrk', ...flags, ...headers, `http://127.0.0.1:${port}/`, ...own])
  const line = printed.split('\n').find((line) => line.startsWith('{'))
  if (line === undefined) throw new Error(`wrk has not said what it did: ${printed}`)
  return JSON.parse(line) as Answered
}
