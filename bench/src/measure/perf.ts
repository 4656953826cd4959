// Instructions in user and kernel mode, counted by the processor, by thread.
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { counters } from './counters.ts'
import type { Count } from './instructions.ts'

/** perf does not say when it has begun. */
const ATTACH_MS = 300

export class Perf {
  readonly #pid: number
  #child: ChildProcess | undefined
  #report: Promise<string> | undefined

  constructor(pid: number) {
    this.#pid = pid
  }

  async begin(): Promise<void> {
    const events = counters().kernel === null ? 'instructions:u' : 'instructions:u,instructions:k'
    this.#child = spawn('perf', ['stat', '--per-thread', '-x,', '-e', events, '-p', `${this.#pid}`], { stdio: ['ignore', 'ignore', 'pipe'] })
    this.#report = text(this.#child.stderr!)
    await sleep(ATTACH_MS)
  }

  async end(): Promise<Count> {
    const exit = once(this.#child!, 'exit')
    this.#child!.kill('SIGINT')
    await exit
    return parse(await this.#report!, this.#pid)
  }
}

/** Lines of NAME-TID,COUNT,UNIT,EVENT,...; a name may contain dashes and commas. */
export function parse(report: string, main: number): Count {
  const lines = [...report.matchAll(/-(\d+),(\d+),[^,]*,[^,:]+:(u|k)\b/g)].map(([, tid, count, mode]) => ({ tid: Number(tid), count: Number(count), mode }))
  const of = (mode: string) => {
    const mine = lines.filter((line) => line.mode === mode)
    return [...mine.filter(({ tid }) => tid === main), ...mine.filter(({ tid }) => tid !== main)].map(({ count }) => count)
  }
  const [user, kernel] = [of('u'), of('k')]
  if (!lines.some(({ tid }) => tid === main)) throw new Error(`perf has not counted: ${report.trim()}`)
  return { user, kernel: kernel.length > 0 ? kernel : null }
}
