import { hush, refused } from './errors.js'

/** What resolves a promise: with a value, or with another promise. */
export type Resolve = (outcome: unknown) => void

/** What can be pulled. */
export interface Pulls {
  /** The promise of the `outcome` of the next item, or of null at the end. */
  pull(iterated: boolean): Promise<unknown>
}

/** What a pull comes to: the item, or null at the end; for an iterator the result that says so. */
export function outcome<T>(item: T | null, iterated: boolean): unknown {
  if (iterated === false) return item
  return item === null ? { done: true, value: undefined } : { done: false, value: item }
}

/** Items in order: a ring, whose length is a power of two, with `count` items from `first` on. */
class Ring<T> {
  private items = new Array<T | null>(4).fill(null)
  private first = 0
  private count = 0

  push(item: T): void {
    if (this.count === this.items.length) this.grow()
    this.items[(this.first + this.count++) & (this.items.length - 1)] = item
  }

  take(): T | null {
    const { items, first } = this
    if (this.count === 0) return null
    const item = items[first]
    items[first] = null
    this.first = (first + 1) & (items.length - 1)
    this.count--
    return item
  }

  private grow(): void {
    const { items, first } = this
    const more = new Array<T | null>(items.length).fill(null)
    this.items = [...items.slice(first), ...items.slice(0, first), ...more]
    this.first = 0
  }
}

/** A pull that waits. */
interface Wait {
  readonly promise: Promise<unknown>
  readonly resolve: Resolve
  readonly iterated: boolean
  next: Wait | null
}

/** What was delivered and not yet pulled, or the pulls that wait for it: never both. Pulls are served in order. */
export class PullQueue<T> {
  /** The next item, and those behind it: a queue that never has two makes no room for more. */
  private head: T | null = null
  private rest: Ring<T> | null = null
  private oldest: Wait | null = null
  private newest: Wait | null = null
  /** How many pulls wait. */
  waiting = 0
  /** Undefined while more may come; else what one pull has to be told yet, or null. */
  private fault: unknown = undefined

  /** Hands `item` to the oldest pull, or keeps it. True: it was handed over. */
  offer(item: T): boolean {
    const wait = this.shift()
    if (wait === null) this.keep(item)
    else wait.resolve(outcome(item, wait.iterated))
    return wait !== null
  }

  private shift(): Wait | null {
    const wait = this.oldest
    if (wait === null) return null
    this.oldest = wait.next
    if (this.oldest === null) this.newest = null
    this.waiting--
    return wait
  }

  private keep(item: T): void {
    if (this.head === null) this.head = item
    else (this.rest ??= new Ring()).push(item)
  }

  /** The next item, if it is there. */
  take(): T | null {
    const { head, rest } = this
    if (head !== null) this.head = rest === null ? null : rest.take()
    return head
  }

  /** Nothing more will come. */
  get ended(): boolean {
    return this.fault !== undefined
  }

  /** After a `take` that gave nothing: as in Pulls. */
  wait(iterated: boolean): Promise<unknown> {
    const { fault } = this
    if (fault === undefined) return this.append(iterated)
    this.fault = null
    return fault === null ? Promise.resolve(outcome(null, iterated)) : refused(fault)
  }

  private append(iterated: boolean): Promise<unknown> {
    let resolve!: Resolve
    const promise = new Promise<unknown>((settle) => (resolve = settle))
    const wait: Wait = { promise, resolve, iterated, next: null }
    if (this.newest === null) this.oldest = wait
    else this.newest.next = wait
    this.newest = wait
    this.waiting++
    return promise
  }

  /** Nothing more will come. `fault`: what one pull is told of, the oldest that waits or the next to come. */
  end(fault: unknown = null): void {
    this.fault = fault
    for (let wait = this.shift(); wait !== null; wait = this.shift()) {
      if (this.fault === null) wait.resolve(outcome(null, wait.iterated))
      else {
        this.fault = null
        hush(wait.promise, fault)
        wait.resolve(refused(fault))
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

/** An async iterator over pulls. It holds nothing: leaving the loop leaves the rest to be pulled. */
export class PullIterator<T> implements AsyncIterableIterator<T> {
  constructor(private readonly from: Pulls) {}

  next(): Promise<IteratorResult<T>> {
    return this.from.pull(true) as Promise<IteratorResult<T>>
  }

  return(): Promise<IteratorResult<T>> {
    return Promise.resolve({ done: true, value: undefined })
  }

  [Symbol.asyncIterator](): this {
    return this
  }
}
