// Puts the results into bench/README.md, between its two marks.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Results } from '../results.ts'
import { scenarios } from '../scenarios.ts'
import { goals } from './goals.ts'
import { table } from './table.ts'

const path = join(import.meta.dirname, '..', '..', 'README.md')
const BEGIN = '<!-- measured: written by --readme -->'
const END = '<!-- /measured -->'

export function updateReadme(results: Results): void {
  const text = readFileSync(path, 'utf8')
  const [begin, end] = [text.indexOf(BEGIN), text.indexOf(END)]
  if (begin < 0 || end < begin) throw new Error('bench/README.md has lost its marks')
  const tables = scenarios.flatMap(({ name }) => (results[name] ? [table(name, results[name], 'markdown')] : []))
  writeFileSync(path, `${text.slice(0, begin)}${BEGIN}\n\n${[goals(results, 'markdown'), ...tables].join('\n\n')}\n\n${text.slice(end)}`)
}
