// The numbers that a server can have, and how they are written.

export const metrics = {
  user: { head: 'user instr', digits: 0 },
  kernel: { head: 'kernel instr', digits: 0 },
  mainUser: { head: 'JS thread user instr', digits: 0 },
  mainKernel: { head: 'JS thread kernel instr', digits: 0 },
  secondUser: { head: '2nd thread user instr', digits: 0 },
  otherUser: { head: 'rest user instr', digits: 0 },
  /** Microseconds. */
  cpu: { head: 'CPU µs', digits: 2 },
  cpuUser: { head: 'user', digits: 2 },
  cpuSystem: { head: 'system', digits: 2 },
  mainCpu: { head: 'JS thread CPU µs', digits: 2 },
  mainCpuUser: { head: 'user', digits: 2 },
  mainCpuSystem: { head: 'system', digits: 2 },
  rate: { head: 'requests/s', digits: 0 },
  /** Microseconds. */
  p50: { head: 'p50 µs', digits: 0 },
  p99: { head: 'p99 µs', digits: 0 },
  p999: { head: 'p99.9 µs', digits: 0 },
  /** MiB. */
  rss: { head: 'RSS MiB', digits: 1 },
  rssGrowth: { head: 'RSS growth MiB', digits: 1 },
  /** Of large bodies. */
  gibCpu: { head: 'CPU ms/GiB', digits: 0 },
  gibMainCpu: { head: 'JS thread CPU ms/GiB', digits: 0 },
  gibRate: { head: 'MiB/s', digits: 0 },
  idleKib: { head: 'KiB/connection', digits: 2 },
  failed: { head: 'failed', digits: 0 },
} as const

export type Metric = keyof typeof metrics
export type Metrics = Partial<Record<Metric, number>>

/** What each kind of scenario has, in order. */
export const columns = {
  closed: ['user', 'mainUser', 'secondUser', 'otherUser', 'kernel', 'mainKernel', 'cpu', 'cpuUser', 'cpuSystem', 'mainCpu', 'mainCpuUser', 'mainCpuSystem', 'rate', 'p50', 'p99', 'p999', 'rss', 'failed'],
  paced: ['rate', 'p50', 'p99', 'p999', 'cpu', 'cpuUser', 'cpuSystem', 'mainCpu', 'rss', 'failed'],
  transfer: ['gibCpu', 'gibMainCpu', 'gibRate', 'rss', 'rssGrowth'],
  idle: ['idleKib', 'rss', 'rssGrowth'],
} as const satisfies Record<string, readonly Metric[]>

export function written(metric: Metric, value: number | undefined): string {
  if (value === undefined || Number.isNaN(value)) return ''
  return value.toFixed(metrics[metric].digits).replace(/\B(?=(\d{3})+(?!\d))(?<!\.\d*)/g, ' ')
}
