import type * as contract from '../index.js'
import { invalid, onlyKnown } from './options.js'

const DEFAULT_DEADLINE = 30_000
/** A longer delay is not a timer's: setTimeout would fire at once. */
export const LONGEST_TIMER = 2 ** 31 - 1

/** Calls `expire` once, at the deadline of a drain or when its signal is aborted. Gives the function that calls it off. */
export function armDeadline(options: contract.DrainOptions, expire: () => void): () => void {
  onlyKnown('options', options, ['deadlineMs', 'signal'])
  const { deadlineMs = DEFAULT_DEADLINE, signal } = options
  if (typeof deadlineMs !== 'number' || !(deadlineMs >= 0)) throw invalid('deadlineMs', 'a number of milliseconds from 0 to Infinity', deadlineMs)
  if (signal !== undefined && !(signal instanceof AbortSignal)) throw invalid('signal', 'an AbortSignal', signal)
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
