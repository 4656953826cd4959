// What a process holds, read from /proc while the soak goes on.
import { readdir } from 'node:fs/promises'
import { resident } from '../measure/memory.ts'

export interface Sample {
  readonly seconds: number
  /** Since the start. */
  readonly requests: number
  readonly rssMiB: number
  readonly descriptors: number
  readonly threads: number
  /** Of small requests on kept connections since the sample before; null: there were none. */
  readonly p99Ms: number | null
}

export async function held(pid: number): Promise<{ rssMiB: number; descriptors: number; threads: number }> {
  const [memory, descriptors, threads] = await Promise.all([resident(pid), readdir(`/proc/${pid}/fd`), readdir(`/proc/${pid}/task`)])
  return { rssMiB: memory!.now / 1024, descriptors: descriptors.length, threads: threads.length }
}

/** MiB of resident memory for each 100 000 requests: the line through the samples (least squares), without those of the first quarter. */
export function slope(samples: readonly Sample[]): number {
  const last = samples.at(-1)!.seconds
  const points = samples.filter(({ seconds }) => seconds >= last / 4).map(({ requests, rssMiB }) => [requests / 100_000, rssMiB] as const)
  const mean = (of: 0 | 1) => points.reduce((sum, point) => sum + point[of], 0) / points.length
  const [x, y] = [mean(0), mean(1)]
  const [above, below] = points.reduce(([a, b], point) => [a + (point[0] - x) * (point[1] - y), b + (point[0] - x) ** 2], [0, 0])
  return above / below
}

export function csv(samples: readonly Sample[]): string {
  const lines = samples.map(({ seconds, requests, rssMiB, descriptors, threads, p99Ms }) =>
    [seconds.toFixed(1), requests, rssMiB.toFixed(2), descriptors, threads, p99Ms?.toFixed(2) ?? ''].join(','),
  )
  return `${['seconds,requests,rss_mib,descriptors,threads,p99_ms', ...lines].join('\n')}\n`
}

/** One chart for each column, over the minutes. */
export function charts(samples: readonly Sample[]): object[] {
  const values = samples.map((sample) => ({ ...sample, minutes: sample.seconds / 60 }))
  const line = (field: keyof Sample, title: string) => ({
    title: { text: title, anchor: 'start', fontSize: 12 },
    width: 320,
    height: 120,
    data: { values },
    mark: { type: 'line', color: '#d9480f', strokeWidth: 1 },
    encoding: {
      x: { field: 'minutes', type: 'quantitative', title: 'minutes' },
      y: { field, type: 'quantitative', title: null, scale: { zero: field !== 'requests' } },
    },
  })
  return [
    line('rssMiB', 'Resident memory of the server, MiB'),
    line('p99Ms', 'Small requests on kept connections: p99, ms'),
    line('descriptors', 'Open descriptors'),
    line('threads', 'Threads'),
  ]
}
