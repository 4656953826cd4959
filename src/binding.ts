// The only importer of the generated binding. The interfaces below are docs/crossing.md's native surface.

import * as native from '../binding.js'

export interface NativeListenOptions {
  host: string
  port: number
  path: string | null
  backlog: number
  reusePort: boolean
  ioThreads: number
  protocols: number
  extendedConnect: boolean
  readAheadConnections: number
  readAheadRequests: number
  limits: number[]
  timeouts: number[]
}

export interface LoopMemory {
  events: Uint32Array
  eventBytes: Uint8Array
  commands: Uint32Array
  commandBytes: Uint8Array
  stats: Float64Array
}

export interface NativeLoop {
  take(): number
  blobs(): Uint8Array[] | null
  submit(records: number, bytes: number, blobs: Uint8Array[] | null): boolean
}

export interface NativeListener {
  readonly address: string
  start(index: number, memory: LoopMemory, now: number, doorbell: () => void): NativeLoop
  ref(): void
  unref(): void
  stop(): void
}

interface Binding {
  NativeListener: new (options: NativeListenOptions) => NativeListener
}

export const { NativeListener }: Binding = native
