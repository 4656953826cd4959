import type { Stream } from './stream.js'

/** Slots: as many streams as a connection has by default. */
const SLOTS = 128

/**
 * The open streams of an h2 connection, by identifier. Those count up by two (RFC 9113 section 5.1.1), so that nearly every one has a
 * slot of its own; one whose slot is taken goes to a map. A map alone would cost 500 instructions a request.
 */
export class StreamTable {
  private readonly slots = new Array<Stream | undefined>(SLOTS).fill(undefined)
  private readonly others = new Map<number, Stream>()

  get(id: number): Stream | undefined {
    const stream = this.slots[(id >>> 1) % SLOTS]
    return stream !== undefined && stream.id === id ? stream : this.others.size === 0 ? undefined : this.others.get(id)
  }

  add(stream: Stream): void {
    const slot = (stream.id >>> 1) % SLOTS
    if (this.slots[slot] === undefined) this.slots[slot] = stream
    else this.others.set(stream.id, stream)
  }

  delete(stream: Stream): void {
    const slot = (stream.id >>> 1) % SLOTS
    if (this.slots[slot] === stream) this.slots[slot] = undefined
    else this.others.delete(stream.id)
  }

  all(): Stream[] {
    return [...this.slots.filter((stream) => stream !== undefined), ...this.others.values()]
  }
}
