// Child processes for the tests: programs of this repository, and the tools they are tried with.
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { ExecutionContext } from 'ava'

export const root = fileURLToPath(new URL('..', import.meta.url))

export interface Ended {
  code: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
}

export interface Program {
  readonly child: ChildProcess
  /** Resolves with the match when the program has printed it, rejects when it ends before. */
  printed(pattern: RegExp): Promise<RegExpExecArray>
  readonly ended: Promise<Ended>
  /** What it has printed so far. */
  stdout(): string
}

type Teardown = Pick<ExecutionContext, 'teardown'>

/** Starts `node file` with the TypeScript loader; it is killed when the test ends. */
export function program(t: Teardown, file: string, env: Record<string, string> = {}, flags: string[] = []): Program {
  return command(t, process.execPath, ['--import', '@oxc-node/core/register', ...flags, file], env)
}

/** Starts any command; it is killed when the test ends. */
export function command(t: Teardown, file: string, args: string[], env: Record<string, string> = {}): Program {
  const started = start(file, args, env)
  t.teardown(() => started.child.kill('SIGKILL'))
  return started
}

/** The port that a program prints when it listens. */
export async function portPrinted(started: Program): Promise<number> {
  return Number((await started.printed(/http:\/\/127\.0\.0\.1:(\d+)/))[1])
}

/** Runs a tool to its end. One that is not installed fails the test by name. */
export async function tool(command: string, args: string[]): Promise<Ended> {
  const started = start(command, args, {})
  started.child.stdin?.end()
  return await started.ended
}

function start(command: string, args: string[], env: Record<string, string>): Program {
  // scripts/asan.js preloads a sanitizer into our programs; other people's need not bear it.
  const { LD_PRELOAD, ...inherited } = process.env
  const preloaded = command === process.execPath && LD_PRELOAD !== undefined ? { LD_PRELOAD } : {}
  const child = spawn(command, args, { cwd: root, env: { ...inherited, ...preloaded, ...env }, stdio: ['pipe', 'pipe', 'pipe'] })
  let stdout = ''
  let stderr = ''
  let look = () => {}
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
    look()
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  let over = false
  const ended = new Promise<Ended>((resolve, reject) => {
    child.once('error', (error: NodeJS.ErrnoException) => {
      over = true
      look()
      reject(error.code === 'ENOENT' ? new Error(`${command} is not installed; .ci/run installs what the tests need`) : error)
    })
    child.once('close', (code, signal) => {
      over = true
      look()
      resolve({ code, signal, stdout, stderr })
    })
  })
  ended.catch(() => {}) // told by whoever awaits it
  const printed = (pattern: RegExp) =>
    new Promise<RegExpExecArray>((resolve, reject) => {
      const previous = look
      look = () => {
        previous()
        const match = pattern.exec(stdout)
        if (match) resolve(match)
        else if (over) reject(new Error(`${args.at(-1)} ended before it printed ${pattern}: ${stdout}${stderr}`))
      }
      look()
    })
  return { child, printed, ended, stdout: () => stdout }
}
