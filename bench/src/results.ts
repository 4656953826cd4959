// What came of it, as it is written to the JSON file.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import type { Metrics } from './metrics.ts'

export interface Measured {
  /** Of each metric the median of the rounds. */
  readonly median: Metrics
  readonly rounds: readonly Metrics[]
}

export interface Outcome {
  readonly title: string
  readonly kind: 'closed' | 'paced' | 'transfer' | 'idle'
  readonly date: string
  readonly machine: string
  /** The part of the machine that others used just before, 0 to 1. */
  readonly busy: number
  readonly requests: number
  /** What could not be measured, and of whom; and what else is to be known. */
  readonly notes: readonly string[]
  readonly servers: Readonly<Record<string, Measured>>
}

export type Results = Record<string, Outcome>

export function load(file: string | undefined): Results {
  return file !== undefined && existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Results) : {}
}

export function save(file: string, results: Results): void {
  const rounded = (_: string, value: unknown) => (typeof value === 'number' ? Number(value.toPrecision(6)) : value)
  writeFileSync(file, `${JSON.stringify(results, rounded, 1)}\n`)
}
