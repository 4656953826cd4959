// User instructions, counted by valgrind's callgrind. One thread runs at a time there, and the kernel is not seen; but
// the numbers repeat to about one per cent on the busiest machine.
import { mkdtempSync } from 'node:fs'
import { readFile, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { tool } from '../load/tool.ts'
import type { Count } from './instructions.ts'

let folder: string | undefined

export class Callgrind {
  readonly #pid: number

  private constructor(pid: number) {
    this.#pid = pid
  }

  /** What the server is to be started under. It does not count before `of`, so that warming up is faster. */
  static command(): readonly string[] {
    if (folder === undefined) {
      folder = mkdtempSync(join(tmpdir(), 'hyperpull-bench-'))
      process.once('exit', () => void rm(folder!, { recursive: true, force: true }))
    }
    const flags = ['--separate-threads=yes', '--instr-atstart=no', `--callgrind-out-file=${join(folder, '%p')}`]
    return ['valgrind', '--tool=callgrind', ...flags]
  }

  static async of(pid: number): Promise<Callgrind> {
    await tool(['callgrind_control', '-i', 'on', `${pid}`])
    return new Callgrind(pid)
  }

  async begin(): Promise<void> {
    await tool(['callgrind_control', '-z', `${this.#pid}`])
  }

  async end(): Promise<Count> {
    await tool(['callgrind_control', '-d', `${this.#pid}`])
    // PID.1-THREAD, the threads in the order in which they were started.
    const dumps = (await readdir(folder!)).filter((name) => name.startsWith(`${this.#pid}.1-`)).sort()
    const user = await Promise.all(dumps.map(async (name) => total(await readFile(join(folder!, name), 'utf8'))))
    if (user.length === 0) throw new Error('callgrind has written nothing')
    return { user, kernel: null }
  }
}

function total(dump: string): number {
  const [, events] = /^totals: (\d+)/m.exec(dump) ?? []
  if (events === undefined) throw new Error('a dump of callgrind without its total')
  return Number(events)
}
