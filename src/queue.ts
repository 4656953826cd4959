import { hush } from './errors.js'

type Give<T> = (item: T | null) => void
type Fail = (fault: unknown) => void
/** Gives the next item, now or later, or null at the end. */
export type Pull<T> = (give: Give<T>, fail: Fail) => void

/** What was delivered and not yet pulled, or the pulls that wait for it: never both. Pulls are served in order. */
export class PullQueue<T> {
  private ready: T[] = []
  private waits: [Give<T>, Fail][] = []
  private ended = false
  /** What one pull has to be told yet. */
  private fault: unknown = null

  /** How many pulls wait. */
  get waiting(): number {
    return this.waits.length
  }

  /** Hands `item` to the oldest pull, or keeps it. */
  offer(item: T): void {
    const first = this.waits.shift()
    if (first === undefined) this.ready.push(item)
    else first[0](item)
  }

  /** Takes the next item. True: it has to be waited for. */
  pull(give: Give<T>, fail: Fail): boolean {
    const { fault } = this
    if (this.ready.length > 0) give(this.ready.shift()!)
    else if (fault !== null) {
      this.fault = null
      fail(fault)
    } else if (this.ended) give(null)
    else {
      this.waits.push([give, fail])
      return true
    }
    return false
  }

  /** Nothing more will come. `fault`: what one pull is told of, the oldest that waits or the next to come. */
  end(fault: unknown = null): void {
    this.ended = true
    this.fault = fault
    for (const [give, fail] of this.waits.splice(0)) {
      if (this.fault === null) give(null)
      else {
        this.fault = null
        fail(fault)
      }
    }
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

/** The promise of one pull. */
export function pulled<T>(pull: Pull<T>): Promise<T | null> {
  const promise = new Promise<T | null>((resolve, reject) =>
    pull(resolve, (fault) => {
      queueMicrotask(() => hush(promise, fault))
      reject(fault)
    }),
  )
  return promise
}

/** An async iterator over pulls. It holds nothing: leaving the loop leaves the rest to be pulled. */
export class PullIterator<T> implements AsyncIterableIterator<T> {
  constructor(private readonly pull: Pull<T>) {}

  next(): Promise<IteratorResult<T>> {
    return new Promise((resolve, reject) =>
      this.pull((item) => resolve(item === null ? { done: true, value: undefined } : { done: false, value: item }), reject),
    )
  }

  return(): Promise<IteratorResult<T>> {
    return Promise.resolve({ done: true, value: undefined })
  }

  [Symbol.asyncIterator](): this {
    return this
  }
}
