// A panic in native code ends one connection or is one exception, and the process serves on. The panics are asked for, in an addon that
// was built for that (crates/node/src/fault.rs).
import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import type { ExecutionContext } from 'ava'
import { program, root, tool } from './_process.js'

const target = 'target/fault-injection'
const addon = join(root, target, 'faulty.node')

test.before('an addon that panics on demand', async (t) => {
  t.timeout(600_000)
  const { code, stderr } = await tool('cargo', ['build', '--package', 'hyperpull-node', '--features', 'fault-injection', '--target-dir', target])
  t.is(code, 0, stderr)
  const library = { win32: 'hyperpull_node.dll', darwin: 'libhyperpull_node.dylib' }[process.platform as string] ?? 'libhyperpull_node.so'
  copyFileSync(join(root, target, 'debug', library), addon)
})

interface Told {
  /** What the clients saw whose request met the fault. */
  victims: string[]
  /** What became of the answers to those. */
  sends: string[]
  /** Why connections ended, but for the usual reasons: the message of a fault, else the code. */
  closes: string[]
  /** Messages of uncaught exceptions. */
  uncaught: string[]
  /** What the clients beside saw, and one that came after all faults. */
  others: string[]
  after: string
  /** What a client of a new listener saw. */
  anew: string
  /** How the loop over the listener ended. */
  served: string
  /** What is still counted after the drain. */
  left: { connectionsOpen: number; requestsInFlight: number; unaccounted: number }
}

const unseen = { victims: ['lost'], sends: [], closes: [], uncaught: [] } // JavaScript has not heard of the connection
const unhurt = { victims: ['/victim 300000'], sends: ['sent'], closes: [], uncaught: [] }
const rounds = 6
const thrown = (message: string) => Array.from({ length: rounds }, () => message)

const faults: Array<[title: string, points: string[], expected: Pick<Told, 'victims' | 'sends' | 'closes' | 'uncaught'>]> = [
  ['where a connection is turned', ['turn'], unseen],
  ['where a connection is turned, and once more where it is dropped', ['turn', 'drop'], unseen],
  ['where a request is written down', ['request'], { ...unseen, closes: ['internal fault: injected at request'] }],
  ['where a pull is applied', ['command'], { ...unseen, closes: ['internal fault: injected at command'] }],
  ['where connections are accepted', ['accept'], unhurt],
  ['where a batch is taken', ['take'], { ...unhurt, uncaught: thrown('internal fault: injected at take') }],
  ['where commands are handed over', ['submit'], { ...unhurt, uncaught: thrown('internal fault: injected at submit') }],
  ['in blobs()', ['blobs'], { ...unseen, sends: ['ERR_CLOSED'], closes: ['closed'], uncaught: thrown('injected at blobs') }],
  ['in the constructor', ['listen'], { ...unhurt, victims: ['ERR_IO'], sends: [] }],
]

async function inject(t: ExecutionContext, points: string[], how: { rounds: number; ioThreads: number; ownEvent?: boolean }): Promise<Told> {
  const { stderr, ...told } = await run(t, '__test__/_faults-program.ts', { points, ...how })
  for (const point of points) t.is(stderr.split(`injected at ${point}`).length, how.rounds + 1, stderr)
  return told as Told
}

/** What a program prints that is told of its fault. */
async function run(t: ExecutionContext, file: string, fault: object): Promise<{ stderr: string }> {
  t.timeout(120_000)
  const env = { FAULT: JSON.stringify(fault), HYPERPULL_ADDON: addon, RUST_BACKTRACE: '0' }
  const { code, stdout, stderr } = await program(t, file, env, ['--import', './scripts/with-addon.js']).ended
  t.is(code, 0, stderr)
  return { stderr, ...JSON.parse(stdout) }
}

for (const ioThreads of [1, 0]) {
  for (const [title, points, expected] of faults) {
    test(`ioThreads: ${ioThreads}: a panic ${title}`, async (t) => {
      t.deepEqual(await inject(t, points, { rounds, ioThreads }), {
        ...expected,
        others: ['/neighbour 300000'],
        after: '/after 300000',
        anew: '/anew 300000',
        served: 'null',
        left: { connectionsOpen: 0, requestsInFlight: 0, unaccounted: 0 },
      })
    })
  }

  test(`ioThreads: ${ioThreads}: a panic where commands that answer no event are handed over`, async (t) => {
    const told = await inject(t, ['submit'], { rounds, ioThreads, ownEvent: true })
    t.like(told, { ...unhurt, uncaught: thrown('injected at submit'), after: '/after 300000', served: 'null' })
    t.deepEqual(told.left, { connectionsOpen: 0, requestsInFlight: 0, unaccounted: 0 })
  })

  test(`ioThreads: ${ioThreads}: a panic where an answer is applied`, async (t) => {
    const told = await inject(t, ['command'], { rounds, ioThreads, ownEvent: true })
    t.like(told, { ...unseen, sends: ['ERR_CLOSED'], closes: ['internal fault: injected at command'], after: '/after 300000', served: 'null' })
    t.deepEqual(told.left, { connectionsOpen: 0, requestsInFlight: 0, unaccounted: 0 })
  })

  test(`ioThreads: ${ioThreads}: a panic that ends the only I/O loop is told to everybody who waits`, async (t) => {
    const told = await inject(t, ['loop'], { rounds: 1, ioThreads })
    t.like(told, { victims: ['lost'], closes: ['internal fault: the I/O loop has ended'], served: 'ERR_IO', after: 'lost', anew: '/anew 300000', uncaught: [] })
    t.like(told.left, { connectionsOpen: 0, requestsInFlight: 0 })
  })
}

for (const ioThreads of [1, 0]) {
  for (const looks of [true, false]) {
    test(`ioThreads: ${ioThreads}: a panic that ends the only I/O loop of a serve() whose end is ${looks ? '' : 'not '}waited for`, async (t) => {
      const { stderr, ...told } = await run(t, '__test__/_faults-serve-program.ts', { point: 'loop', ioThreads, looks })
      t.deepEqual(told as object, { errors: ['ERR_IO of no request'], finished: looks ? 'ERR_IO' : 'unknown', signalHandlers: 0 })
    })
  }
}

test('a panic that ends an I/O thread ends its connections, and the other thread goes on', async (t) => {
  const told = await inject(t, ['loop'], { rounds: 1, ioThreads: 2 })
  t.like(told, { after: '/after 300000', anew: '/anew 300000', served: 'null', uncaught: [] })
  t.like(told.left, { connectionsOpen: 0, requestsInFlight: 0 })
})
