// The command line.
import { parseArgs } from 'node:util'
import { peers } from './peers.ts'
import { scenarios } from './scenarios.ts'
import type { Peer } from './peers.ts'
import type { Scenario } from './scenarios.ts'

export interface Options {
  readonly scenarios: readonly Scenario[]
  readonly peers: readonly Peer[]
  /** Requests of one round of a scenario of small requests; the others make a share of it. */
  readonly requests: number
  readonly rounds: number
  /** Requests whose instructions are counted under valgrind; 0: none. */
  readonly counted: number
  readonly json: string | undefined
  readonly svg: string | undefined
  readonly readme: boolean
}

const usage = `npm run bench -- [options]
  --scenario NAME,..   these scenarios, not all
  --peer NAME,..       these servers, not all
  --requests N         requests of a round (100 000); scenarios of large ones make a share of it
  --rounds N           rounds of each scenario, the servers in turn in each (5)
  --counted N          requests whose instructions valgrind counts where perf cannot (20 000, and 24 of each connection; 0: none)
  --json FILE          writes the results; scenarios that FILE has already are replaced, the others stay
  --svg FILE           draws the chart
  --readme             writes the results into bench/README.md
  --list               scenarios and servers`

/** Null when there is nothing more to do. */
export function options(): Options | null {
  try {
    return parsed()
  } catch (error) {
    console.error((error as Error).message)
    process.exitCode = 2
    return null
  }
}

function parsed(): Options | null {
  const { values } = parseArgs({
    options: {
      scenario: { type: 'string', multiple: true, default: [] },
      peer: { type: 'string', multiple: true, default: [] },
      requests: { type: 'string', default: '100000' },
      rounds: { type: 'string', default: '5' },
      counted: { type: 'string', default: '20000' },
      json: { type: 'string' },
      svg: { type: 'string' },
      readme: { type: 'boolean', default: false },
      list: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) console.log(usage)
  if (values.list) {
    for (const { name, title } of scenarios) console.log(`${name.padEnd(18)} ${title}`)
    console.log()
    for (const { name, title, missing } of peers) console.log(`${name.padEnd(18)} ${title}${missing() ? ` (not here: ${missing()})` : ''}`)
  }
  if (values.help || values.list) return null
  return {
    scenarios: chosen('scenario', values.scenario, scenarios),
    peers: chosen('peer', values.peer, peers),
    requests: whole('requests', values.requests, 1),
    rounds: whole('rounds', values.rounds, 1),
    counted: whole('counted', values.counted, 0),
    json: values.json,
    svg: values.svg,
    readme: values.readme,
  }
}

function chosen<T extends { readonly name: string }>(option: string, given: readonly string[], all: readonly T[]): readonly T[] {
  const names = given.flatMap((list) => list.split(',')).filter((name) => name !== '')
  const unknown = names.find((name) => !all.some((one) => one.name === name))
  if (unknown !== undefined) throw new Error(`--${option}: no '${unknown}' among ${all.map(({ name }) => name).join(', ')}`)
  return names.length === 0 ? all : all.filter(({ name }) => names.includes(name))
}

function whole(option: string, given: string, least: number): number {
  const number = Number(given.replaceAll('_', ''))
  if (!Number.isInteger(number) || number < least) throw new Error(`--${option}: '${given}' is not a whole number from ${least} on`)
  return number
}
