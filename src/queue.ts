import { hush } from './errors.js'

type Give<T> = (item: T | null) => void
type Fail = (fault: unknown) => void

/** What can be pulled. */
export interface Pulls<T> {
  /** The next item, if it is there. */
  take(): T | null
  /** After a `take` that gave nothing: gives the next item, now or later, or null at the end. */
  pull(give: Give<T>, fail: Fail): void
}

/** A pull that waits. */
interface Wait<T> {
  readonly give: Give<T>
  readonly fail: Fail
  next: Wait<T> | null
}

/** What was delivered and not yet pulled, or the pulls that wait for it: never both. Pulls are served in order. */
export class PullQueue<T> {
  /** A ring, whose length is a power of two: `count` items from `first` on. */
  private ready = new Array<T | null>(4).fill(null)
  private first = 0
  private count = 0
  private oldest: Wait<T> | null = null
  private newest: Wait<T> | null = null
  /** How many pulls wait. */
  waiting = 0
  private ended = false
  /** What one pull has to be told yet. */
  private fault: unknown = null

  /** Hands `item` to the oldest pull, or keeps it. */
  offer(item: T): void {
    const wait = this.shift()
    if (wait === null) this.keep(item)
    else wait.give(item)
  }

  private shift(): Wait<T> | null {
    const wait = this.oldest
    if (wait === null) return null
    this.oldest = wait.next
    if (this.oldest === null) this.newest = null
    this.waiting--
    return wait
  }

  private keep(item: T): void {
    if (this.count === this.ready.length) this.grow()
    this.ready[(this.first + this.count++) & (this.ready.length - 1)] = item
  }

  private grow(): void {
    const items = this.drop()
    this.ready = new Array<T | null>(2 * items.length).fill(null)
    for (const item of items) this.keep(item)
  }

  /** The next item, if it is there. */
  take(): T | null {
    const { ready, first } = this
    if (this.count === 0) return null
    const item = ready[first]
    ready[first] = null
    this.first = (first + 1) & (ready.length - 1)
    this.count--
    return item
  }

  /** After a `take` that gave nothing. True: the next item has to be waited for. */
  pull(give: Give<T>, fail: Fail): boolean {
    const { fault } = this
    if (fault !== null) {
      this.fault = null
      fail(fault)
    } else if (this.ended) give(null)
    else {
      const wait: Wait<T> = { give, fail, next: null }
      if (this.newest === null) this.oldest = wait
      else this.newest.next = wait
      this.newest = wait
      this.waiting++
      return true
    }
    return false
  }

  /** Nothing more will come. `fault`: what one pull is told of, the oldest that waits or the next to come. */
  end(fault: unknown = null): void {
    this.ended = true
    this.fault = fault
    for (let wait = this.shift(); wait !== null; wait = this.shift()) {
      if (this.fault === null) wait.give(null)
      else {
        this.fault = null
        wait.fail(fault)
      }
    }
  }

  /** Takes back what was delivered and not pulled: one item, or all. */
  remove(item: T): void {
    for (const other of this.drop()) if (other !== item) this.keep(other)
  }

  drop(): T[] {
    const items: T[] = []
    for (let item = this.take(); item !== null; item = this.take()) items.push(item)
    return items
  }
}

/** The promise of one pull. */
export function pulled<T>(from: Pulls<T>): Promise<T | null> {
  const item = from.take()
  if (item !== null) return Promise.resolve(item)
  const promise = new Promise<T | null>((resolve, reject) =>
    from.pull(resolve, (fault) => {
      queueMicrotask(() => hush(promise, fault))
      reject(fault)
    }),
  )
  return promise
}

/** An async iterator over pulls. It holds nothing: leaving the loop leaves the rest to be pulled. */
export class PullIterator<T> implements AsyncIterableIterator<T> {
  constructor(private readonly from: Pulls<T>) {}

  next(): Promise<IteratorResult<T>> {
    const item = this.from.take()
    if (item !== null) return Promise.resolve({ done: false, value: item })
    return new Promise((resolve, reject) =>
      this.from.pull((item) => resolve(item === null ? { done: true, value: undefined } : { done: false, value: item }), reject),
    )
  }

  return(): Promise<IteratorResult<T>> {
    return Promise.resolve({ done: true, value: undefined })
  }

  [Symbol.asyncIterator](): this {
    return this
  }
}
