import { availableParallelism } from 'node:os'
import { inspect } from 'node:util'

import type * as contract from '../index.js'
import type { NativeListenOptions } from './binding.js'
import { PullError } from './errors.js'

/** What `listen` was told, checked and complete. */
export interface Settings {
  readonly limits: contract.Limits
  readonly readAheadConnections: number
  readonly readAheadRequests: number
  readonly signal: AbortSignal | null
  readonly native: NativeListenOptions
}

/** A whole number: its default, and the least and the most it may be. */
type Range = readonly [fallback: number, least: number, most: number]

const MAX_INT = 2 ** 31 - 1
const KIB = 1 << 10
const MIB = 1 << 20

/** `limits.requestsInFlight`, by whichever name. */
export const REQUESTS: Range = [Infinity, 1, Infinity]

/** In the order of the native side. The reasons of the defaults are told in index.d.ts. */
const LIMITS: Record<keyof contract.Limits, Range> = {
  connections: [65_536, 1, Infinity],
  requestsInFlight: REQUESTS,
  requestsPerConnection: [Infinity, 1, Infinity],
  headerBytes: [16 * KIB, KIB, MIB],
  headerCount: [100, 1, 1000],
  targetBytes: [8 * KIB, 1, 65_534],
  bodyBytes: [128 * MIB, 0, Infinity],
  concurrentStreams: [128, 1, MAX_INT],
  bufferedBytes: [MIB, 64 * KIB, MAX_INT],
  pendingWriteBytes: [MIB, 1, Infinity],
}

const TIMEOUTS: Record<keyof contract.Timeouts, Range> = {
  handshake: [10_000, 0, MAX_INT],
  headers: [30_000, 0, MAX_INT],
  bodyIdle: [30_000, 0, MAX_INT],
  keepAliveIdle: [65_000, 0, MAX_INT],
  writeStall: [60_000, 0, MAX_INT],
  connectionAge: [0, 0, MAX_INT],
  h2Ping: [30_000, 0, MAX_INT],
}

const READ_AHEAD: Record<'connections' | 'requests', Range> = {
  connections: [64, 0, 65_535],
  requests: [1, 0, 1],
}

const NUMBERS = {
  port: [0, 0, 65_535],
  backlog: [511, 1, 65_535],
  ioThreads: [availableParallelism() > 2 ? 2 : 1, 0, 64],
} satisfies Record<string, Range>

export const OPTIONS = [
  'port',
  'host',
  'path',
  'fd',
  'backlog',
  'reusePort',
  'ioThreads',
  'protocols',
  'tls',
  'proxyProtocol',
  'readAhead',
  'limits',
  'timeouts',
  'extendedConnect',
  'halfClose',
  'signal',
] as const satisfies (keyof contract.ListenOptions)[]

const PROTOCOLS = ['http/1.1', 'h2']

