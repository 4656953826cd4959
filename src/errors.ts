import type * as contract from '../index.js'
import type { CODES } from './layout.js'

export type Side = 'peer' | 'local' | 'io'
export type Code = (typeof CODES)[number]

/** Who is at fault of a code that is none of ours. */
const OTHER: readonly [Side, null] = ['local', null]

/** Who is at fault, and the status that answers it best. */
const FAULTS: Record<Code, readonly [Side, number | null]> = {
  ERR_KEY_USED: ['local', null],
  ERR_KEY_UNKNOWN: ['local', null],
  ERR_NOT_UPGRADABLE: ['local', null],
  ERR_BODY_IN_USE: ['local', null],
  ERR_INVALID_HEADER: ['local', null],
  ERR_INVALID_STATUS: ['local', null],
  ERR_BODY_LENGTH_MISMATCH: ['local', null],
  ERR_INVALID_OPTION: ['local', null],
  ERR_CLOSED: ['local', null],
  ERR_ADDRESS_IN_USE: ['local', null],
  ERR_TLS_CONFIG: ['local', null],
  ERR_PEER_CLOSED: ['peer', null],
  ERR_PEER_RESET: ['peer', null],
  ERR_BODY_TOO_LARGE: ['peer', 413],
  ERR_BODY_TIMEOUT: ['peer', 408],
  ERR_WRITE_STALLED: ['peer', null],
  ERR_PROTOCOL: ['peer', 400],
  ERR_IO: ['io', null],
}

export class PullError extends Error implements contract.PullError {
  readonly code: string
  readonly side: Side
  readonly status: number | null

  constructor(code: Code = 'ERR_IO', message = '', options?: ErrorOptions) {
    super(message, options)
    this.code = code
    ;[this.side, this.status] = Object.hasOwn(FAULTS, code) ? FAULTS[code] : OTHER
  }

  static {
    // On the prototype, where node:fs and the language keep it: no own property for each error.
    Object.defineProperty(this.prototype, 'name', { value: 'PullError', writable: true, configurable: true })
  }
}

/** What a native call threw, as one of ours. */
export function fromNative(error: unknown): PullError {
  const { code, message } = error as { code?: string; message?: string }
  const known = code !== undefined && Object.hasOwn(FAULTS, code)
  return new PullError(known ? (code as Code) : 'ERR_IO', message ?? String(error), { cause: error })
}

/** Is it told only to those who look? See the rules at the top of index.d.ts. */
export function isQuiet(error: unknown): boolean {
  return error instanceof PullError && (error.side !== 'local' || error.code === 'ERR_CLOSED')
}

export function rethrow(error: unknown): never {
  throw error
}

const ignore = (): void => {}

/** Call before `promise` is rejected with `error`: what the peer did must not end a process that did not look. */
export function hush(promise: Promise<unknown>, error: unknown): void {
  if (isQuiet(error)) promise.catch(ignore)
}

/** A promise rejected with `error`. */
export function refused(error: unknown): Promise<never> {
  const promise = Promise.reject(error)
  hush(promise, error)
  return promise
}

/** The same outcome as `inner`'s, hushed: for what an async function makes. */
export function settle<T>(inner: Promise<T>): Promise<T> {
  const outer = new Promise<T>((resolve, reject) => {
    inner.then(resolve, (error: unknown) => {
      hush(outer, error)
      reject(error)
    })
  })
  return outer
}
