import { hush } from './errors.js'

interface Pull<T> {
  readonly promise: Promise<T | null>
  resolve(item: T | null): void
  reject(fault: unknown): void
}

/** What was delivered and not yet pulled, or the pulls that wait for it: never both. Pulls are served in order. */
export class PullQueue<T> {
  private ready: T[] = []
  private pulls: Pull<T>[] = []
  private ended = false

  /** How many pulls wait. */
  get waiting(): number {
    return this.pulls.length
  }

  /** Hands `item` to the oldest pull, or keeps it: then false. */
  offer(item: T): boolean {
    const pull = this.pulls.shift()
    if (pull === undefined) this.ready.push(item)
    else pull.resolve(item)
    return pull !== undefined
  }

  /** What was delivered, if anything was. */
  take(): T | undefined {
    return this.ready.shift()
  }

  /** The next item to be delivered, or null when there will be none. Only when there is nothing to take. */
  next(): Promise<T | null> {
    if (this.ended) return Promise.resolve(null)
    let resolve!: (item: T | null) => void
    let reject!: (fault: unknown) => void
    const promise = new Promise<T | null>((...settle) => ([resolve, reject] = settle))
    this.pulls.push({ promise, resolve, reject })
    return promise
  }

  /** Nothing more will come. The oldest pull is told `fault`, if there is one: then true. */
  end(fault: unknown = null): boolean {
    this.ended = true
    const pulls = this.pulls.splice(0)
    const told = fault === null ? undefined : pulls.shift()
    if (told !== undefined) {
      hush(told.promise, fault)
      told.reject(fault)
    }
    for (const pull of pulls) pull.resolve(null)
    return told !== undefined
  }

  /** Takes back what was delivered and not pulled: one item, or all. */
  remove(item: T): void {
    const index = this.ready.indexOf(item)
    if (index !== -1) this.ready.splice(index, 1)
  }

  drop(): T[] {
    return this.ready.splice(0)
  }
}

/** An async iterator over pulls. It holds nothing: leaving the loop leaves the rest to be pulled. */
export class PullIterator<T> implements AsyncIterableIterator<T> {
  /** `pull` gives the next item, now or later, or null at the end. */
  constructor(private readonly pull: (give: (item: T | null) => void, fail: (fault: unknown) => void) => void) {}

  next(): Promise<IteratorResult<T>> {
    return new Promise((resolve, reject) => this.pull((item) => resolve(item === null ? { done: true, value: undefined } : { done: false, value: item }), reject))
  }

  return(): Promise<IteratorResult<T>> {
    return Promise.resolve({ done: true, value: undefined })
  }

  [Symbol.asyncIterator](): this {
    return this
  }
}
