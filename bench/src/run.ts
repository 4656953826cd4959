// One scenario: the servers beside each other, in turn in each round, so that what disturbs the machine disturbs all.
import { closed } from './kinds/closed.ts'
import { idle } from './kinds/idle.ts'
import { paced } from './kinds/paced.ts'
import { transfer } from './kinds/transfer.ts'
import { lacking } from './load/traffic.ts'
import { counters } from './measure/counters.ts'
import { busy, machine } from './measure/machine.ts'
import type { Metric, Metrics } from './metrics.ts'
import type { Options } from './options.ts'
import type { Peer } from './peers.ts'
import type { Outcome } from './results.ts'
import type { Scenario } from './scenarios.ts'
import { Server } from './server.ts'
import { median } from './statistics.ts'

const kinds = { closed, paced, transfer, idle }

/** The servers that run; one that fails is taken out. */
export interface Servers extends AsyncDisposable {
  readonly list: readonly Server[]
}

export class Run {
  readonly scenario: Scenario
  readonly options: Options
  /** Of one round. */
  readonly requests: number
  readonly #notes: string[] = []
  readonly #samples = new Map<Peer, Metrics[]>()

  private constructor(scenario: Scenario, options: Options) {
    this.scenario = scenario
    this.options = options
    this.requests = Math.max(1, Math.round(options.requests * (scenario.share ?? 1)))
  }

  /** Whether this scenario's instructions are counted here. */
  get counts(): boolean {
    return counters().user === 'perf' || (counters().user === 'valgrind' && this.scenario.counted === true)
  }

  static async of(scenario: Scenario, options: Options): Promise<Outcome> {
    const run = new Run(scenario, options)
    const before = await busy()
    const lack = scenario.kind === 'transfer' ? null : lacking(scenario.traffic)
    if (lack === null) await kinds[scenario.kind](run)
    else run.note(`nothing: ${lack}`)
    return { ...run.#outcome(await machine()), busy: before }
  }

  /** Starts all servers that are made for the scenario; `under` is a command that runs theirs. */
  async start(under: readonly string[] = []): Promise<Servers> {
    const { peers } = this.options
    const { task, traffic } = this.scenario
    const list: Server[] = []
    for (const peer of peers.filter((peer) => peer.command(task, traffic.protocol, 0) !== null)) {
      const missing = peer.missing()
      if (missing) this.note(`${peer.name}: ${missing}`)
      else await this.attempt(peer, async () => void list.push(await Server.start(peer, this.scenario, under)))
    }
    return { list, [Symbol.asyncDispose]: async () => void (await Promise.all(list.map((server) => server.stop()))) }
  }

  /** One after the other; one that fails is measured no further. */
  async each(servers: Servers, step: (server: Server) => Promise<void>): Promise<void> {
    for (const server of servers.list.filter((server) => !server.failed)) {
      await this.attempt(server.peer, () => step(server)).then((good) => (server.failed = !good))
    }
  }

  /** All servers in each round, beginning with another one each time. */
  async rounds(servers: Servers, step: (server: Server) => Promise<Metrics>): Promise<void> {
    for (let round = 0; round < this.options.rounds; round++) {
      const first = round % Math.max(1, servers.list.length)
      const list = [...servers.list.slice(first), ...servers.list.slice(0, first)]
      await this.each({ ...servers, list }, async (server) => this.add(server.peer, await step(server)))
    }
  }

  async once(servers: Servers, step: (server: Server) => Promise<Metrics>): Promise<void> {
    await this.each(servers, async (server) => this.add(server.peer, await step(server)))
  }

  add(peer: Peer, sample: Metrics): void {
    this.#samples.set(peer, [...(this.#samples.get(peer) ?? []), sample])
  }

  note(text: string): void {
    this.#notes.push(text)
    console.error(`  ${text}`)
  }

  async attempt(peer: Peer, step: () => Promise<void>): Promise<boolean> {
    try {
      await step()
      return true
    } catch (error) {
      this.note(`${peer.name}: ${(error as Error).message.split('\n').slice(0, 4).join(' ')}`)
      return false
    }
  }

  #outcome(machine: string): Omit<Outcome, 'busy'> {
    const { title, kind, pinned } = this.scenario
    const missing = kind === 'closed' && this.counts ? counters().missing.map((what) => `not measured: ${what}`) : []
    if (kind === 'closed' && !this.counts && counters().user !== null) missing.push('not measured: instructions (valgrind would have to run all servers once more)')
    const ordered = this.options.peers.flatMap((peer) => (this.#samples.has(peer) ? [[peer.name, summary(this.#samples.get(peer)!)] as const] : []))
    return {
      title,
      kind,
      date: new Date().toISOString().slice(0, 16).replace('T', ' '),
      machine: pinned ? `${machine}; one of them for the server` : machine,
      requests: this.requests,
      notes: [...missing, ...this.#notes],
      servers: Object.fromEntries(ordered),
    }
  }
}

function summary(rounds: readonly Metrics[]): { median: Metrics; rounds: readonly Metrics[] } {
  const names = new Set(rounds.flatMap((round) => Object.keys(round) as Metric[]))
  const of = (name: Metric) => rounds.map((round) => round[name]).filter((value): value is number => value !== undefined && !Number.isNaN(value))
  const medians = [...names].map((name) => [name, of(name)] as const).filter(([, values]) => values.length > 0)
  return { median: Object.fromEntries(medians.map(([name, values]) => [name, median(values)])), rounds }
}
