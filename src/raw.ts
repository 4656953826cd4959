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

/** Memory to write in: byte by byte, or four bytes at once. */
export class Memory {
  readonly bytes: RawBuffer
  readonly view: DataView
  /** A short ASCII text that may come again, and its bytes. */
  private again = ''
  private readonly againWords = new Uint32Array(SHORT / 4)
  private tries = 0

  constructor(size: number) {
    const buffer = new ArrayBuffer(size)
    this.bytes = Buffer.from(buffer) as RawBuffer
    this.view = new DataView(buffer)
  }

  /** Writes a text as UTF-8 and gives its length. Among short ones many are one and the same: it costs a third of the others. */
  putText(at: number, text: string): number {
    if (text.length > SHORT) return this.bytes.utf8Write(text, at)
    if (text === this.again) {
      const words = (text.length + 3) >> 2
      for (let i = 0; i < words; i++) this.view.setUint32(at + 4 * i, this.againWords[i], true)
      return text.length
    }
    const length = this.putShort(at, text)
    if (++this.tries % TRIES === 0 && length === text.length) {
      this.again = text
      for (let i = 0; i < this.againWords.length; i++) this.againWords[i] = this.view.getUint32(at + 4 * i, true)
    }
    return length
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
