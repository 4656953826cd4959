// The clients of the soak. Each kind does one thing over and over until it is told to stop.
import { once } from 'node:events'
import http from 'node:http'
import http2 from 'node:http2'
import net from 'node:net'
import type { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'

const MIB = 1 << 20
const HEAD = 'HTTP/1.1\r\nhost: soak\r\n'

export class Traffic {
  stopped = false
  /** Exchanges that were begun, and those whose answer was not whole though nobody abandoned them. */
  requests = 0
  failures = 0
  /** Of small requests on kept connections, in milliseconds, since they were taken last. */
  private latencies: number[] = []
  private readonly running: Promise<void>[] = []
  private readonly agent = new http.Agent({ keepAlive: true })

  constructor(private readonly port: number) {
    const kinds: Array<[number, () => Promise<void>]> = [
      [16, () => this.keptAlive()],
      [2, () => this.short()],
      [2, () => this.multiplexed()],
      [1, () => this.upload()],
      [1, () => this.download()],
      [1, () => this.upgrade()],
      [2, () => this.abandon()],
      [4, () => this.slowReader()],
      [4, () => this.slowWriter()],
    ]
    for (const [count, once] of kinds) for (let i = 0; i < count; i++) this.running.push(this.repeat(once))
  }

  takeLatencies(): number[] {
    const taken = this.latencies
    this.latencies = []
    return taken
  }

  /** Resolves when every client has gone. */
  async stop(): Promise<void> {
    this.stopped = true
    await Promise.all(this.running)
    this.agent.destroy()
  }

  private async repeat(once: () => Promise<void>): Promise<void> {
    while (!this.stopped) {
      try {
        await once()
      } catch (error) {
        if (this.failures++ < 10) console.error(error)
        await sleep(100)
      }
    }
  }

  // ------------------------------------------------------------------------------------------ the kinds

  private async keptAlive(): Promise<void> {
    const started = performance.now()
    await this.request({})
    this.latencies.push(performance.now() - started)
  }

  /** A connection for one request. */
  private short(): Promise<void> {
    return this.request({ agent: false })
  }

  /** A thousand requests, sixteen at a time, on one connection. */
  private async multiplexed(): Promise<void> {
    const session = http2.connect(`http://127.0.0.1:${this.port}`)
    session.on('error', () => {}) // the streams tell it
    let left = 1000
    const worker = async () => {
      while (left-- > 0 && !this.stopped) {
        this.requests++
        await read(session.request({ ':path': '/' }))
      }
    }
    await Promise.all(Array.from({ length: 16 }, worker))
    session.close()
    await once(session, 'close')
  }

  private upload(): Promise<void> {
    return this.request({ method: 'POST' }, Buffer.alloc(MIB))
  }

  private download(): Promise<void> {
    return this.request({ path: `/download?${MIB}` })
  }

  /** Sixteen messages there and back. */
  private async upgrade(): Promise<void> {
    const socket = this.connect(`GET / ${HEAD}connection: upgrade\r\nupgrade: echo\r\n\r\n`)
    const [head] = await once(socket, 'data')
    if (!String(head).startsWith('HTTP/1.1 101')) throw new Error(String(head))
    for (let i = 0; i < 16; i++) {
      socket.write('message')
      await once(socket, 'data')
    }
    socket.end()
    await once(socket, 'close')
  }

  /** Leaves in the middle: of an upload, of a download, of a stream. */
  private async abandon(): Promise<void> {
    for (const head of [`POST / ${HEAD}content-length: ${MIB}\r\n\r\nhalf of it`, `GET /download?${MIB} ${HEAD}\r\n`]) {
      const socket = this.connect(head)
      await Promise.race([once(socket, 'data'), sleep(20)])
      socket.resetAndDestroy()
    }
    const session = http2.connect(`http://127.0.0.1:${this.port}`)
    session.on('error', () => {}) // it is what this is about
    for (let i = 0; i < 8; i++) {
      this.requests++
      const stream = session.request({ ':path': `/download?${MIB}` }).on('error', () => {})
      await once(stream, 'response')
      stream.close(http2.constants.NGHTTP2_CANCEL)
      await once(stream, 'close')
    }
    session.destroy()
  }

  /** Takes 4 KiB every 20 ms. */
  private async slowReader(): Promise<void> {
    const socket = this.connect(`GET /download?${MIB} ${HEAD}connection: close\r\n\r\n`)
    for (let left = 50; left > 0 && !this.stopped; left--) {
      await sleep(20)
      socket.read(4 << 10)
    }
    socket.resetAndDestroy()
  }

  /** Says its head and its body byte by byte. */
  private async slowWriter(): Promise<void> {
    const socket = this.connect('')
    for (const byte of `POST / ${HEAD}connection: close\r\ncontent-length: 8\r\n\r\n8 bytes.`) {
      socket.write(byte)
      await sleep(10)
    }
    await read(socket)
  }

  // ------------------------------------------------------------------------------------------ their means

  private async request(options: http.RequestOptions, body?: Buffer): Promise<void> {
    this.requests++
    const request = http.request({ host: '127.0.0.1', port: this.port, agent: this.agent, ...options })
    request.end(body)
    const [response] = (await once(request, 'response')) as [http.IncomingMessage]
    await read(response)
    if (response.statusCode !== 200) throw new Error(`answered ${response.statusCode}`)
  }

  private connect(head: string): net.Socket {
    this.requests++
    const socket = net.connect({ port: this.port, host: '127.0.0.1', noDelay: true })
    socket.on('error', () => {}) // who waits for its data is told
    if (head !== '') socket.write(head)
    return socket
  }
}

/** To its end, which must come. */
async function read(stream: Readable): Promise<void> {
  for await (const _ of stream);
}
