// The conformance tests of h2spec, against a server that reads each body before it answers.
import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import test from 'ava'
import type { ExecutionContext } from 'ava'
import type { ListenOptions } from '../index.js'
import { tool } from './_process.js'
import { answer, open, portOf } from './_server.js'

const PACKAGE = 'github.com/summerwind/h2spec/cmd/h2spec@latest'

/** On the PATH, or where `go install` puts it, which is done when it is missing. */
async function h2spec(): Promise<string> {
  const name = process.platform === 'win32' ? 'h2spec.exe' : 'h2spec'
  const go = async (...args: string[]) => {
    const { code, stdout, stderr } = await tool('go', args)
    if (code !== 0) throw new Error(`go ${args.join(' ')}: ${stderr}`)
    return stdout.trim()
  }
  const onPath = (process.env.PATH ?? '').split(delimiter).map((directory) => join(directory, name)).find(existsSync)
  if (onPath !== undefined) return onPath
  const directory = (await go('env', 'GOBIN')) || join((await go('env', 'GOPATH')).split(delimiter)[0]!, 'bin')
  const file = join(directory, name)
  if (!existsSync(file)) await go('install', PACKAGE)
  return file
}

let command: Promise<string>
test.before((t) => {
  t.timeout(300_000)
  command = h2spec()
  return command.then(() => {})
})

interface Outcome {
  passed: number
  skipped: number
  failed: number
  /** Section and title of each. */
  failures: string[]
  output: string
}

async function run(t: ExecutionContext, options: ListenOptions): Promise<Outcome> {
  const listener = await open(t, options)
  void answer(listener, async (request, stream) => {
    await request.body?.bytes()
    await stream.send(request.key, { headers: { 'content-type': 'text/plain' }, body: 'Hello, World!' })
  })
  const { stdout, stderr } = await tool(await command, ['-h', '127.0.0.1', '-p', String(portOf(listener)), '-o', '5'])
  const summary = /^(\d+) tests, (\d+) passed, (\d+) skipped, (\d+) failed$/m.exec(stdout)
  if (!summary) throw new Error(`h2spec said no summary: ${stdout}${stderr}`)
  const [total, passed, skipped, failed] = summary.slice(1).map(Number) as [number, number, number, number]
  t.is(passed + skipped + failed, total)
  return { passed, skipped, failed, failures: failuresOf(stdout), output: stdout }
}

/** What h2spec lists after `Failures:`, by the innermost section. */
function failuresOf(stdout: string): string[] {
  const at = stdout.indexOf('\nFailures:')
  let section = ''
  const failures: string[] = []
  for (const line of at < 0 ? [] : stdout.slice(at).split('\n')) {
    section = /^\s+((?:\d+\.)+) /.exec(line)?.[1] ?? section
    const failed = /^\s+× (.+)$/.exec(line)?.[1]
    if (failed !== undefined) failures.push(`${section.replace(/\.$/, '')} / ${failed}`)
  }
  return failures
}

test.serial('beside HTTP/1.1, all but the preface that might be a request of HTTP/1.1', async (t) => {
  const { passed, skipped, failed, failures, output } = await run(t, {})
  t.true(passed >= 144, output)
  t.is(skipped, 0)
  t.is(failures.length, failed, output)
  // What begins neither as a preface nor as a request is answered 400, in HTTP/1.1.
  for (const failure of failures) t.is(failure, '3.5 / 2: Sends invalid connection preface')
})

test.serial('alone, all', async (t) => {
  const { passed, skipped, failed, failures, output } = await run(t, { protocols: ['h2'] })
  t.deepEqual(failures, [], output)
  t.is(failed, 0, output)
  t.is(skipped, 0)
  t.is(passed, 145)
})
