// Which instructions can be counted here, and how.
import { spawnSync } from 'node:child_process'
import { found } from '../peers.ts'

export interface Counters {
  /** perf counts in a running process; valgrind simulates a run of its own, and sees no kernel. */
  readonly user: 'perf' | 'valgrind' | null
  readonly kernel: 'perf' | null
  /** What cannot be measured, in words. */
  readonly missing: readonly string[]
}

let known: Counters | undefined

export function counters(): Counters {
  return (known ??= look())
}

function look(): Counters {
  const user = perfCounts('instructions:u')
  const kernel = user && perfCounts('instructions:k')
  if (user) return { user: 'perf', kernel: kernel ? 'perf' : null, missing: kernel ? [] : ['kernel instructions (perf may not count them: kernel.perf_event_paranoid)'] }
  const valgrind = found('valgrind') && found('callgrind_control')
  const why = found('perf') ? 'this machine has no performance counters' : 'perf is not installed'
  const missing = [`kernel instructions (${why})`]
  if (!valgrind) missing.unshift(`user instructions (${why}; valgrind, which could count them, is not installed)`)
  return { user: valgrind ? 'valgrind' : null, kernel: null, missing }
}

function perfCounts(event: string): boolean {
  const { status, stderr } = spawnSync('perf', ['stat', '-x,', '-e', event, 'true'], { encoding: 'utf8' })
  return status === 0 && /^\d+,/m.test(stderr)
}