/** Checks every option and fills in the defaults. Throws ERR_INVALID_OPTION. */
export function checkListenOptions(options: contract.ListenOptions): Settings {
  onlyKnown('options', options, OPTIONS)
  notYet(options)
  const { host = '127.0.0.1', path, protocols = PROTOCOLS, signal } = options
  if (typeof host !== 'string' || host === '') throw invalid('host', 'a name or an address', host)
  if (path !== undefined && (typeof path !== 'string' || path === '' || path.includes('\0'))) throw invalid('path', 'the path of a socket', path)
  if (path !== undefined && (options.port !== undefined || options.host !== undefined))
    throw new PullError('ERR_INVALID_OPTION', `'path' stands instead of 'host' and 'port': not both`)
  if (!Array.isArray(protocols) || protocols.length === 0 || !protocols.every((name) => PROTOCOLS.includes(name)))
    throw invalid('protocols', `a list of 'http/1.1' and 'h2'`, protocols)
  if (signal !== undefined && !(signal instanceof AbortSignal)) throw invalid('signal', 'an AbortSignal', signal)

  const limits = numbers('limits', LIMITS, options.limits)
  // Who writes waits in JavaScript.
  const { pendingWriteBytes: _, ...nativeLimits } = limits
  const timeouts = numbers('timeouts', TIMEOUTS, options.timeouts)
  const readAhead = numbers('readAhead', READ_AHEAD, options.readAhead)
  // What was read ahead and is not pulled would have a place that those who pull wait for.
  const readAheadRequests = limits.requestsInFlight === Infinity ? readAhead.requests : 0
  const [http1, http2] = PROTOCOLS.map((name) => protocols.includes(name))
  return {
    limits,
    readAheadConnections: readAhead.connections,
    readAheadRequests,
    signal: signal ?? null,
    native: {
      host,
      port: number('port', NUMBERS.port, options.port),
      path: path ?? null,
      backlog: number('backlog', NUMBERS.backlog, options.backlog),
      reusePort: boolean('reusePort', false, options.reusePort),
      ioThreads: number('ioThreads', NUMBERS.ioThreads, options.ioThreads),
      protocols: http1 && http2 ? 0 : http1 ? 1 : 2,
      extendedConnect: boolean('extendedConnect', true, options.extendedConnect),
      halfClose: boolean('halfClose', true, options.halfClose),
      readAheadConnections: readAhead.connections,
      readAheadRequests,
      limits: Object.values(nativeLimits),
      timeouts: Object.values(timeouts),
    },
  }
}

/** What the contract has and this version has not. */
function notYet(options: contract.ListenOptions): void {
  for (const name of ['tls', 'fd'] as const)
    if (options[name] !== undefined) throw new PullError('ERR_INVALID_OPTION', `'${name}' is not supported yet`)
  const { proxyProtocol = 'off' } = options
  if (proxyProtocol !== 'off') throw new PullError('ERR_INVALID_OPTION', `'proxyProtocol' other than 'off' is not supported yet`)
}

function numbers<K extends string>(group: string, ranges: Record<K, Range>, given: { [Name in K]?: number | undefined } = {}): Record<K, number> {
  const names = Object.keys(ranges) as K[]
  onlyKnown(group, given, names)
  return Object.fromEntries(names.map((name) => [name, number(`${group}.${name}`, ranges[name], given[name])])) as Record<K, number>
}

export function number(name: string, [fallback, least, most]: Range, given: number | undefined): number {
  if (given === undefined) return fallback
  const whole = Number.isInteger(given) || (given === Infinity && most === Infinity)
  if (!whole || given < least || given > most) throw invalid(name, `a whole number from ${least} to ${most}`, given)
  return given
}

function boolean(name: string, fallback: boolean, given: boolean | undefined): boolean {
  if (given === undefined) return fallback
  if (typeof given !== 'boolean') throw invalid(name, 'true or false', given)
  return given
}

/** Names a misspelt option, and the one that was meant. */
export function onlyKnown(group: string, given: object, names: readonly string[]): void {
  if (typeof given !== 'object' || given === null) throw invalid(group, 'an object', given)
  for (const name of Object.keys(given)) {
    if (names.includes(name)) continue
    const prefix = group === 'options' ? '' : `${group}.`
    const [nearest] = names.map((known) => ({ known, far: distance(name.toLowerCase(), known.toLowerCase()) })).sort((a, b) => a.far - b.far)
    const hint = nearest.far <= Math.max(2, name.length / 3) ? `did you mean '${prefix}${nearest.known}'?` : `known are ${names.join(', ')}`
    throw new PullError('ERR_INVALID_OPTION', `unknown option '${prefix}${name}', ${hint}`)
  }
}

export function invalid(name: string, wanted: string, given: unknown): PullError {
  return new PullError('ERR_INVALID_OPTION', `'${name}' must be ${wanted}, not ${inspect(given, { depth: 0 })}`)
}

/** Edits between two words (Levenshtein). */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) next[j] = Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1))
    row = next
  }
  return row[b.length]
}
