// A server that is attacked while others use it.
import type { ExecutionContext } from 'ava'
import type { ListenOptions } from '../index.js'
import { h1Client, h2Client } from './_client.js'
import type { TestClient } from './_client.js'
import { FrameClient } from './_frames.js'
import type * as h2 from './_frames.js'
import { portPrinted, program } from './_process.js'
import { must } from './_server.js'

const MEMORY = 64 << 20
/** Within this a neighbour is answered: a second, and as much again for a machine that has other things to do. */
const PATIENCE = 2000

/** A server in a process of its own, and two well-behaved clients of it. */
export class Scene {
  readonly #clients: TestClient[]
  exchanges = 0

  constructor(readonly port: number) {
    this.#clients = [h1Client(port), h2Client(port)]
  }

  static async start(t: ExecutionContext, options: ListenOptions = {}): Promise<Scene> {
    const scene = new Scene(await portPrinted(program(t, '__test__/_abuse-server.ts', { OPTIONS: JSON.stringify(options) })))
    t.teardown(() => scene.close())
    await scene.neighbours(t)
    return scene
  }

  /** One well-behaved exchange on a kept HTTP/1.1 connection, one on a kept HTTP/2 connection. */
  async neighbours(t: ExecutionContext): Promise<void> {
    for (const client of this.#clients) {
      const since = performance.now()
      const { status, text } = await client.fetch({ method: 'POST', body: 'well-behaved' })
      const elapsed = performance.now() - since
      if (status !== 200 || text !== '12') t.fail(`a neighbour got ${status} ${text}`)
      if (elapsed > PATIENCE) t.fail(`a neighbour waited for ${elapsed} ms`)
      this.exchanges++
    }
  }

  async ask<T>(path: string): Promise<T> {
    return JSON.parse((await this.#clients[0]!.fetch({ path })).text) as T
  }

  /** Why the connection ended, once it has. */
  closed({ port }: FrameClient): Promise<{ code: string; side: string; message: string } | null> {
    return this.ask(`/closed?${port}`)
  }

  requests(): Promise<{ held: number; aborted: number }> {
    return this.ask('/requests')
  }

  /** All requests that were let in and not answered have been aborted. */
  async released(t: ExecutionContext): Promise<number> {
    for (let i = 0; i < 1000; i++) {
      const { held, aborted } = await this.requests()
      if (held === aborted) return held
    }
    t.fail('requests whose streams are gone were not aborted')
    return 0
  }

  /** Runs the attack; the neighbours are answered before, meanwhile and after it, and memory stays in bounds. */
  async under(t: ExecutionContext, attack: (client: FrameClient) => Promise<void>, manners: h2.Manners = {}): Promise<FrameClient> {
    const before = await this.ask<{ now: number; most: number }>('/memory')
    const attacker = await FrameClient.connect(this.port, manners)
    t.teardown(() => attacker.close())
    let over = false
    const attacked = attack(attacker).finally(() => {
      over = true
    })
    do await this.neighbours(t)
    while (!over)
    await attacked
    await this.neighbours(t)
    const after = await this.ask<{ now: number; most: number }>('/memory')
    // The peak is the process': it tells of this attack when it is a new one.
    const grown = Math.max(after.now, after.most > before.most ? after.most : 0) - before.now
    t.true(grown < MEMORY, `memory grew by ${grown >> 20} MiB`)
    return attacker
  }

  close(): void {
    for (const client of this.#clients) client.close()
  }
}

/** The server has cut the connection, for the peer's fault. */
export async function cut(t: ExecutionContext, scene: Scene, client: FrameClient, ...codes: number[]): Promise<void> {
  t.true(client.isCut, 'cut')
  if (client.goAway !== null) t.true(codes.includes(client.goAway), `GOAWAY ${client.goAway}`)
  client.close()
  const reason = must(await scene.closed(client))
  t.log(reason.message)
  t.is(reason.code, 'protocol-error', reason.message)
}
