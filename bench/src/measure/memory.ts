// Resident memory, from /proc.
import { readFile, writeFile } from 'node:fs/promises'

/** KiB now, and at most since `forgetPeak`; null where there is no /proc. */
export async function resident(pid: number): Promise<{ now: number; peak: number } | null> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '')
  const field = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1])
  const [now, peak] = [field('VmRSS'), field('VmHWM')]
  return Number.isNaN(now + peak) ? null : { now, peak }
}

/** proc(5), clear_refs: the peak starts anew. */
export async function forgetPeak(pid: number): Promise<void> {
  await writeFile(`/proc/${pid}/clear_refs`, '5').catch(() => {})
}
