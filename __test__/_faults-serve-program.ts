// serve() with a native side that panics where it is told to, for 83.faults.spec.ts. It is its own client, and prints what came of it.
// FAULT is JSON: the point, and whether the program looks at how its server has ended.
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { PullError, serve } from '../index.js'
import { RawClient } from './_raw.js'
import { portOf } from './_server.js'

const { injectFault } = createRequire(import.meta.url)(process.env.HYPERPULL_ADDON!) as { injectFault(point: string): void }
const { point, ioThreads, looks } = JSON.parse(process.env.FAULT!) as { point: string; ioThreads: number; looks: boolean }

const codeOf = (error: unknown): string => (error instanceof PullError ? error.code : String(error))

const errors: string[] = []
const onError = (error: unknown, request: unknown): void => void errors.push(`${codeOf(error)} of ${request === null ? 'no request' : 'a request'}`)
const server = await serve({ port: 0, ioThreads, onError }, () => ({}))
injectFault(point)
const client = await RawClient.connect(portOf(server.listener))
await client.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n')
await client.ended
const finished = looks ? await server.finished.then(() => 'finished', codeOf) : 'unknown'

// Whatever is rejected and not looked at would end the process before.
await once(process, 'beforeExit')
console.log(JSON.stringify({ errors, finished, signalHandlers: process.listenerCount('SIGTERM') + process.listenerCount('SIGINT') }))
