// npm run asan [-- FILE...]: the ava tests with the addon under AddressSanitizer and LeakSanitizer, all of the files below or
// those named. --quick: what `npm test` runs. Linux on x86_64 alone, with gcc for its libasan.
import { execFileSync, spawnSync } from 'node:child_process'
import { copyFileSync, mkdirSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { isAbsolute, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { build, install, root } from './steps.js'

const TARGET = 'x86_64-unknown-linux-gnu'
const folder = join(root, 'target', 'asan')
const logs = join(folder, 'logs')
const addon = join(folder, 'asan.node')
const QUICK = ['10.crossing', '15.contract', '20.listener', '40.send', '41.writer', '60.upgrade', '81.lifetime']
// 76 and 82 are hundreds of thousands of requests, 83 has an addon of its own.
const LEFT_OUT = ['76.h2spec', '82.load', '83.faults']
// A sanitizer keeps what was freed for a while; `npm start` is not of this process tree.
const TESTS_LEFT_OUT = ['!*flat memory*', '!*memory are flat*', '!*npm start*']

if (process.platform !== 'linux' || process.arch !== 'x64') {
  console.log('asan: left out, it needs Linux on x86_64')
  process.exit()
}
const named = process.argv.slice(2).filter((argument) => argument !== '--quick')
const all = readdirSync(join(root, '__test__')).filter((name) => name.endsWith('.spec.ts') && !LEFT_OUT.includes(name.slice(0, -'.spec.ts'.length)))
const files = named.length > 0 ? named : (process.argv.includes('--quick') ? QUICK.map((name) => `${name}.spec.ts`) : all).map((name) => join('__test__', name))

install()
build({ onlyStale: true })
const sanitizer = execFileSync('gcc', ['-print-file-name=libasan.so'], { encoding: 'utf8' }).trim()
if (!isAbsolute(sanitizer)) throw new Error('gcc has no libasan.so: Debian has it in the package libgcc-N-dev')
// The flag is not stable, but what it does is: no other toolchain is needed. Without mimalloc, the sanitizer sees each allocation.
run('cargo', ['build', '--package', 'hyperpull-node', '--no-default-features', '--target', TARGET, '--target-dir', folder], {
  RUSTC_BOOTSTRAP: '1',
  RUSTFLAGS: '-Zsanitizer=address',
})
copyFileSync(join(folder, TARGET, 'debug', 'libhyperpull_node.so'), addon)
rmSync(logs, { recursive: true, force: true })
mkdirSync(logs)

const tests = run('npx', ['ava', ...TESTS_LEFT_OUT.flatMap((title) => ['--match', title]), ...files], {
  HYPERPULL_ADDON: addon,
  NODE_OPTIONS: `--import ${pathToFileURL(join(root, 'scripts', 'with-addon.js'))}`,
  LD_PRELOAD: sanitizer,
  ASAN_OPTIONS: `log_path=${join(logs, 'log')}:stack_trace_format='    #%n %m %f %S'`,
  // Node.js itself does not free everything: what counts is found in the logs.
  LSAN_OPTIONS: 'exitcode=0',
})
const found = readdirSync(logs).flatMap((name) => readFileSync(join(logs, name), 'utf8').split('\n\n').filter(isOurs))
for (const report of found) console.error(`${report}\n`)
console.log(`asan: ${found.length} faults and leaks`)
process.exitCode = tests === 0 && found.length === 0 ? 0 : 1

/** A fault, or a leak of what the addon has allocated, by itself or through Node-API. */
function isOurs(report) {
  if (/ERROR: AddressSanitizer/.test(report)) return true
  if (!/leak of/.test(report)) return false
  // What napi allocates when an environment loads the addon lives until the process ends.
  if (/napi_register_module_v1/.test(report)) return false
  // The box of a class's instance goes with its finalizer, which an object that is alive when its process ends may not get. What the
  // instance owned is let go of by then all the same, and is looked at by itself.
  if (/^Direct leak[^]*CallbackInfo\w*construct/m.test(report)) return false
  const frames = report.split('\n').filter((line) => /^ *#\d/.test(line))
  const first = frames.findIndex((frame) => frame.includes(addon))
  const javascript = frames.findIndex((frame) => frame.includes(process.execPath) && !/ napi_\w+ /.test(frame))
  return first >= 0 && (javascript < 0 || first < javascript)
}

function run(file, args, env) {
  const { status, signal, error } = spawnSync(file, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'], env: { ...process.env, ...env } })
  if (error) throw error
  if (file === 'cargo' && status !== 0) throw new Error(`cargo has ended with ${signal ?? status}`)
  return status
}
