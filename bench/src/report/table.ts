// A scenario's numbers, one row for each server.
import { columns, metrics, written } from '../metrics.ts'
import type { Metric } from '../metrics.ts'
import type { Outcome } from '../results.ts'
import { peers } from '../peers.ts'

export type Format = 'text' | 'markdown'

/** Heads and rows of text, the first column to the left, the others to the right. */
export function table(name: string, { title, kind, date, machine, busy, notes, servers, requests }: Outcome, format: Format): string {
  const has = (metric: Metric) => Object.values(servers).some(({ median }) => median[metric] !== undefined)
  const shown = columns[kind].filter((metric) => has(metric) && !(metric === 'failed' && nobodyFailed(servers)))
  const rows = Object.entries(servers).map(([server, { median }]) => [label(server), ...shown.map((metric) => written(metric, median[metric]))])
  const about = kind === 'transfer' || kind === 'idle' ? '' : `${written('rate', requests)} requests a round; `
  const when = `${about}${date} UTC; ${machine}; ${Math.round(busy * 100)} % of it busy with other things before.`
  const heads = ['server', ...shown.map((metric) => metrics[metric].head)]
  const rest = notes.map((note) => (format === 'markdown' ? `- ${note}` : note)).join('\n')
  const head = format === 'markdown' ? `#### ${title} (\`${name}\`)\n` : `${title} (${name})`
  return [head, grid(heads, rows, format), format === 'markdown' ? `\n${when}\n` : when, rest].filter((part) => part !== '').join('\n')
}

export function grid(heads: readonly string[], rows: ReadonlyArray<readonly string[]>, format: Format): string {
  if (format === 'markdown') {
    const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
    return [line(heads), line(heads.map((_, at) => (at === 0 ? '---' : '---:'))), ...rows.map(line)].join('\n')
  }
  const words = heads.map((head) => head.split(' '))
  const height = Math.max(...words.map(({ length }) => length))
  const stacked = Array.from({ length: height }, (_, at) => words.map((word) => word[at - height + word.length] ?? ''))
  const all = [...stacked, ...rows]
  const widths = heads.map((_, at) => Math.max(...all.map((cells) => cells[at]!.length)))
  return all.map((cells) => cells.map((cell, at) => (at === 0 ? cell.padEnd(widths[at]!) : cell.padStart(widths[at]!))).join('  ').trimEnd()).join('\n')
}

function nobodyFailed(servers: Outcome['servers']): boolean {
  return Object.values(servers).every(({ rounds }) => rounds.every(({ failed }) => !failed))
}

function label(server: string): string {
  return peers.find(({ name }) => name === server)?.title ?? server
}
