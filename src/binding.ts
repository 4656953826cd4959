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
  halfClose: boolean
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
  blobs(): Uint8Array[] | null
  putBlob(bytes: Uint8Array): void
  submit(): void
}

export interface NativeListener {
  readonly address: string
  start(index: number, memory: LoopMemory, now: number, told: (records: number) => void): NativeLoop
  ref(): void
  unref(): void
  stop(): void
}

interface Binding {
  NativeListener: new (options: NativeListenOptions) => NativeListener
}

export const { NativeListener }: Binding = native
