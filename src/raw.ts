import { PullError } from './errors.js'

/**
 * Node's Buffer with the methods that write and read one encoding. They are on the prototype in every release, but not in
 * @types/node; `write(string, at, 'latin1')` costs an encoding look-up more.
 */
export interface RawBuffer extends Buffer {
  latin1Slice(start: number, end: number): string
  utf8Slice(this: Uint8Array, start: number, end: number): string
  latin1Write(this: Uint8Array, text: string, at: number): number
  utf8Write(text: string, at: number): number
}

/** Texts up to so many characters are short: a loop over them beats the call of a native writer (850 instructions at 13 bytes). */
const SHORT = 64
/** A short text that is seen once in so many is tried as the one that is sent again and again. */
const TRIES = 16

/** What a text came to when it was written: `length` bytes, eight in each double. Most are two at most, and need no loop. */
export interface Written {
  readonly text: string
  readonly length: number
  readonly first: number
  readonly second: number
  readonly doubles: Float64Array
}

/** Call with bytes that say that they are none. Throws if their memory is gone: what is sent without them would look whole. */
export function checkEmpty(bytes: Uint8Array): void {
  try {
    bytes.at(0)
  } catch {
    throw lostBytes()
  }
}

export function lostBytes(): PullError {
  return new PullError('ERR_BODY_LENGTH_MISMATCH', 'the memory of the bytes was detached, or has shrunk')
}

/** Memory to write in: byte by byte, or several at once. */
export class Memory {
  readonly bytes: RawBuffer
  readonly view: DataView
  /** A short text that may come again. */
  private again: Written = { text: '', length: 0, first: 0, second: 0, doubles: new Float64Array(0) }
  private tries = 0

  constructor(size: number) {
    const buffer = new ArrayBuffer(size)
    this.bytes = Buffer.from(buffer) as RawBuffer
    this.view = new DataView(buffer)
  }

  /** Writes a text as UTF-8 and gives its length. Among short ones many are one and the same: it costs a third of the others. */
  putText(at: number, text: string): number {
    const { again } = this
    if (text === again.text) return this.repeat(at, again)
    if (text.length > SHORT) return this.bytes.utf8Write(text, at)
    const length = this.putShort(at, text)
    if (length > 0 && ++this.tries % TRIES === 0) this.again = this.remember(text, at, length) ?? this.again
    return length
  }

  /** Writes again and gives the length. Up to eight bytes behind it may be changed. */
  repeat(at: number, { length, first, second, doubles }: Written): number {
    const { view } = this
    view.setFloat64(at, first, true)
    if (length > 8) view.setFloat64(at + 8, second, true)
    for (let i = 16; i < length; i += 8) view.setFloat64(at + i, doubles[i >> 3], true)
    return length
  }

  /** What `text` was written as. Null: some of it would be a NaN, whose bits are not sure to be kept; ASCII never is. */
  remember(text: string, at: number, length: number): Written | null {
    const bytes = new Uint8Array((length + 7) & ~7)
    bytes.set(this.bytes.subarray(at, at + length))
    const doubles = new Float64Array(bytes.buffer)
    const [first, second = 0] = doubles
    return doubles.some(Number.isNaN) ? null : { text, length, first, second, doubles }
  }

  /** Writes a short text as UTF-8 and gives its length. Up to three bytes behind it may be changed. */
  putShort(at: number, text: string): number {
    const { view } = this
    const length = text.length
    let all = 0
    let i = 0
    for (; i + 3 < length; i += 4) {
      const a = text.charCodeAt(i)
      const b = text.charCodeAt(i + 1)
      const c = text.charCodeAt(i + 2)
      const d = text.charCodeAt(i + 3)
      all |= a | b | c | d
      view.setUint32(at + i, a | (b << 8) | (c << 16) | (d << 24), true)
    }
    for (; i < length; i++) {
      const a = text.charCodeAt(i)
      all |= a
      view.setUint8(at + i, a)
    }
    return all > 127 ? this.bytes.utf8Write(text, at) : length
  }
}
