// What start, build and test have in common: install what is missing, build what is older than its sources.
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, statSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('..', import.meta.url))
export const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm'
/** The tests that run without an I/O thread, too: all but those that measure or have threads of their own. */
export const threadless = ['__test__/{2,3,4,5,6}*', '__test__/{70,71,72,74,75,77,78,79,80,81,83.half,84,86,87,88}*']
const at = (path) => join(root, path)
const native = /^hyperpull\..*\.node$/

/** Runs a command in the repository; throws when it fails. */
export function run(command, ...args) {
  const { status, signal, error } = spawnSync(command, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'], shell: command.endsWith('.cmd') })
  if (error) throw new Error(`${command} could not be run: ${error.message}`)
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${signal ?? status}`)
}

/** When node_modules is missing or older than the lock file. Not `npm ci`: it refuses a lock file without the optional packages of other platforms, which not every registry has. */
export function install() {
  if (newest('node_modules/.package-lock.json') < newest('package-lock.json') || !existsSync(at('node_modules'))) run(npm, 'install', '--no-audit', '--no-fund')
}

/** The addon and the facade; `onlyStale` leaves out what is newer than its sources. */
export function build({ onlyStale = false } = {}) {
  const addon = () => readdirSync(root).filter((name) => native.test(name))
  const nativeSources = newest('crates', 'Cargo.toml', 'Cargo.lock', 'package.json')
  if (!onlyStale || addon().length === 0 || oldest(...addon(), 'binding.js') < nativeSources) {
    run(npm, 'run', 'build:native')
    touch(...addon(), 'binding.js')
  }
  if (!onlyStale || oldest('dist/index.js') < newest('src', 'tsconfig.json', 'index.d.ts')) {
    run(npm, 'run', 'build:ts')
    touch('dist/index.js')
  }
}

/** The latest change of these files, and of all that lies in these folders; 0 when there is none. */
function newest(...paths) {
  let latest = 0
  for (const path of paths) {
    if (!existsSync(at(path))) continue
    const stat = statSync(at(path))
    latest = Math.max(latest, stat.isDirectory() ? newest(...readdirSync(at(path)).filter((name) => name !== 'target').map((name) => join(path, name))) : stat.mtimeMs)
  }
  return latest
}

/** The earliest change of these files; 0 when one is missing. */
function oldest(...paths) {
  return Math.min(...paths.map((path) => (existsSync(at(path)) ? statSync(at(path)).mtimeMs : 0)))
}

/** A compiler that had nothing to do leaves the old time. */
function touch(...paths) {
  for (const path of paths) utimesSync(at(path), new Date(), new Date())
}
