// A client that says exactly the HTTP/2 frames it is told to (RFC 9113 section 4), and hears the frames that come.
import { once } from 'node:events'
import net from 'node:net'

export const DATA = 0
export const HEADERS = 1
export const PRIORITY = 2
export const RST_STREAM = 3
export const SETTINGS = 4
export const PING = 6
export const GOAWAY = 7
export const WINDOW_UPDATE = 8
export const CONTINUATION = 9
/** RFC 9218 section 7.1. */
export const PRIORITY_UPDATE = 16

export const END_STREAM = 1
export const ACK = 1
export const END_HEADERS = 4
export const PADDED = 8
export const PRIORITY_FLAG = 32

export const NO_ERROR = 0
export const PROTOCOL_ERROR = 1
export const FLOW_CONTROL_ERROR = 3
export const REFUSED_STREAM = 7
export const CANCEL = 8
export const COMPRESSION_ERROR = 9
export const ENHANCE_YOUR_CALM = 11

export const ENABLE_PUSH = 2
export const INITIAL_WINDOW_SIZE = 4

export interface Frame {
  type: number
  flags: number
  stream: number
  payload: Buffer
}

const NOTHING = Buffer.alloc(0)

export function frame(type: number, flags: number, stream: number, payload: Uint8Array = NOTHING): Buffer {
  const bytes = Buffer.alloc(9 + payload.length)
  bytes.writeUIntBE(payload.length, 0, 3)
  bytes[3] = type
  bytes[4] = flags
  bytes.writeUInt32BE(stream, 5)
  bytes.set(payload, 9)
  return bytes
}

export function u32(...values: number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4)
  for (const [i, value] of values.entries()) bytes.writeUInt32BE(value >>> 0, i * 4)
  return bytes
}

export function settings(values: Record<number, number> = {}): Buffer {
  const entries = Object.entries(values).map(([id, value]) => Buffer.concat([Buffer.from([0, Number(id)]), u32(value)]))
  return frame(SETTINGS, 0, 0, Buffer.concat(entries))
}

export const reset = (stream: number, code = CANCEL) => frame(RST_STREAM, 0, stream, u32(code))
export const windowUpdate = (stream: number, more: number) => frame(WINDOW_UPDATE, 0, stream, u32(more))
export const data = (stream: number, payload: Uint8Array | string, end = false) =>
  frame(DATA, end ? END_STREAM : 0, stream, typeof payload === 'string' ? Buffer.from(payload) : payload)

/** A field as HPACK has it (RFC 7541 section 6.2): a literal without Huffman coding, `indexed` into the dynamic table or not. */
export function field(name: string, value: string, indexed = false): Buffer {
  return Buffer.concat([Buffer.from([indexed ? 0x40 : 0]), text(name), text(value)])
}

function text(value: string): Buffer {
  const length = [Math.min(value.length, 127)]
  if (value.length >= 127) {
    let left = value.length - 127
    for (; left >= 128; left >>>= 7) length.push((left & 127) | 128)
    length.push(left)
  }
  return Buffer.concat([Buffer.from(length), Buffer.from(value, 'latin1')])
}

/** The header block of a request. */
export function block(method: string, path: string, ...more: Uint8Array[]): Buffer {
  const fields = [field(':method', method), field(':scheme', 'http'), field(':path', path), field(':authority', 'a')]
  return Buffer.concat([...fields, ...more])
}

export const get = (stream: number, path: string) => frame(HEADERS, END_HEADERS | END_STREAM, stream, block('GET', path))
/** A request whose body is still to come. */
export const post = (stream: number, path: string) => frame(HEADERS, END_HEADERS, stream, block('POST', path))

/** A header block in a HEADERS frame and as many CONTINUATION frames as it needs. */
export function headers(stream: number, bytes: Buffer, flags = END_STREAM, piece = 16_384): Buffer {
  const frames: Buffer[] = []
  for (let at = 0; at < bytes.length; at += piece) {
    const last = at + piece >= bytes.length ? END_HEADERS : 0
    frames.push(frame(at === 0 ? HEADERS : CONTINUATION, at === 0 ? flags | last : last, stream, bytes.subarray(at, at + piece)))
  }
  return Buffer.concat(frames)
}

/** The status of a response's header block, which comes first in it: indexed (RFC 7541 appendix A), or a literal. */
export function statusOf({ payload }: Frame): number {
  const first = payload[0]!
  if (first & 0x80) return [200, 204, 206, 304, 400, 404, 500][(first & 0x7f) - 8] ?? 0
  const length = payload[1]! & 0x7f
  const value = payload.subarray(2, 2 + length)
  return Number(payload[1]! & 0x80 ? digits(value) : value.toString('latin1'))
}

/** Huffman coding of digits (RFC 7541 appendix B): 0 to 2 have five bits, 3 to 9 have six. */
function digits(bytes: Uint8Array): string {
  let bits = Array.from(bytes, (byte) => byte.toString(2).padStart(8, '0')).join('')
  let decoded = ''
  for (;;) {
    const short = Number.parseInt(bits.slice(0, 5), 2)
    const long = Number.parseInt(bits.slice(0, 6), 2)
    if (bits.length >= 5 && short <= 2) {
      decoded += short
      bits = bits.slice(5)
    } else if (bits.length >= 6 && long >= 0x19 && long <= 0x1f) {
      decoded += long - 0x16
      bits = bits.slice(6)
    } else {
      return decoded
    }
  }
}

export interface Manners {
  settings?: Record<number, number>
  /** Nothing that comes is read, until `listen` is called. */
  deaf?: boolean
  /** PINGs of the server are not answered. */
  mute?: boolean
}

