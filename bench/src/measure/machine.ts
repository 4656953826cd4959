// What all this ran on, in words that name nobody's computer; and whether it had anything else to do.
import { readFile } from 'node:fs/promises'
import { arch, availableParallelism, loadavg, platform } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { counters } from './counters.ts'

export async function machine(): Promise<string> {
  const cpus = availableParallelism()
  const info = await readFile('/proc/cpuinfo', 'utf8').catch(() => '')
  const kind = /^flags\s*:.*\bhypervisor\b/m.test(info) ? 'virtual core' : 'core'
  const events = counters().user === 'perf' ? 'performance counters' : 'no performance counters'
  return `${cpus} ${kind}${cpus === 1 ? '' : 's'}, ${events}, ${platform()} ${arch()}, Node.js ${process.versions.node}`
}

/** The part of the machine's time that others use now, 0 to 1. */
export async function busy(): Promise<number> {
  const before = await times()
  if (before === null) return Math.min(1, loadavg()[0]! / availableParallelism())
  await sleep(1000)
  const after = (await times())!
  return 1 - (after.idle - before.idle) / (after.all - before.all)
}

async function times(): Promise<{ all: number; idle: number } | null> {
  const stat = await readFile('/proc/stat', 'utf8').catch(() => null)
  if (stat === null) return null
  // proc(5): user nice system idle iowait irq softirq steal
  const fields = stat.slice(0, stat.indexOf('\n')).trim().split(/ +/).slice(1, 9).map(Number)
  return { all: fields.reduce((sum, field) => sum + field), idle: fields[3]! + fields[4]! }
}
