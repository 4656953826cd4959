// A TCP proxy that passes every write on in pieces, with pauses between them, both ways; and FIN and RST as they come.
import { once } from 'node:events'
import net from 'node:net'
import { setImmediate, setTimeout } from 'node:timers/promises'
import { reset } from './_raw.js'

/** The port it listens on, and its end. `random` draws the pieces and the pauses. */
export async function splittingProxy(target: number, random: () => number): Promise<{ port: number; close(): void }> {
  const sockets = new Set<net.Socket>()
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    const upstream = net.connect({ port: target, host: '127.0.0.1', allowHalfOpen: true, noDelay: true })
    for (const [from, to] of [[client, upstream], [upstream, client]] as const) {
      sockets.add(from)
      from.on('close', () => sockets.delete(from))
      from.on('error', () => reset(to))
      void pass(from, to, random).catch(() => reset(to))
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as net.AddressInfo).port,
    close: () => {
      server.close()
      for (const socket of sockets) socket.destroy()
    },
  }
}

async function pass(from: net.Socket, to: net.Socket, random: () => number): Promise<void> {
  for await (const chunk of from as AsyncIterable<Buffer>) {
    for (const piece of pieces(chunk, random)) {
      if (!to.write(piece)) await once(to, 'drain')
      await pause(random)
    }
  }
  to.end()
}

/** Cuts bytes at one to four places, and sometimes right behind the first byte. */
export function pieces(bytes: Buffer, random: () => number): Buffer[] {
  const cuts = Array.from({ length: 1 + Math.floor(random() * 4) }, () => Math.floor(random() * bytes.length))
  if (random() < 0.2) cuts.push(1)
  const ends = [...cuts.sort((a, b) => a - b), bytes.length]
  return ends.map((end, i) => bytes.subarray(ends[i - 1] ?? 0, end)).filter((piece) => piece.length > 0)
}

/** Mostly a turn of the event loop, in which both ends have their say. */
export async function pause(random: () => number): Promise<void> {
  if (random() < 0.02) await setTimeout(random() * 3)
  else await setImmediate()
}