export class FrameClient {
  readonly socket: net.Socket
  /** Its own. */
  readonly port: number
  /** All that has come, but for the payload of DATA. */
  readonly frames: Frame[] = []
  /** Bytes of DATA that have come. */
  dataBytes = 0
  /** Resolves when the server has ended the connection, one way or another, or has said GOAWAY with an error. */
  readonly cut: Promise<void>
  isCut = false
  /** The code of the server's last GOAWAY. It may be lost when what was written after it met a closed socket. */
  goAway: number | null = null
  #bytes: Buffer[] = []
  #length = 0
  #looks = new Set<() => void>()
  #pings = 0
  readonly #mute: boolean

  private constructor(socket: net.Socket, { mute = false }: Manners) {
    this.socket = socket
    this.#mute = mute
    this.port = socket.localPort ?? 0
    this.cut = new Promise((resolve) => {
      this.#over = () => {
        this.isCut = true
        resolve()
        this.#look()
      }
      for (const event of ['end', 'error', 'close']) socket.on(event, () => this.#over())
    })
  }

  #over: () => void = () => {}

  /** Connects, and says the preface and SETTINGS. Unless it is deaf, the server's SETTINGS are in force when this resolves. */
  static async connect(port: number, manners: Manners = {}): Promise<FrameClient> {
    const socket = net.connect({ host: '127.0.0.1', port, noDelay: true })
    await once(socket, 'connect')
    const client = new FrameClient(socket, manners)
    await client.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', settings(manners.settings))
    if (manners.deaf) return client
    client.listen()
    await client.first(({ type, flags }) => type === SETTINGS && !(flags & ACK))
    if (!(await client.ping())) throw new Error('the connection was cut before it began')
    return client
  }

  /** Begins to read. The server's SETTINGS and PINGs are answered. */
  listen(): void {
    this.socket.on('data', (chunk) => this.#read(chunk))
  }

  /** Resolves when the kernel has taken the bytes, or never will. */
  write(...bytes: Array<string | Uint8Array>): Promise<void> {
    const all = Buffer.concat(bytes.map((part) => (typeof part === 'string' ? Buffer.from(part, 'latin1') : part)))
    return new Promise((resolve) => {
      if (this.isCut || this.socket.destroyed) resolve()
      else this.socket.write(all, () => resolve())
    })
  }

  /** Writes `count` times what `next` gives, in pieces, until the server has cut the connection. How often it was. */
  async flood(count: number, next: (i: number) => Uint8Array, batch = 500): Promise<number> {
    let i = 0
    while (i < count && !this.isCut) {
      const piece: Uint8Array[] = []
      for (let left = Math.min(batch, count - i); left > 0; left--) piece.push(next(i++))
      await this.write(...piece)
    }
    return i
  }

  /** The first frame, of those that have come or will, that fits; null when the connection was cut before. */
  async first(fits: (frame: Frame) => boolean): Promise<Frame | null> {
    for (let seen = 0; ; ) {
      for (; seen < this.frames.length; seen++) if (fits(this.frames[seen]!)) return this.frames[seen]!
      if (this.isCut) return null
      await new Promise<void>((resolve) => this.#looks.add(resolve))
    }
  }

  /** The end of a stream: its last frame, or its RST_STREAM. */
  end(stream: number): Promise<Frame | null> {
    return this.first((f) => f.stream === stream && (f.type === RST_STREAM || (f.type <= HEADERS && (f.flags & END_STREAM) > 0)))
  }

  /** The head of the answer on a stream, or its RST_STREAM. */
  head(stream: number): Promise<Frame | null> {
    return this.first((f) => f.stream === stream && (f.type === RST_STREAM || f.type === HEADERS))
  }

  /** True when the server has read, and answered, all that was said before; false when the connection was cut. */
  async ping(): Promise<boolean> {
    const payload = u32(0x70696e67, ++this.#pings)
    await this.write(frame(PING, 0, 0, payload))
    return (await this.first((f) => f.type === PING && (f.flags & ACK) > 0 && f.payload.equals(payload))) !== null
  }

  count(fits: (frame: Frame) => boolean): number {
    return this.frames.filter(fits).length
  }

  close(): void {
    this.socket.destroy()
  }

  #read(chunk: Buffer): void {
    this.#bytes.push(chunk)
    this.#length += chunk.length
    let all = this.#bytes.length === 1 ? chunk : Buffer.concat(this.#bytes, this.#length)
    for (let length = 0; all.length >= 9 && all.length >= 9 + (length = all.readUIntBE(0, 3)); all = all.subarray(9 + length)) {
      this.#hear({ type: all[3]!, flags: all[4]!, stream: all.readUInt32BE(5) & 0x7fff_ffff, payload: all.subarray(9, 9 + length) })
    }
    this.#bytes = all.length > 0 ? [all] : []
    this.#length = all.length
    this.#look()
  }

  #hear(frame: Frame): void {
    if (frame.type === DATA) {
      this.dataBytes += frame.payload.length
      this.frames.push({ ...frame, payload: NOTHING })
      return
    }
    this.frames.push({ ...frame, payload: Buffer.from(frame.payload) })
    if (frame.type === SETTINGS && !(frame.flags & ACK)) void this.write(acknowledged)
    if (frame.type === PING && !(frame.flags & ACK) && !this.#mute) void this.write(pong(frame.payload))
    if (frame.type === GOAWAY) {
      this.goAway = frame.payload.readUInt32BE(4)
      if (this.goAway !== NO_ERROR) this.#over()
    }
  }

  #look(): void {
    const looks = [...this.#looks]
    this.#looks.clear()
    for (const look of looks) look()
  }
}

const acknowledged = frame(SETTINGS, ACK, 0)
export const pong = (payload: Uint8Array) => frame(PING, ACK, 0, payload)
