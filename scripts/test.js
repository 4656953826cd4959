// npm test: installs, builds, checks, and runs every test. Its last line is 'N passed, N failed'.
import { spawn } from 'node:child_process'
import { build, install, root, threadless } from './steps.js'

let passed = 0
let failed = 0
const failures = []

process.env.CARGO_TERM_COLOR ??= 'never'
process.env.FORCE_COLOR ??= '0'
process.env.RUSTDOCFLAGS ??= '-D warnings'

await check('install and build', () => {
  install()
  build({ onlyStale: true })
})
if (failed === 0) {
  await command('cargo', 'fmt', '--all', '--check')
  await command('cargo', 'clippy', '--workspace', '--all-targets', '--features', 'hyperpull-node/loom', '--', '-D', 'warnings')
  await command('cargo', 'doc', '-p', 'hyperpull', '--no-deps')
  await command('npx', 'tsc', '-p', 'tsconfig.json', '--noEmit')
  await command('npx', 'tsc', '-p', '__test__/tsconfig.json')
  await command('npx', 'tsc', '-p', 'examples/tsconfig.json')
  await command('npx', 'tsc', '-p', 'scripts/tsconfig.json')
  await command('node', 'scripts/layers.js')
  await suite(cargo, 'cargo', 'test', '--workspace', '--no-fail-fast')
  await suite(cargo, 'cargo', 'test', '--workspace', '--features', 'hyperpull-node/loom', '--lib', 'models')
  await suite(tap, 'npx', 'ava', '--tap', ...process.argv.slice(2))
  // Once more without an I/O thread.
  process.env.IO_THREADS = '0'
  await suite(tap, 'npx', 'ava', '--tap', ...threadless)
  await command('node', 'scripts/asan.js', '__test__/81.lifetime.spec.ts')
  delete process.env.IO_THREADS
  await command('node', 'scripts/asan.js', '--quick')
}

for (const failure of failures) console.log(`failed: ${failure}`)
console.log(`${passed} passed, ${failed} failed`)
process.exitCode = failed === 0 ? 0 : 1

/** One step that throws when it fails. */
async function check(name, step) {
  try {
    await step()
    passed++
  } catch (error) {
    failed++
    failures.push(`${name}: ${error.message}`)
  }
}

function command(...args) {
  return check(args.join(' '), async () => {
    const code = await output(args, () => {})
    if (code !== 0) throw new Error(`exit code ${code}`)
  })
}

/** A runner that counts its own tests: `count` makes [passed, failed] of a line, or null. */
async function suite(count, ...args) {
  const before = { passed, failed }
  const code = await output(args, (line) => {
    const [good, bad] = count(line) ?? [0, 0]
    passed += good
    failed += bad
    if (bad > 0) failures.push(line)
  })
  if (code !== 0 && failed === before.failed) await check(args.join(' '), () => Promise.reject(new Error(`exit code ${code}`)))
  if (passed === before.passed) await check(args.join(' '), () => Promise.reject(new Error('no test passed')))
}

function cargo(line) {
  const sums = /^test result: \w+\. (\d+) passed; (\d+) failed/.exec(line)
  return sums && [Number(sums[1]), Number(sums[2])]
}

function tap(line) {
  const point = /^(not )?ok \d+ - (?!.* # (?:SKIP|TODO))/.exec(line)
  return point && (point[1] ? [0, 1] : [1, 0])
}

/** Runs a command in the repository, prints what it says, tells it by line. */
function output([file, ...args], tell) {
  console.log(`> ${file} ${args.join(' ')}`)
  const child = spawn(file, args, { cwd: root, stdio: ['ignore', 'pipe', 'inherit'], shell: process.platform === 'win32' })
  let rest = ''
  child.stdout.setEncoding('utf8').on('data', (text) => {
    process.stdout.write(text)
    const lines = (rest + text).split('\n')
    rest = lines.pop()
    for (const line of lines) tell(line)
  })
  return new Promise((resolve) => {
    child.on('error', (error) => {
      console.error(error.message)
      resolve(error.code)
    })
    child.on('close', (code, signal) => {
      if (rest) tell(rest)
      resolve(code ?? signal)
    })
  })
}
