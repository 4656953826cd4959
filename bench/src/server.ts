// A server under test, in a process of its own.
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Peer } from './peers.ts'
import type { Scenario } from './scenarios.ts'

/** How long a server may take until it accepts; under valgrind that is long. */
const START_MS = 60_000
const STOP_MS = 5_000

export class Server {
  readonly peer: Peer
  readonly port: number
  /** Requests per second that it had when it was warmed up. */
  rate = 0
  /** It has failed, and is not measured any further. */
  failed = false
  readonly #child: ChildProcess
  #errors = ''

  private constructor(peer: Peer, port: number, command: readonly string[], env: Record<string, string>) {
    this.peer = peer
    this.port = port
    // Deno looks for updates, Bun reports: neither in a measurement.
    const quiet = { DENO_NO_UPDATE_CHECK: '1', DENO_DIR: join(tmpdir(), 'hyperpull-bench-deno'), DO_NOT_TRACK: '1', NODE_ENV: 'production' }
    this.#child = spawn(command[0]!, command.slice(1), { env: { ...process.env, ...quiet, ...env }, stdio: ['ignore', 'ignore', 'pipe'] })
    this.#child.stderr!.setEncoding('utf8').on('data', (text: string) => (this.#errors = (this.#errors + text).slice(-2000)))
    this.#child.on('error', (error) => (this.#errors += error.message))
  }

  /** `under` is a command that runs the server's. */
  static async start(peer: Peer, scenario: Scenario, under: readonly string[] = []): Promise<Server> {
    const { task, traffic } = scenario
    const port = await freePort()
    const command = peer.command(task, traffic.protocol, port)
    if (command === null) throw new Error(`${peer.name} is not made for ${scenario.name}`)
    const server = new Server(peer, port, [...under, ...command], { PORT: `${port}`, PROTOCOL: traffic.protocol, TASK: task, ...peer.env })
    try {
      await server.#accepts()
    } catch (error) {
      await server.stop()
      throw error
    }
    return server
  }

  get pid(): number {
    return this.#child.pid!
  }

  async stop(): Promise<void> {
    if (this.#ended || this.#child.pid === undefined) return
    const exit = once(this.#child, 'exit')
    this.#child.kill('SIGTERM')
    const late = setTimeout(() => this.#child.kill('SIGKILL'), STOP_MS)
    await exit
    clearTimeout(late)
  }

  get #ended(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null
  }

  async #accepts(): Promise<void> {
    for (const deadline = Date.now() + START_MS; Date.now() < deadline; await sleep(50)) {
      if (this.#ended || this.#child.pid === undefined) break
      if (await answers(this.port)) return
    }
    throw new Error(`${this.peer.name} does not accept connections: ${this.#errors.trim() || 'it says nothing'}`)
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  return port
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })
}
