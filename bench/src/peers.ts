// Who is measured: how each server is started, and for what.
import { accessSync, constants, existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { delimiter, dirname, join } from 'node:path'
import { native } from './load/native.ts'

export type Protocol = 'h1' | 'h2'
export type Task = 'hello' | 'json' | 'mebibyte' | 'upload' | 'download' | 'websocket'

export interface Peer {
  readonly name: string
  readonly title: string
  /** Whether its main thread runs JavaScript. */
  readonly script: boolean
  /** Why it cannot be had here. */
  missing(): string | null
  /** The command, or null if it is not made for that. PORT, PROTOCOL and TASK are in its environment. */
  command(task: Task, protocol: Protocol, port: number): readonly string[] | null
  /** What its environment has besides. */
  readonly env?: Readonly<Record<string, string>>
}

const here = join(import.meta.dirname, '..')
const require = createRequire(import.meta.url)

export const peers: readonly Peer[] = [
  node('hyperpull', 'hyperpull', ['h1', 'h2']),
  { ...node('hyperpull', 'hyperpull, ioThreads: 0', ['h1', 'h2']), name: 'hyperpull-0', env: { OPTIONS: '{"ioThreads":0}' } },
  node('hyperpull-serve', 'hyperpull serve()', ['h1', 'h2']),
  node('node-http', 'node:http', ['h1']),
  node('node-http2', 'node:http2', ['h2']),
  node('fastify', 'fastify', ['h1']),
  node('uws', 'uWebSockets.js', ['h1']),
  runtime('deno', 'Deno.serve', '@deno/linux-x64-glibc', 'deno', ['run', '--quiet', '--allow-net', '--allow-env'], ['h1', 'h2']),
  runtime('bun', 'Bun.serve', '@oven/bun-linux-x64', 'bin/bun', [], ['h1']),
  {
    name: 'hyperpull-core',
    title: 'hyperpull, the crate (no JS)',
    script: false,
    missing: () => native.missing('core'),
    command: (task) => (task === 'hello' ? [native.path('core')] : null),
  },
  {
    name: 'hyper',
    title: 'hyper (no JS)',
    script: false,
    missing: () => native.missing('hyper'),
    command: (task) => (task === 'json' || task === 'websocket' ? null : [native.path('hyper')]),
  },
  {
    name: 'nghttpd',
    title: 'nghttpd (no JS)',
    script: false,
    missing: () => (found('nghttpd') ? null : 'no nghttpd in PATH (Debian: nghttp2-server)'),
    command: (task, protocol, port) => (task === 'hello' && protocol === 'h2' ? ['nghttpd', '--no-tls', '-a', '127.0.0.1', '-d', join(here, 'servers', 'files'), `${port}`] : null),
  },
]

/** A program for this Node.js: servers/TASK/NAME.js. */
function node(name: string, title: string, protocols: readonly Protocol[]): Peer {
  return { name, title, script: true, missing: () => null, command: (task, protocol) => script(name, protocols, task, protocol, [process.execPath]) }
}

/** A program for another runtime, which comes as an npm package. */
function runtime(name: string, title: string, from: string, path: string, args: readonly string[], protocols: readonly Protocol[]): Peer {
  const binary = () => {
    try {
      return join(dirname(require.resolve(`${from}/package.json`)), path)
    } catch {
      return null
    }
  }
  return {
    name,
    title,
    script: true,
    missing: () => (binary() ? null : `the package ${from} is not for this platform`),
    command: (task, protocol) => script(name, protocols, task, protocol, [binary() ?? name, ...args]),
  }
}

function script(name: string, protocols: readonly Protocol[], task: Task, protocol: Protocol, run: readonly string[]): readonly string[] | null {
  const path = join(here, 'servers', task, `${name}.js`)
  return protocols.includes(protocol) && existsSync(path) ? [...run, path] : null
}

/** Whether a program is in PATH. */
export function found(program: string): boolean {
  return (process.env.PATH ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}
