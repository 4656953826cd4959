// CPU time, from /proc: nanoseconds that each thread has run, split into user and system as the kernel's tick sampled it.
import { readFile, readdir } from 'node:fs/promises'

/** Microseconds. */
export interface Usage {
  readonly total: number
  readonly user: number
  readonly system: number
}

export interface Cpu {
  readonly process: Usage
  /** The thread that runs JavaScript, in programs that do. */
  readonly main: Usage
}

/** Times by thread; null where there is no /proc. */
export type Reading = ReadonlyMap<number, Usage> | null

export async function reading(pid: number): Promise<Reading> {
  const threads = await readdir(`/proc/${pid}/task`).catch(() => null)
  if (threads === null) return null
  const usages = await Promise.all(threads.map(async (tid) => [Number(tid), await usage(`/proc/${pid}/task/${tid}`)] as const))
  return new Map(usages.filter((entry): entry is readonly [number, Usage] => entry[1] !== null))
}

/** What ran between two readings. A thread that has ended meanwhile is not in it. */
export function between(pid: number, before: Reading, after: Reading): Cpu | null {
  if (before === null || after === null) return null
  const none: Usage = { total: 0, user: 0, system: 0 }
  const deltas = [...after].map(([tid, usage]) => [tid, subtract(usage, before.get(tid) ?? none)] as const)
  const whole = deltas.reduce((sum, [, delta]) => add(sum, delta), none)
  return { process: split(whole), main: split(new Map(deltas).get(pid) ?? none) }
}

async function usage(thread: string): Promise<Usage | null> {
  const [stat, schedstat] = await Promise.all([readFile(`${thread}/stat`, 'utf8'), readFile(`${thread}/schedstat`, 'utf8')]).catch(() => [])
  if (stat === undefined || schedstat === undefined) return null // it has ended
  // proc(5): utime and stime are fields 14 and 15; the name, field 2, may contain anything. A tick is 10 ms.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return { total: Number(schedstat.split(' ')[0]) / 1000, user: Number(fields[11]) * 10_000, system: Number(fields[12]) * 10_000 }
}

/** The exact total, in the proportion of the ticks. */
function split({ total, user, system }: Usage): Usage {
  const part = user + system === 0 ? 0.5 : user / (user + system)
  return { total, user: total * part, system: total * (1 - part) }
}

function add(a: Usage, b: Usage): Usage {
  return { total: a.total + b.total, user: a.user + b.user, system: a.system + b.system }
}

function subtract(a: Usage, b: Usage): Usage {
  return { total: a.total - b.total, user: a.user - b.user, system: a.system - b.system }
}
