import type * as contract from '../index.js'
import { PullError } from './errors.js'

const DEFAULT_DEADLINE = 30_000
/** A longer delay is not a timer's: setTimeout would fire at once. */
const LONGEST_TIMER = 2 ** 31 - 1

/** Calls `expire` once, at the deadline of a drain or when its signal is aborted. Gives the function that calls it off. */
export function armDeadline({ deadlineMs = DEFAULT_DEADLINE, signal }: contract.DrainOptions, expire: () => void): () => void {
  if (typeof deadlineMs !== 'number' || !(deadlineMs >= 0)) throw new PullError('ERR_INVALID_OPTION', `'deadlineMs' must be a number of milliseconds, not ${String(deadlineMs)}`)
  const timer = deadlineMs <= LONGEST_TIMER ? setTimeout(() => fire(), deadlineMs) : undefined
  const disarm = (): void => {
    clearTimeout(timer)
    signal?.removeEventListener('abort', fire)
  }
  const fire = (): void => {
    disarm()
    expire()
  }
  if (signal?.aborted) fire()
  else signal?.addEventListener('abort', fire)
  return disarm
}
