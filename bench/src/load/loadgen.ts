// The load generator of bench/loadgen: its connections are open before its requests begin, and after they have ended.
import { spawn } from 'node:child_process'
import type { ChildProcessByStdio } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { native } from './native.ts'
import type { Answered, Order } from './traffic.ts'

/** `open`: connections that the server still held before the requests. */
export interface Generated extends Answered {
  readonly open: number
}

export class Loadgen {
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>
  readonly #lines: AsyncIterator<string>
  #errors = ''

  private constructor(command: readonly string[]) {
    this.#child = spawn(command[0]!, command.slice(1), { stdio: ['pipe', 'pipe', 'pipe'] })
    this.#child.stdin.on('error', () => {})
    this.#child.stderr.setEncoding('utf8').on('data', (text: string) => (this.#errors += text))
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]()
  }

  /** Resolves when the connections are open. */
  static async open({ traffic, port, requests, under = [] }: Omit<Order, 'watch'>): Promise<Loadgen> {
    const flags = { connections: traffic.connections, requests, rate: traffic.rate, 'per-connection': traffic.perConnection, websocket: traffic.websocket }
    const given = Object.entries(flags).flatMap(([name, value]) => (value === undefined ? [] : [`--${name}`, `${value}`]))
    const loadgen = new Loadgen([...under, native.path('loadgen'), ...given, `${port}`])
    await loadgen.#line()
    return loadgen
  }

  /** Makes the requests. */
  async go(): Promise<Generated> {
    this.#child.stdin.write('\n')
    return JSON.parse(await this.#line()) as Generated
  }

  /** Closes the connections. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const exit = once(this.#child, 'exit')
    this.#child.stdin.end()
    await exit
  }

  async #line(): Promise<string> {
    const { value, done } = await this.#lines.next()
    if (done) throw new Error(`the load generator has ended: ${this.#errors.trim()}`)
    return value
  }
}
