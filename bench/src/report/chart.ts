// The chart: what a request costs, and how many there are in a second. Shorter is better, then longer is better.
import type { Metric } from '../metrics.ts'
import { peers } from '../peers.ts'
import type { Results } from '../results.ts'
import { draw } from './svg.ts'

interface Panel {
  readonly scenario: string
  readonly metric: Metric
  readonly title: string
}

const panels: readonly Panel[] = [
  { scenario: 'h1', metric: 'cpu', title: 'HTTP/1.1: CPU time of a request, µs (less is better)' },
  { scenario: 'h2-16x16', metric: 'cpu', title: 'HTTP/2: CPU time of a request, µs (less is better)' },
  { scenario: 'h1', metric: 'user', title: 'HTTP/1.1: user instructions of a request (less)' },
  { scenario: 'h2-16x16', metric: 'user', title: 'HTTP/2: user instructions of a request (less)' },
  { scenario: 'h1-one-core', metric: 'rate', title: 'HTTP/1.1, server on one core: requests/s (more)' },
  { scenario: 'paced', metric: 'p99', title: 'HTTP/1.1, same fixed rate for all: p99, µs (less)' },
]
const palette = { hyperpull: '#d9480f', JavaScript: '#4c78a8', native: '#b0b0b0' }

export async function chart(file: string, results: Results): Promise<void> {
  const drawn = panels.map((panel) => bars(panel, results)).filter((spec) => spec !== null)
  if (drawn.length > 0) await draw(file, drawn, 2)
}

function bars({ scenario, metric, title }: Panel, results: Results): object | null {
  const outcome = results[scenario]
  const values = peers.flatMap(({ name, title, script }) => {
    const value = outcome?.servers[name]?.median[metric]
    return value === undefined ? [] : [{ server: title, value, text: short(value), kind: name.startsWith('hyperpull') ? 'hyperpull' : script ? 'JavaScript' : 'native' }]
  })
  if (values.length === 0) return null
  const best = values.toSorted((a, b) => (metric === 'rate' ? b.value - a.value : a.value - b.value))
  const y = { field: 'server', type: 'nominal', sort: best.map(({ server }) => server), title: null, axis: { ticks: false, domain: false, labelPadding: 6 } }
  const x = { field: 'value', type: 'quantitative', title: null, axis: null }
  const color = { field: 'kind', type: 'nominal', legend: null, scale: { domain: Object.keys(palette), range: Object.values(palette) } }
  return {
    title: { text: title, anchor: 'start', fontSize: 12 },
    width: 250,
    height: { step: 18 },
    data: { values },
    encoding: { y, x },
    layer: [{ mark: 'bar', encoding: { color } }, { mark: { type: 'text', align: 'left', dx: 4, fontSize: 10 }, encoding: { text: { field: 'text' } } }],
  }
}

function short(value: number): string {
  return value >= 100_000 ? `${Math.round(value / 1000)} k` : value >= 1000 ? `${(value / 1000).toFixed(1)} k` : String(Number(value.toPrecision(3)))
}
