// A client that says exactly the bytes it is told to, and reads HTTP/1 answers from the wire by its own small parser.
import net from 'node:net'

export interface RawResponse {
  version: string
  status: number
  headers: Array<[name: string, value: string]>
  /** The value of one field, in lower case name; undefined when it is absent. */
  get(name: string): string | undefined
  body: Buffer
  trailers: Array<[name: string, value: string]>
}

export class RawClient {
  readonly socket: net.Socket
  /** How the server ended its side: with FIN or with RST. */
  readonly ended: Promise<'end' | 'reset'>
  #bytes: Buffer = Buffer.alloc(0)
  #over: 'end' | 'reset' | null = null
  #wake: () => void = () => {}

  private constructor(socket: net.Socket) {
    this.socket = socket
    this.ended = new Promise((resolve) => {
      const over = (how: 'end' | 'reset') => {
        this.#over ??= how
        resolve(this.#over)
        this.#wake()
      }
      socket.on('end', () => over('end'))
      socket.on('error', () => over('reset'))
      socket.on('close', () => over('reset'))
    })
    socket.on('data', (chunk) => {
      this.#bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk])
      this.#wake()
    })
  }

  /** `allowHalfOpen`: the client's own side stays open after the server's FIN. */
  static connect(target: number | string, allowHalfOpen = false): Promise<RawClient> {
    return new Promise((resolve, reject) => {
      const where = typeof target === 'number' ? { host: '127.0.0.1', port: target } : { path: target }
      const socket = net.connect({ ...where, allowHalfOpen, noDelay: true }, () => {
        socket.off('error', reject)
        resolve(new RawClient(socket))
      })
      socket.once('error', reject)
    })
  }

  /** Resolves when the kernel has taken the bytes. */
  write(bytes: string | Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      const data = typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes
      this.socket.write(data, (error) => (error ? reject(error) : resolve()))
    })
  }

  /** FIN: this side has nothing more to say. */
  finish(): void {
    this.socket.end()
  }

  /** RST. */
  reset(): void {
    reset(this.socket)
  }

  close(): void {
    this.socket.destroy()
  }

  /** Its own port. */
  get port(): number {
    return this.socket.localPort ?? 0
  }

  /** What has come and was not yet taken. */
  get pending(): string {
    return this.#bytes.toString('latin1')
  }

  /** Everything until the server has ended its side. */
  async rest(): Promise<string> {
    await this.ended
    return this.#take(this.#bytes.length).toString('latin1')
  }

  /** Waits until the bytes hold `text`, and takes all up to its end. */
  async until(text: string): Promise<string> {
    const end = await this.#wait(() => {
      const at = this.#bytes.indexOf(text, 0, 'latin1')
      return at < 0 ? -1 : at + text.length
    })
    return this.#take(end).toString('latin1')
  }

  /** The next response; 1xx responses count as responses of their own. `method`: what it answers. */
  async response(method = 'GET'): Promise<RawResponse> {
    const [first = '', ...lines] = (await this.until('\r\n\r\n')).slice(0, -4).split('\r\n')
    const status = /^HTTP\/(\d\.\d) (\d{3}) ?(.*)$/.exec(first)
    if (!status) throw new Error(`not a status line: ${JSON.stringify(first)}`)
    const headers = fields(lines)
    const get = (name: string) => headers.find(([key]) => key.toLowerCase() === name)?.[1]
    const response: RawResponse = {
      version: status[1]!,
      status: Number(status[2]),
      headers,
      get,
      body: Buffer.alloc(0),
      trailers: [],
    }
    const tunnel = method === 'CONNECT' && response.status < 300
    if (method === 'HEAD' || response.status < 200 || response.status === 204 || response.status === 304 || tunnel) return response
    const length = get('content-length')
    if (get('transfer-encoding') === 'chunked') {
      await this.#chunked(response)
    } else if (length !== undefined) {
      response.body = this.#take(await this.#wait(() => (this.#bytes.length < Number(length) ? -1 : Number(length))))
    } else {
      response.body = Buffer.from(await this.rest(), 'latin1')
    }
    return response
  }

  async #chunked(response: RawResponse): Promise<void> {
    const chunks: Buffer[] = []
    for (;;) {
      const line = (await this.until('\r\n')).slice(0, -2)
      if (!/^[0-9a-f]+$/i.test(line)) throw new Error(`not a chunk size: ${JSON.stringify(line)}`)
      const size = Number.parseInt(line, 16)
      if (size === 0) break
      const chunk = this.#take(await this.#wait(() => (this.#bytes.length < size + 2 ? -1 : size + 2)))
      if (chunk.toString('latin1', size) !== '\r\n') throw new Error('a chunk without its line end')
      chunks.push(chunk.subarray(0, size))
    }
    const trailers: string[] = []
    for (let line = await this.until('\r\n'); line !== '\r\n'; line = await this.until('\r\n')) trailers.push(line.slice(0, -2))
    response.trailers = fields(trailers)
    response.body = Buffer.concat(chunks)
  }

  async #wait(enough: () => number): Promise<number> {
    for (;;) {
      const end = enough()
      if (end >= 0) return end
      if (this.#over) throw new Error(`the connection ended (${this.#over}) after ${JSON.stringify(this.pending.slice(0, 300))}`)
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  #take(end: number): Buffer {
    const taken = this.#bytes.subarray(0, end)
    this.#bytes = this.#bytes.subarray(end)
    return taken
  }
}

/** RST. Only a close when this side has said FIN: net.Socket then fails to reset, and never closes. */
export function reset(socket: net.Socket): void {
  if (socket.writableEnded) socket.destroy()
  else socket.resetAndDestroy()
}

function fields(lines: string[]): Array<[string, string]> {
  return lines.map((line) => {
    const match = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*(.*?)[ \t]*$/.exec(line)
    if (!match) throw new Error(`not a field line: ${JSON.stringify(line)}`)
    return [match[1]!, match[2]!]
  })
}
